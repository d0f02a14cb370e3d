"""Exercises 09, 10, 11 and 16: methods beside a frozen weight."""

from itertools import pairwise

import numpy as np

from ..config import GPT2Config
from ..gpt2 import linear_at, linear_at_backward
from ..methods.linear.dora import DoRA, magnitude
from ..methods.linear.ia3 import IA3
from ..methods.linear.lora import LoRA
from ..step import Step
from .exercise import Call, Exercise, Wrong, different, factor

NAME = "h.0.attn.c_attn"  # a linear layer


def step_of(method, weights, tensors):
    """A step in which the method acts in layer 0 of a model, and something below it trains."""
    config = GPT2Config(vocab_size=3, n_positions=2, n_embd=2, n_layer=1, n_head=1)
    return Step(config, weights, method, tensors=tensors, trains=frozenset({"wte.weight"}), grad_enabled=True)


def layer(method, v, tensors):
    """y, dx and the gradients of the layer NAME under the method: `gpt2.linear_at` and its backward."""
    step = step_of(method, {f"{NAME}.weight": v.W, f"{NAME}.bias": v.b}, tensors)
    step.tensors, held = method.start(tensors, step)
    y, cache = linear_at(NAME, v.x, step)
    dx, grads = linear_at_backward(v.dy, cache, step)
    return y, dx, method.finish(grads, held)


def scale(v, rng):
    """s, not 1, with s, sqrt(R), R and alpha = s R a tenth apart: a factor in a message is one of them."""
    while True:
        s = factor(rng)
        sizes = sorted([s, v.R**0.5, v.R, s * v.R])
        if all(b > 1.1 * a for a, b in pairwise(sizes)):
            return s


# --------------------------------------------------------------------------------------------- 09 IA3


def ia3_calls(v):
    """Forward, backward."""
    _, cache = yield Call("ia3", (v.x, v.W, v.b, v.l), ("y", ...))
    yield Call("ia3_backward", (v.dy, cache), ("dx", {"ia3_l": "dl"}))


def ia3_reference(v):
    """By `IA3`."""
    y, dx, grads = layer(IA3(), v, {f"{NAME}.ia3_l": v.l})
    return {"y": y, "dx": dx, "dl": grads[f"{NAME}.ia3_l"]}


WHICH_Y = "`l` multiplies z = x W + b. Did you use z, or y = `l` z?"

IA = Exercise(
    "09_ia3_backward", "IA3: a learned scale", 1, 10, ("01",), "minipeft/methods/linear/ia3.py",
    ("ia3_backward",),
    inputs="x (N, I), W (I, O), b (O), l (O), dy (N, O)", outputs="y (N, O), dx (N, I), dl (O)",
    sizes=different("NIO"), calls=ia3_calls, reference=ia3_reference,
    upstream={"y": "dy"}, of={"dx": "x", "dl": "l"}, inside=lambda v: {"z": v.x @ v.W + v.b},
    wrong=(
        Wrong("dl", lambda v: (v.dy * v.y).sum(0), WHICH_Y, "entry j is the true value times l_j.", 51),
        Wrong("dl", lambda v: (v.dy * (v.x @ v.W)).sum(0), "l scales x W + b, or x W?",
              "it lacks b times the sum of dy.", 52),
        Wrong("dl", lambda v: v.dy * v.z,
              "One scale serves all rows: how many contributions does l_j receive?",
              row=53),
        Wrong("dl", lambda v: v.dy.sum(0), "The derivative of z l with respect to l is what?",
              "it is the sum of dy, as for a bias.",
              53),
        Wrong("dl", lambda v: v.dl / v.N, "Is anything averaged over the rows in the forward?"),
        Wrong("dx", lambda v: v.dy @ v.W.T, "Between y and x W + b stands a factor: does dy pass it?",
              "it has no l."),
        Wrong("dx", lambda v: (v.dy * v.l * v.l) @ v.W.T, "How often does dy pass l on its way down?",
              "it has l twice."),
        Wrong("dx", lambda v: (v.dy / v.l) @ v.W.T, "Forward multiplies by l: and backward?",
              "it is divided by l."),
    ),
    parts=lambda v: {"dl": {"the bias's part": v.b * v.dy.sum(0)}},
    scales=lambda v: {"dl": {"l": v.l}},
    hints=(
        "Two steps forward: z = x W + b, then y = z l. Two steps backward, the last one first.",
        "Of z l: the slope by z is l, the slope by l is z; and l_j is used in every row.",
        "dl (O,) from two (N, O);   dz (N, O) = (N, O) times (O,);   dx (N, I) as in exercise 01.",
    ),
)  # fmt: skip

# -------------------------------------------------------------------------------------------- 10 LoRA


def lora_calls(v):
    """Forward, backward."""
    _, cache = yield Call("lora", (v.x, v.W, v.b, v.A, v.B, v.alpha), ("y", ...))
    yield Call("lora_backward", (v.dy, cache), ("dx", {"lora_A": "dA", "lora_B": "dB"}))


def lora_reference(v):
    """By `LoRA`."""
    y, dx, grads = layer(LoRA(r=v.R, lora_alpha=v.alpha), v, {f"{NAME}.lora_A": v.A, f"{NAME}.lora_B": v.B})
    return {"y": y, "dx": dx, "dA": grads[f"{NAME}.lora_A"], "dB": grads[f"{NAME}.lora_B"]}


def lora_prepare(v, rng):
    """s and alpha = s R."""
    v.s = scale(v, rng)
    v.alpha = v.s * v.R


def lora_inside(v):
    """h and dh, with s; the two paths of x."""
    h, dh = v.s * (v.x @ v.A), v.s * (v.dy @ v.B.T)
    return {"h": h, "dh": dh, "through_W": v.dy @ v.W.T, "beside": dh @ v.A.T}


CONSTANT = "Which constant multiplies this path?"
IN_H = "What does the h of the cache hold already?"
RANK = "Which constant has the rank in it?"
TWO_WAYS = "x goes two ways to y: which one is this?"

LORA = Exercise(
    "10_lora", "LoRA, forward and backward", 2, 20, ("01",), "minipeft/methods/linear/lora.py",
    ("lora", "lora_backward"),
    inputs="x (N, I), W (I, O), b (O), A (I, R), B (R, O), dy (N, O)",
    outputs="y (N, O), dx (N, I), dA (I, R), dB (R, O)",
    sizes=different("NIRO"), prepare=lora_prepare, calls=lora_calls, reference=lora_reference,
    inside=lora_inside, upstream={"y": "dy"}, of={"dx": "x", "dA": "A", "dB": "B"}, constants=("s", "alpha"),
    wrong=(
        *(Wrong(name, lambda v, name=name: getattr(v, name) / v.s, CONSTANT, row=38) for name in ("dA",
                "dB")),
        Wrong("dB", lambda v: v.dB * v.s, IN_H, row=39),
        Wrong("dA", lambda v: v.dA * v.s, "How often does this path pass s in the forward?", row=39),
        *(Wrong(name, lambda v, name=name: getattr(v, name) * v.R, RANK, row=40) for name in ("dA", "dB")),
        *(Wrong(name, lambda v, name=name: getattr(v, name).T,
                f"Which side of the product are rows of {name[1]}?",
                "rows and columns have changed places.", 41) for name in ("dA", "dB")),
        *(Wrong(name, lambda v, name=name: getattr(v, name) / v.N,
                "Is anything averaged over the rows in the forward?")
          for name in ("dA", "dB")),
        Wrong("dB", lambda v: v.s * v.x.T @ v.dy, "B multiplies what: x, or x A?", row=42),
        Wrong("dB", lambda v: v.x.T @ v.dy, "B multiplies what: x, or x A?", row=42),
        Wrong("dx", lambda v: v.through_W, TWO_WAYS,
              lambda v: f"what is missing has rank {v.R}; it is the path through A and B.", 43),
        Wrong("dx", lambda v: v.beside, TWO_WAYS, "what is missing is the path through W.", 43),
        Wrong("dx", lambda v: v.through_W + v.beside / v.s,
              "One of two paths is too small: by which constant?",
              lambda v: f"the path through A and B has the factor {1 / v.s:.3g} = 1/s.", 44),
        Wrong("dx", lambda v: v.s * v.through_W + v.beside,
              "s stands on one of the two ways: was dy changed before its second use?",
              lambda v: f"the path through W has the factor {v.s:.3g} = s.", 45),
        Wrong("dA", lambda v: v.dA + v.x.T @ v.dy @ v.W.T @ v.A,
              "Which tensors train, and is W on the way to A?",
              "it has a part that comes through W.", 46),
        Wrong("y", lambda v: v.y - v.h @ v.B + v.h @ v.B / v.s, "Which constant multiplies this path?",
              lambda v: f"the path through A and B has the factor {1 / v.s:.3g} = 1/s."),
        Wrong("y", lambda v: v.y + (v.R - 1) * v.h @ v.B, RANK,
              lambda v: f"the path through A and B has the factor {v.R} = R."),
    ),
    parts=lambda v: {
        "dx": {"the path through A and B": v.beside, "the path through W": v.through_W},
        "y": {"x W": v.x @ v.W, "the bias": v.b + 0 * v.y, "the path through A and B": v.h @ v.B},
    },
    hints=(
        "x goes two ways to y: through W, and through A and then B. s stands on the second way only.",
        "Name h = s x A. Then y = x W + b + h B: go from y to h, then from h to A and x.",
        "dh (N, R) from (N, O) and B (R, O);   dA (I, R) from x and dh;   dB (R, O) from h and dy;   dx: "
        "a sum.",
    ),
)  # fmt: skip

# ------------------------------------------------------------------------------------------- 11 merge


def merge_calls(v):
    """Merge; take out; compare."""
    yield Call("merge", (v.W, v.A, v.B, v.s), "merged W")
    yield Call("unmerge", (v.M, v.A, v.B, v.s), "W again")
    yield Call("largest_difference", (v.x, v.M, v.W, v.A, v.B, v.s), "difference")


def merge_reference(v):
    """By `LoRA.merge` and `LoRA.unmerge`."""
    method = LoRA(r=v.R, lora_alpha=v.s * v.R)
    tensors, weight = {f"{NAME}.lora_A": v.A, f"{NAME}.lora_B": v.B}, f"{NAME}.weight"
    difference = v.x @ v.M - (v.x @ v.W + v.s * (v.x @ v.A) @ v.B)
    return {
        "merged W": method.merge({weight: v.W}, tensors)[weight],
        "W again": method.unmerge({weight: v.M}, tensors)[weight], "difference": np.abs(difference).max(),
    }  # fmt: skip


def merge_prepare(v, rng):
    """s; a "merged" weight M that is not quite one, so that the difference is a number to see."""
    v.s = scale(v, rng)


MERGE = Exercise(
    "11_lora_merge", "LoRA merged, and taken out again", 1, 10, ("10",),
    "minipeft/methods/linear/lora.py merge",
    ("merge", "unmerge", "largest_difference"),
    inputs="x (N, I), W (I, O), M (I, O), A (I, R), B (R, O)",
    outputs="merged W (I, O), W again (I, O), difference ()",
    sizes=different("NIRO"), prepare=merge_prepare, calls=merge_calls, reference=merge_reference,
    inside=lambda v: {"AB": v.A @ v.B, "off": v.x @ v.M - (v.x @ v.W + v.s * (v.x @ v.A) @ v.B)},
    constants=("s",), said={"M": "W'"},
    wrong=(
        *(Wrong(name, lambda v, start=start, sign=sign: getattr(v, start) + sign * v.AB,
                "Which constant stands before A B?", fact)
          for name, start, sign, fact in (("merged W", "W", 1, "A B is in it without s."),
                                          ("W again", "M", -1, "A B was taken off without s."))),
        Wrong("merged W", lambda v: v.s * (v.W + v.AB), "Is W itself scaled in the forward?",
              "W is scaled, too."),
        Wrong("merged W", lambda v: v.s * v.AB, "What of the frozen weight?", "it is the change alone."),
        Wrong("merged W", lambda v: v.W - v.s * v.AB, "Which way does the change go?",
              "the change is taken off."),
        Wrong("W again", lambda v: v.M + v.s * v.AB, "Which way does the change go?", "the change is added."),
        Wrong("difference", lambda v: v.off.max(), "And the entry that is furthest below 0?",
              "it is the largest difference, with its sign."),
        Wrong("difference", lambda v: -v.off.min(), "And the entry that is furthest above 0?",
              "it is the largest negative difference."),
        Wrong("difference", lambda v: v.off.sum(), "Do differences of either sign cancel?",
              "it is the sum of all."),
        Wrong("difference", lambda v: np.abs(v.off).mean(), "Does a mean show one entry that is far off?",
              "it is the mean."),
    ),
    parts=lambda v: {"merged W": {"W": v.W, "s A B": v.s * v.AB},
    "W again": {"W'": v.M, "s A B": -v.s * v.AB}},
    hints=(
        "x (W + ?) should be x W + s (x A) B for every x. What is the ?",
        "(x A) B = x (A B): matrix products may be bracketed as you like.",
        "W' (I, O) = (I, O) plus a number times (I, R) times (R, O); the proof is a maximum over (N, O).",
    ),
)  # fmt: skip

# -------------------------------------------------------------------------------------------- 16 DoRA


def dora_calls(v):
    """Forward with n given, backward."""
    _, cache = yield Call("dora", (v.x, v.W, v.b, v.A, v.B, v.m, v.n, v.s), ("y", ...))
    grads = {"lora_A": "dA", "lora_B": "dB", "lora_magnitude_vector": "dm"}
    yield Call("dora_backward", (v.dy, cache), ("dx", grads))


def dora_reference(v):
    """By `DoRA`."""
    keys = {"dA": f"{NAME}.lora_A", "dB": f"{NAME}.lora_B", "dm": magnitude(NAME)}
    tensors = dict(zip(keys.values(), (v.A, v.B, v.m), strict=True))
    y, dx, grads = layer(DoRA(r=v.R, lora_alpha=v.s * v.R), v, tensors)
    return {"y": y, "dx": dx, **{name: grads[key] for name, key in keys.items()}}


def dora_prepare(v, rng):
    """s, m and the lengths n of V's columns."""
    v.s = scale(v, rng)
    v.m = v.m**2 + 0.5
    v.n = np.linalg.norm(v.W + v.s * v.A @ v.B, axis=0)


def dora_inside(v):
    """g, V, u, du; the gradient of V with the norm not held."""
    V, g = v.W + v.s * v.A @ v.B, v.m / v.n
    du = v.dy * g
    dV = v.x.T @ du
    free = dV - V * ((dV * V).sum(0) / v.n**2)
    return {"V_": V, "gain": g, "u": v.x @ V, "du": du, "free": free, "through_W": du @ v.W.T,
            "beside": v.s * du @ v.B.T @ v.A.T}  # fmt: skip


PER_COLUMN = "Each column has its own factor: what is there one of per column?"
EXACT = "The paper holds the lengths n constant: which line moves them?"
BY_M = "g = m / n: what is the derivative of g with respect to m?"
BY_G = "y = u g + b: what is the derivative of y with respect to g?"

DORA = Exercise(
    "16_dora_backward", "DoRA, with the lengths held", 3, 30, ("09", "10"), "minipeft/methods/linear/dora.py",
    ("dora_backward",),
    inputs="x (N, I), W (I, O), b (O), A (I, R), B (R, O), m (O), dy (N, O)",
    outputs="y (N, O), dx (N, I), dA (I, R), dB (R, O), dm (O)",
    sizes=different("NIRO"), prepare=dora_prepare, calls=dora_calls, reference=dora_reference,
    inside=dora_inside, upstream={"y": "dy"}, of={"dx": "x", "dA": "A", "dB": "B", "dm": "m"},
    constants=("s",),
    wrong=(
        Wrong("dB", lambda v: v.s * (v.x @ v.A).T @ v.dy, PER_COLUMN,
              "column j is the true value divided by g_j.", 48),
        Wrong("dA", lambda v: v.s * v.x.T @ (v.dy @ v.B.T),
              "y = u g + b: does dy pass g before it comes to A?",
              "these are LoRA's numbers.", 48),
        Wrong("dB", lambda v: v.s * (v.x @ v.A).T @ (v.dy * v.m), "g = m / n: is all of it there?",
              "column j is n_j times too large.", 48),
        Wrong("dA", lambda v: v.s * v.x.T @ ((v.dy * v.m) @ v.B.T), "g = m / n: is all of it there?",
              "m is in it, and n is not.", 48),
        Wrong("dA", lambda v: v.s * v.free @ v.B.T, EXACT, "it lacks what lies along the columns of V.", 49),
        Wrong("dB", lambda v: v.s * v.A.T @ v.free, EXACT, "it lacks what lies along the columns of V.", 49),
        Wrong("dm", lambda v: v.dm * v.n, BY_M, "entry j is n_j times too large.", 50),
        Wrong("dm", lambda v: (v.dy * v.u * v.gain).sum(0) / v.n, BY_G,
              "entry j is the true value times g_j.", 50),
        Wrong("dm", lambda v: (v.dy * (v.u + v.b)).sum(0) / v.n, BY_G,
              "it has one part too many: b times the sum of dy, over n.", 50),
        Wrong("dm", lambda v: (v.dy * v.y).sum(0) / v.n, BY_G, "y is in it, with g and b.", 50),
        Wrong("dm", lambda v: (v.dy * (v.x @ v.W)).sum(0) / v.n, "u is x V, and V is more than W: what else?",
              "it lacks the part of the change A B."),
        *(Wrong(name, lambda v, name=name: getattr(v, name) / v.s, CONSTANT) for name in ("dA", "dB")),
        Wrong("dB", lambda v: v.dB * v.s, IN_H),
        Wrong("dx", lambda v: v.through_W, TWO_WAYS, "what is missing is the path through A and B."),
        Wrong("dx", lambda v: v.beside, TWO_WAYS, "what is missing is the path through W."),
        Wrong("dx", lambda v: v.dy @ v.W.T + v.beside, "Does dy pass g on each way to x?",
              "the path through W has no g."),
        Wrong("dx", lambda v: v.dy @ v.V_.T, "y = u g + b: does dy pass g on its way to x?", "it has no g."),
    ),
    parts=lambda v: {
        "dx": {"the path through A and B": v.beside, "the path through W": v.through_W},
        "dm": {"the part of W": (v.dy * (v.x @ v.W)).sum(0) / v.n},
    },
    scales=lambda v: {"dm": {"n": v.n, "g": v.gain, "m": v.m}, "dB": {"g": v.gain, "n": v.n, "m": v.m}},
    hints=(
        "Two steps forward: u = x V, then y = u g + b. The first step backward is that of exercise 09.",
        "From du on it is exercise 10, with du in the place of dy. g = m / n, n a constant: dm from dg.",
        "du (N, O) = (N, O) times (O,);   dm (O,): a sum over N of two (N, O), divided by (O,).",
    ),
)  # fmt: skip

EXERCISES = (IA, LORA, MERGE, DORA)
