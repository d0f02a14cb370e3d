r"""The arithmetic that a training step cannot do without: what its time is held against.

Counted are matrix products alone, two operations for each multiply-add. x (rows, I) times W (I, O) takes
2 rows I O. The backward takes as much for each gradient that is wanted: $dx = dy\,W^T$ where something below
trains, $dW = x^T dy$ where W itself trains. `gpt2.Step.wants` says which, here as in training.

    linear layers  all rows of the batch, a method's virtual tokens among them; no padding
    attention      pairs of a query and a key that it sees: key j <= query i, and what a method puts before
                   the sequence. Two products of C a pair, q k^T and p v; in the backward four: dv, dp, dq, dk
    the head       rows that predict a labelled token, no other
    the method     the two factors of LoRA and of a bottleneck, and LoHa's x dW, as its `about` says; other
                   methods' small products are left out, and so are those that make a dW of its factors

What is elementwise (norms, GELU, softmax, the optimizer) counts nothing. The last block counts in full,
although its rows that predict no label need only give keys and values.
"""

from .. import gpt2
from ..backend import like
from ..methods import Chain


def step_flops(peft, batch):
    """{"forward", "backward"}: operations of one training step of a PeftModel on this batch."""
    step, config = peft.step(grad_enabled=True), peft.config
    _, layout, _ = gpt2.embed(like(step.weights["wte.weight"], batch.ids), batch.layout, step)
    rows, labelled = sum(layout.lengths), len(batch.targets(layout)[0])
    forward = backward = 0

    for name, (I, O) in config.linear_layers().items():
        product = 2 * rows * I * O
        forward += product
        backward += product * len(step.wants(name) & {"x", "weight"})

    product = 2 * config.n_embd * visible_pairs(layout)
    for layer in range(config.n_layer):
        forward += 2 * product
        if "x" in step.wants(f"h.{layer}.attn.attention"):
            backward += 4 * product

    product = 2 * labelled * config.n_embd * config.vocab_size
    forward += product
    backward += product * (("x" in step.wants("lm_head")) + ("weight" in step.wants(config.head)))

    methods = [m for m in parts(step.method) if m.about]
    first, second = (sum((m.about.factors[i] for m in methods), ()) for i in (0, 1))
    for name, tensor in step.tensors.items():
        if name.endswith(first + second):
            product = 2 * rows * tensor.size
            below = name.endswith(second) or "x" in step.wants(name.rpartition(".")[0])
            forward += product
            backward += product * (1 + below)
    for method in methods:
        if method.about.whole_update:
            for name, (I, O) in config.linear_layers().items():
                if method.acts_on(name):
                    product = 2 * rows * I * O
                    forward += product
                    backward += product * (1 + ("x" in step.wants(name)))
    return {"forward": forward, "backward": backward}


def parts(method):
    """A method -> [itself]; a chain, which may be a method of its own (MAM) -> its parts."""
    return method.methods if isinstance(method, Chain) else [method]


def visible_pairs(layout):
    """How many pairs of a query and a key that it sees: T before + T (T + 1) / 2 for each sequence of T rows.

    before: its first row's position. Where a method puts P keys in front, the text begins at position P.
    """
    return sum(T * before + T * (T + 1) // 2 for T, before in zip(layout.lengths, layout.starts, strict=True))
