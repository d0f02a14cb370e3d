"""Exercises 03, 04 and 18: the loss, the embedding, and the table that is both head and embedding."""

import numpy as np

from .. import ops
from .exercise import WITHOUT_THE_LAST, Call, Exercise, Wrong, different

WEIGHT = frozenset({"weight"})

# ------------------------------------------------------------------------------------ 03 cross-entropy


def loss_calls(v):
    """Forward, backward."""
    _, cache = yield Call("cross_entropy", (v.z, v.labels), ("loss", ...))
    yield Call("cross_entropy_backward", (v.dloss, cache), "dz")


def loss_reference(v):
    """By `ops.lm_loss`: with the head's weight the identity its x is z."""
    loss, cache = ops.lm_loss(v.z, np.eye(v.V), v.labels, frozenset({"x"}))
    return {"loss": loss, "dz": ops.lm_loss_backward(v.dloss, cache)[0]}


def loss_prepare(v, rng):
    """Labels, two of them equal; dloss is not 1."""
    V = v.V - (v.seed == WITHOUT_THE_LAST)
    v.labels = rng.permutation(V)[: v.M] if v.M <= V else rng.integers(V, size=v.M)
    v.labels[1] = v.labels[2]
    v.dloss = round(float(rng.uniform(0.3, 0.8)), 2)


def loss_inside(v):
    """p and the labels, one hot."""
    return {"p": ops.softmax(v.z), "onehot": np.eye(v.V)[v.labels]}


LOSS = Exercise(
    "03_cross_entropy_backward", "The gradient of the cross-entropy", 1, 10, (),
    "minipeft/ops.py lm_loss_backward", ("cross_entropy_backward",),
    inputs="z (M, V)", outputs="loss (), dz (M, V)", sizes=different("MV", 3), prepare=loss_prepare,
    calls=loss_calls, reference=loss_reference, inside=loss_inside, upstream={"loss": "dloss"},
    of={"dz": "z"},
    constants=("dloss",),
    wrong=(
        Wrong("dz", lambda v: v.dloss * v.p, "A row should sum to 0: what became of the label?",
              lambda v: f"each row sums to {v.dloss}, which is dloss.", 26),
        Wrong("dz", lambda v: -v.dz, "The loss would grow: which way round is the difference?", row=27),
        Wrong("dz", lambda v: v.dz / v.M,
              "This loss is a sum, so that parts of a batch add up: is anything averaged?",
              row=28),
        Wrong("dz", lambda v: v.dz * v.onehot,
              "Every logit is in the denominator: which of them move the loss?",
              lambda v: f"{v.V - 1} of {v.V} entries in each row are zero.", 29),
        Wrong("dz", lambda v: -v.dloss * v.onehot / v.p,
              "That is the gradient of the probabilities: what lies between them and z?",
              "zero but for the label, where it is -dloss/p.", 30),
        *(Wrong("dz", lambda v, k=k: v.dloss * (v.p - np.eye(v.V)[np.roll(v.labels, k)]),
                "Which token does row m predict?", "the labels of other rows are taken off.",
                31) for k in (1, -1)),
        Wrong("dz", lambda v: v.dz / v.dloss, "What if this loss is one of two that are added, with factors?",
              row=32),
        Wrong("dz", lambda v: v.dloss * v.p - v.onehot,
              "What if this loss is one of two that are added, with factors?",
              "only the part with p has dloss.", 32),
        Wrong("dz", lambda v: v.p - v.dloss * v.onehot,
              "What if this loss is one of two that are added, with factors?",
              "only the part of the label has dloss.", 32),
    ),
    parts=lambda v: {"dz": {"the part of p": v.dloss * v.p, "the part of the label": -v.dloss * v.onehot}},
    rules=lambda v: {"dz": {
        "each row sums to 0": ("each row sum to 0", lambda g: np.abs(g.sum(1)).max() < 1e-9),
        "the label's entry alone is below 0": (
            "the label's entry alone be below 0", lambda g: ((g < 0) == (v.onehot > 0)).all()),
    }},
    hints=(
        "Take one row. Its loss is log sum_v e^{z_v} - z_label: two terms, one derivative each.",
        "The derivative of log sum e^z with respect to z_v is p_v; that of -z_label is there for one v only.",
        "(M, V): a number times (M, V), then something taken off at one place (m, labels_m) of each row.",
    ),
)  # fmt: skip

# ---------------------------------------------------------------------------------------- 04 embedding


def embedding_calls(v):
    """Forward, backward."""
    _, cache = yield Call("embedding", (v.ids, v.table), ("y", ...))
    yield Call("embedding_backward", (v.dy, cache), {"weight": "dtable"})


def embedding_reference(v):
    """By `ops.embedding`."""
    y, cache = ops.embedding(v.ids, v.table, WEIGHT)
    return {"y": y, "dtable": ops.embedding_backward(v.dy, cache)["weight"]}


def ids_prepare(v, rng):
    """ids: one token three times, one twice; the first and the last of the table among them, but not all.

    In one probe the last is not there: the largest id does not say how large the table is.
    """
    last = v.V - 1 - (v.seed == WITHOUT_THE_LAST)
    first, second, third = rng.permutation([0, rng.integers(1, last), last])
    ids = np.array([first, second, first, third, second, first, *rng.permutation([first, third])])
    v.ids = ids[: v.N]


def embedding_inside(v):
    """How often each token occurs, and its last row."""
    last = np.zeros_like(v.table)
    last[v.ids] = v.dy
    first = np.zeros_like(v.table)
    first[v.ids[::-1]] = v.dy[::-1]
    often = np.bincount(v.ids, minlength=v.V)
    top = int(often.argmax())
    return {"last": last, "first": first, "often": often, "top": top, "times": int(often[top])}


EMBEDDING = Exercise(
    "04_embedding_backward", "The backward of an embedding", 1, 10, (), "minipeft/ops.py embedding_backward",
    ("embedding_backward",),
    inputs="table (V, C), dy (N, C)", outputs="y (N, C), dtable (V, C)",
    sizes=different("NVC", 5, 9), prepare=ids_prepare, calls=embedding_calls, reference=embedding_reference,
    inside=embedding_inside, upstream={"y": "dy"}, of={"dtable": "table"},
    wrong=(
        Wrong("dtable", lambda v: v.last, "What reaches that row: one dy, or as many as the token occurs?",
              lambda v: f"row {v.top} has one dy, the last, and token {v.top} occurs {v.times} times.", 33),
        Wrong("dtable", lambda v: v.first, "What reaches that row: one dy, or as many as the token occurs?",
              lambda v: f"row {v.top} has one dy, the first, and token {v.top} occurs {v.times} times.", 33),
        Wrong("dtable", lambda v: v.dtable / np.maximum(v.often, 1)[:, None],
              "Does a row of the table collect, or average?",
              lambda v: f"row {v.top} has the factor 1/{v.times}, and token {v.top} occurs {v.times} "
                        f"times.", 34),
        Wrong("dtable", lambda v: v.dy,
              "dy has a row for each token of the text: which row of the table is it of?",
              "it is dy, unchanged.", 34),
    ),
    hints=(
        "A row of the table is copied to every place where its token stands. How many places are there?",
        "What is copied forward is added up backward: row ids_n receives dy_n, for each n.",
        "(V, C) of zeros, then (N, C) added to its rows at ids (N,), also where an id comes twice. "
        "NumPy's += with a list of rows adds once per row; its ufuncs have a method `at`.",
    ),
)  # fmt: skip

# --------------------------------------------------------------------------------------------- 18 tied


def tied_calls(v):
    """Forward, backward."""
    _, cache = yield Call("tied", (v.ids, v.wte, v.g), ("z", ...))
    yield Call("tied_backward", (v.dz, cache), {"weight": "dwte"})


def tied_reference(v):
    """By `ops.embedding` and `ops.linear`: the head is a linear layer with wte^T."""
    x, below = ops.embedding(v.ids, v.wte, WEIGHT)
    z, head = ops.linear(x * v.g, v.wte.T, 0, frozenset({"x", "weight"}))
    da, grads = ops.linear_backward(v.dz, head)
    return {"z": z, "dwte": grads["weight"].T + ops.embedding_backward(da * v.g, below)["weight"]}


def tied_inside(v):
    """The two contributions, and what comes to the embedding."""
    head, below = v.dz.T @ (v.wte[v.ids] * v.g), np.zeros_like(v.wte)
    dx = (v.dz @ v.wte) * v.g
    np.add.at(below, v.ids, dx)
    without_g = np.zeros_like(v.wte)
    np.add.at(without_g, v.ids, v.dz @ v.wte)
    last = np.zeros_like(v.wte)
    last[v.ids] = dx
    seen = np.isin(np.arange(v.V), v.ids)[:, None]
    return {"head": head, "below": below, "last": last, "without_g": without_g, "seen": seen}


TWO = "Two contributions, one name: what happens to the first when the second comes?"

TIED = Exercise(
    "18_tied_head", "A tied head: add, do not overwrite", 3, 20, ("01", "03", "04"),
    "minipeft/gpt2.py loss_and_grads", ("tied_backward",),
    inputs="wte (V, C), g (C), dz (N, V)", outputs="z (N, V), dwte (V, C)",
    sizes=different("NVC", 5, 9), prepare=ids_prepare, calls=tied_calls, reference=tied_reference,
    inside=tied_inside, upstream={"z": "dz"}, of={"dwte": "wte"},
    wrong=(
        Wrong("dwte", lambda v: v.head, "wte is used twice in the forward: where is the other use?",
              "right in the rows of tokens that the text lacks; it lacks the embedding's part.", 35),
        Wrong("dwte", lambda v: v.below,
              "Rows of unseen tokens are zero, yet they have logits: what do they move?",
              "it lacks the head's part.", 36),
        Wrong("dwte", lambda v: np.where(v.seen, v.below, v.head), TWO,
              "in each row it is one of the two contributions.", 37),
        Wrong("dwte", lambda v: np.where(v.seen, v.last, v.head), TWO,
              "in each row it is one of the two contributions, the last to come.", 37),
        Wrong("dwte", lambda v: v.head + v.last,
              "What reaches the row of a token that the text has three times?",
              "rows of tokens that occur more than once are wrong."),
        Wrong("dwte", lambda v: v.head + v.without_g, "a = x g: what does da become on its way to x?",
              "the embedding's part has no g."),
        Wrong("dwte", lambda v: v.dz.T @ v.wte[v.ids] + v.below, "What does the head multiply: x, or a?",
              "the head's part has no g."),
    ),
    parts=lambda v: {"dwte": {"the head's part": v.head, "the embedding's part": v.below}},
    hints=(
        "Find wte in the forward: it stands in two places. Each has a gradient, as if it were another table.",
        "The head is a product, as in exercise 01; the bottom an embedding, as in 04. They are added.",
        "(V, C) from (N, V) and (N, C); then dx (N, C) = ( (N, V) times (V, C) ) times g, added to rows ids.",
    ),
)  # fmt: skip

EXERCISES = (LOSS, EMBEDDING, TIED)
