r"""The small networks that virtual tokens come from: linear, activation, linear, ..., linear.

They run once per step, on P rows; after training, what they made is all that is needed. Layers are numbered
0, 2, 4, ... as in `torch.nn.Sequential`, where the activations between them count too.
"""

from itertools import pairwise

from ... import ops
from ...backend import xp_of

ALL = frozenset({"x", "weight", "bias"})


def init_mlp(name, widths, rng):
    """The tensors of an MLP, named and, as `torch.nn.Linear` does, drawn uniform in +-1/sqrt(width in)."""
    tensors = {}
    for i, (I, O) in enumerate(pairwise(widths)):
        for kind, shape in {"weight": (I, O), "bias": (O,)}.items():
            tensors[f"{name}.{2 * i}.{kind}"] = rng.uniform(-(I**-0.5), I**-0.5, shape)
    return tensors


def mlp(name, x, tensors, activation):
    r"""$y = f(\dots f(x W_0 + b_0) W_2 + b_2 \dots) W_n + b_n$, f "relu" or "tanh".  x (P, I) -> y (P, O)."""
    xp, kept = xp_of(x), []
    while f"{name}.{2 * len(kept)}.weight" in tensors:
        layer = f"{name}.{2 * len(kept)}"
        if kept:  # f stands between two linear layers
            x = xp.tanh(x) if activation == "tanh" else xp.maximum(x, 0)
        y, cache = ops.linear(x, tensors[f"{layer}.weight"], tensors[f"{layer}.bias"], ALL)
        kept.append((layer, x, cache))
        x = y
    return x, (activation, kept)


def mlp_backward(dy, cache):
    r"""dy (P, O) -> dx (P, I), gradients by name. From its value f: tanh' $= 1 - f^2$, relu' $= [f > 0]$."""
    activation, kept = cache
    grads = {}
    for layer, f, linear in reversed(kept):
        dy, own = ops.linear_backward(dy, linear)
        grads |= {f"{layer}.{kind}": g for kind, g in own.items()}
        if layer != kept[0][0]:  # nothing stands before the first linear layer
            dy *= 1 - f * f if activation == "tanh" else f > 0
    return dy, grads
