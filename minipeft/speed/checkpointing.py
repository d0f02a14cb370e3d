"""Gradient checkpointing: a block keeps what it was given, and runs again before its backward.

    forward    y = block(x)                  keeps x, and nothing that was computed on the way to y
    backward   block(x) once more, then its backward

The numbers are the same, bit for bit: dropout's generator begins each block anew, so the second run draws the
same masks. The memory of activations falls from some 16 C numbers a token and block to C; the time grows by
one forward pass. (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost")
"""

from dataclasses import replace

from .. import gpt2


def checkpointed_block(x, layer, step):
    """`gpt2.block`, keeping no more than it was given, and nothing at all if no backward comes down to it."""
    y, _ = gpt2.block(x, layer, replace(step, grad_enabled=False))
    return y, (x, layer, step.layout) if step.backward_reaches(layer) else None


def checkpointed_block_backward(dx, cache, step):
    """Runs the block again for what its backward needs.  dx (N, C) -> dx (N, C)."""
    x, layer, layout = cache
    _, cache = gpt2.block(x, layer, replace(step.with_dropout_rng(layer + 1), layout=layout))
    return gpt2.block_backward(dx, cache, step)


CHECKPOINTED = (checkpointed_block, checkpointed_block_backward)  # as `gpt2.loss_and_grads` takes its blocks
