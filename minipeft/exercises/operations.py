"""Exercises 01, 02 and 07: the operations of a transformer, row by row or entry by entry."""

from math import erf

import numpy as np

from .. import ops
from .exercise import Call, Exercise, Wrong, different

ALL = frozenset({"x", "weight", "bias"})
ROWS = "Every entry is too small by the number of rows: is anything averaged in the forward?"

# ------------------------------------------------------------------------------------------- 01 linear


def linear_calls(v):
    """Forward, backward."""
    _, cache = yield Call("linear", (v.x, v.W, v.b), ("y", ...))
    yield Call("linear_backward", (v.dy, cache), ("dx", {"weight": "dW", "bias": "db"}))


def linear_reference(v):
    """By `ops.linear`."""
    y, cache = ops.linear(v.x, v.W, v.b, ALL)
    dx, grads = ops.linear_backward(v.dy, cache)
    return {"y": y, "dx": dx, "dW": grads["weight"], "db": grads["bias"]}


LINEAR = Exercise(
    "01_linear_backward", "The backward of a linear layer", 1, 10, (), "minipeft/ops.py linear_backward",
    ("linear_backward",),
    inputs="x (N, I), W (I, O), b (O), dy (N, O)",
    outputs="y (N, O), dx (N, I), dW (I, O), db (O)",
    sizes=different("NIO"), calls=linear_calls, reference=linear_reference,
    upstream={"y": "dy"}, of={"dx": "x", "dW": "W", "db": "b"},
    wrong=(
        Wrong("dW", lambda v: v.dy.T @ v.x, "Rows and columns have changed places: W is stored (in, out).",
              "the numbers are right, turned.", 2),
        Wrong("dW", lambda v: v.dW / v.N, ROWS, row=3),
        Wrong("db", lambda v: v.db / v.N, ROWS, row=3),
        Wrong("db", lambda v: v.dy, "b was added to every row: how many contributions does b_j receive?",
              row=4),
        Wrong("db", lambda v: v.dy.sum(1), "There is one b_j for each output column: which axis goes away?",
              "it has one number for each row.", 5),
        Wrong("db", lambda v: v.dy.sum(), "There is one b_j for each output column: which axis goes away?",
              "it is one number, the sum of all.", 5),
    ),
    hints=(
        "Look at the shapes: dx has that of x, dW that of W, db that of b.",
        "y_no = sum_i x_ni W_io + b_o. Which y does one W_io reach? All rows n, in column o.",
        "(N, I) from (N, O) and (I, O);   (I, O) from (N, I) and (N, O);   (O,) from (N, O).",
    ),
)  # fmt: skip

# --------------------------------------------------------------------------------------------- 02 gelu


def gelu_calls(v):
    """Forward, backward."""
    _, cache = yield Call("gelu", (v.u,), ("y", ...))
    yield Call("gelu_backward", (v.dy, cache), "du")


def gelu_reference(v):
    """By `ops.gelu`."""
    y, cache = ops.gelu(v.u, ALL)
    return {"y": y, "du": ops.gelu_backward(v.dy, cache)}


def gelu_prepare(v, rng):
    """u from far left to far right, 0 among it."""
    v.u = 2 * v.u
    v.u.flat[:4] = 0, 6, -6, 2


def gelu_inside(v):
    """The two halves of the product rule; the slope at y."""
    k, a = ops.GELU_K, ops.GELU_A

    def slope(u):
        t = np.tanh(k * (u + a * u**3))
        return 0.5 * (1 + t), 0.5 * u * (1 - t**2)

    first, outer = slope(v.u)
    return {
        "first": first, "outer": outer, "cubic": 1 + 3 * a * v.u**2, "k": k,
        "at_y": sum_of(slope(v.y), k * (1 + 3 * a * v.y**2)),
        "slope": first + outer * k * (1 + 3 * a * v.u**2),
    }  # fmt: skip


def sum_of(halves, inner):
    """The slope, from its halves."""
    return halves[0] + halves[1] * inner


def erf_slope(u):
    """The slope of the exact GELU, u Phi(u)."""
    density = np.exp(-u * u / 2) / (2 * np.pi) ** 0.5
    return 0.5 * (1 + np.vectorize(erf)(u / 2**0.5)) + u * density


HALF = "u occurs twice in u (1 + t): which of the two has been moved?"
FROM_ABOVE = "A backward multiplies by what comes from above: does it?"

GELU = Exercise(
    "02_gelu_backward", "The slope of GELU", 1, 10, (), "minipeft/ops.py gelu_backward", ("gelu_backward",),
    inputs="u (N, F), dy (N, F)", outputs="y (N, F), du (N, F)", sizes=different("NF", 3),
    calls=gelu_calls, reference=gelu_reference, prepare=gelu_prepare, inside=gelu_inside,
    upstream={"y": "dy"}, of={"du": "u"},
    wrong=(
        Wrong("du", lambda v: v.dy * v.first, HALF, "right at u = 0 and far out, wrong between.", 13),
        Wrong("du", lambda v: v.dy * v.outer * v.k * v.cubic, HALF, row=13),
        Wrong("du", lambda v: v.dy * (v.first + v.outer * v.k),
              "Right at u = 0. The argument of the tanh is not linear in u: what is its slope?",
              "wrong most where |u| is 1 to 3.", 14),
        Wrong("du", lambda v: v.dy * (v.first + v.outer * v.cubic),
              "The argument of the tanh has a constant in front: where is it in the slope?",
              "right at u = 0 and far out, wrong between.", 14),
        Wrong("du", lambda v: v.dy * erf_slope(v.u),
              "Very near, but GPT-2 uses another form: which is the forward?",
              lambda v: f"the slopes differ by at most {np.abs(erf_slope(v.u) - v.slope).max():.1e}.", 15),
        Wrong("du", lambda v: v.slope, FROM_ABOVE, row=16),
        Wrong("du", lambda v: v.dy * v.at_y, "At which number is the slope taken, u or y?",
              "these are slopes at y.", 16),
    ),
    parts=lambda v: {"du": {
        "the half with (1 + t)": v.dy * v.first,
        "the half with the slope of t": v.dy * v.outer * v.k * v.cubic,
    }},
    scales=lambda v: {"du": {"dy": v.dy}},
    rules=lambda v: {"du": {
        "the slope is 1/2 at u = 0": (
            "the slope be 1/2 at u = 0", lambda g: abs(g.flat[0] / v.dy.flat[0] - 0.5) < 1e-6),
        "the slope is 1 far right": (
            "the slope be 1 far right", lambda g: abs(g.flat[1] / v.dy.flat[1] - 1) < 1e-3),
        "the slope is 0 far left": (
            "the slope be 0 far left", lambda g: abs(g.flat[2] / v.dy.flat[2]) < 1e-3),
    }},
    hints=(
        "u stands in two places of u (1 + t) / 2. Move one, hold the other; then the other way round.",
        "Product rule, then chain rule: dt/du is the slope of tanh times the slope of what it is of.",
        "All of it entry by entry, (N, F): dy times ( half of (1 + t), plus half of u times dt/du ).",
    ),
)  # fmt: skip

# --------------------------------------------------------------------------------------- 07 layer norm


def norm_calls(v):
    """Forward, backward."""
    _, cache = yield Call("layer_norm", (v.x, v.w, v.b, 1e-5), ("y", ...))
    yield Call("layer_norm_backward", (v.dy, cache), ("dx", {"weight": "dw", "bias": "db"}))


def norm_reference(v):
    """By `ops.layer_norm`."""
    y, cache = ops.layer_norm(v.x, v.w, v.b, 1e-5, ALL)
    dx, grads = ops.layer_norm_backward(v.dy, cache)
    return {"y": y, "dx": dx, "dw": grads["weight"], "db": grads["bias"]}


def norm_prepare(v, rng):
    """Rows of different spread, off zero."""
    v.x = v.x * rng.uniform(0.5, 4, (v.N, 1)) + 1


def norm_inside(v):
    """xhat, 1/std, g, and what the mean and the variance take off."""
    centred = v.x - v.x.mean(1, keepdims=True)
    rstd = 1 / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
    xhat, g = centred * rstd, v.dy * v.w
    mean = g.mean(1, keepdims=True) + 0 * g
    return {"xhat": xhat, "rstd": rstd, "g": g, "mean": mean,
            "along": xhat * (g * xhat).mean(1, keepdims=True)}  # fmt: skip


def norm_rules(v):
    """What the norm takes out of a row cannot be in dx."""
    size = lambda g: np.abs(g).max()
    return {"dx": {
        "each row sums to 0": ("each row sum to 0", lambda g: np.abs(g.sum(1)).max() < 1e-8 * size(g)),
        "dx . xhat is near 0 in each row": (
            "dx . xhat be near 0 in each row", lambda g: np.abs((g * v.xhat).sum(1)).max() < 1e-3 * size(g)),
    }}  # fmt: skip


MEAN = "Adding a constant to a row changes nothing: what must a row of dx sum to?"
VARIANCE = "Stretching a centred row changes almost nothing: what must dx . xhat be?"

NORM = Exercise(
    "07_layer_norm_backward", "The backward of a layer norm", 3, 30, ("06",),
    "minipeft/ops.py layer_norm_backward", ("layer_norm_backward",),
    inputs="x (N, C), w (C), b (C), dy (N, C)", outputs="y (N, C), dx (N, C), dw (C), db (C)",
    sizes=different("NC", 3), calls=norm_calls, reference=norm_reference, prepare=norm_prepare,
    inside=norm_inside, upstream={"y": "dy"}, of={"dx": "x", "dw": "w", "db": "b"},
    wrong=(
        Wrong("dx", lambda v: v.rstd * v.g, "mu and rstd move when x moves: how many ways does x reach y?",
              "row sums are not 0, and something lies along xhat.", 6),
        Wrong("dx", lambda v: v.rstd * (v.g - v.along), MEAN,
              "row sums are not 0, nothing lies along xhat.", 7),
        Wrong("dx", lambda v: v.rstd * (v.g - v.mean), VARIANCE,
              "row sums are 0, but something lies along xhat.", 8),
        Wrong("dx", lambda v: v.rstd * (v.dy - v.dy.mean(1, keepdims=True)
                                        - v.xhat * (v.dy * v.xhat).mean(1, keepdims=True)),
              "dy reaches xhat through one more multiplication: by what?",
              "row sums are 0, nothing lies along xhat, and yet the numbers differ.", 9),
        Wrong("dx", lambda v: v.dx * v.rstd,
              "Which number is there one of per row, and how often does it count?",
              row=10),
        Wrong("dx", lambda v: v.dx / v.rstd,
              "Which number is there one of per row, and how often does it count?",
              row=10),
        Wrong("dx", lambda v: v.rstd * (v.g - v.g.mean(0) - v.xhat * (v.g * v.xhat).mean(0)),
              "Which axis did the forward average over?", "row sums are not 0, something lies along xhat.",
              11),
        Wrong("dx", lambda v: v.rstd * (v.g - v.C * v.mean - v.C * v.along),
              "Are these means, or sums? What did the forward take?",
              lambda v: f"what is taken off is C = {v.C} times too large."),
        Wrong("dx", lambda v: v.rstd * (v.g - v.mean - v.x * (v.g * v.x).mean(1, keepdims=True)),
              "The variance acts along xhat, or along x?", "row sums are not 0."),
        Wrong("dw", lambda v: v.dy.sum(0), "w multiplies what?", row=12),
        Wrong("dw", lambda v: (v.dy * v.x).sum(0), "w multiplies what: x, or xhat?", "x is in it.", 12),
        Wrong("dw", lambda v: (v.g * v.xhat).sum(0), "Does w stand in the slope of xhat w by w?"),
        Wrong("dw", lambda v: v.dw / v.N, ROWS),
        Wrong("db", lambda v: v.db / v.N, ROWS),
    ),
    parts=lambda v: {"dx": {"the path through the mean": -v.rstd * v.mean,
                            "the path through the variance": -v.rstd * v.along}},
    scales=lambda v: {"dx": {"rstd": v.rstd, "w": v.w}, "dw": {"w": v.w}, "db": {"w": v.w}},
    rules=norm_rules,
    hints=(
        "x reaches y by three ways: itself, the mean of its row, the variance of its row.",
        "From dy to dxhat first. Then take away what a constant, and what a stretching of the row, would "
        "change.",
        "dx: rstd (N, 1) times ( (N, C) minus a mean of each row, (N, 1), minus xhat times another such "
        "mean ).",
    ),
)  # fmt: skip

EXERCISES = (LINEAR, GELU, NORM)
