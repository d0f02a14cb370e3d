"""The curves of the live gradient check: the errors of right and wrong backwards at every step."""

from functools import partial

import numpy as np
from repository import address_of

from minipeft import LoRA, ops
from minipeft.methods.linear.ia3 import IA3

STEPS = [10 ** (-k / 2) for k in range(27)]  # 1 ... 1e-13
FLOOR = 1e-3  # an error is relative to the derivative, or to this where the derivative is smaller
SHAPES = {"x": (4, 6), "W": (6, 5), "b": (5,), "A": (6, 2), "B": (2, 5), "w": (6,), "shift": (6,), "l": (5,)}
LABELS = np.array([1, 4, 0, 2])
R = 2


def arrays(ones, dtype):
    """Numbers to check on. ones: what comes from above is 1, and so is every number that only multiplies."""
    rng = np.random.default_rng(3)
    a = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    a |= {"dy": rng.normal(size=(4, 6)), "dy_out": rng.normal(size=(4, 5)), "s": np.array(3.0)}
    a["dloss"] = np.array(0.5)
    if ones:
        a |= {name: np.ones_like(a[name]) for name in ("dy", "dy_out", "s", "dloss", "w", "l")}
    return {name: value.astype(dtype) for name, value in a.items()}


def layer_norm(a):
    """sum of dy y, y the layer norm of x."""
    return (a["dy"] * ops.layer_norm(a["x"], a["w"], a["shift"], 1e-5)[0]).sum()


def layer_norm_dx(a, mistake=None):
    """dx of `layer_norm`."""
    x, w = a["x"], a["w"]
    _, cache = ops.layer_norm(x, np.ones_like(w) if mistake == "w" else w, a["shift"], 1e-5, {"x"})
    _, rstd, _, _ = cache
    g = a["dy"] * w  # (N, C)
    if mistake == "variance":
        return rstd * (g - g.mean(1, keepdims=True))
    if mistake == "constants":
        return rstd * g
    return ops.layer_norm_backward(a["dy"], cache)[0]


def softmax(a):
    """sum of dy p, p the softmax of x."""
    return (a["dy"] * ops.softmax(a["x"])).sum()


def softmax_dz(a, mistake=None):
    """dz = p (dp - sum_j dp_j p_j)."""
    p, dp = ops.softmax(a["x"]), a["dy"]
    if mistake == "diagonal":
        return p * dp
    taken = dp.mean(1, keepdims=True) if mistake == "mean" else (p * dp).sum(1, keepdims=True)
    return p * (dp - taken)


def gelu(a):
    """sum of dy y, y the GELU of x."""
    return (a["dy"] * ops.gelu(a["x"])[0]).sum()


def gelu_du(a, mistake=None):
    """du of `gelu`."""
    _, (u, t) = ops.gelu(a["x"], {"x"})
    if mistake == "product":
        return a["dy"] * 0.5 * (1 + t)
    return ops.gelu_backward(np.ones_like(u) if mistake == "dy" else a["dy"], (u, t))


def loss(a):
    """Cross-entropy as a part of a sum: it counts dloss times."""
    logp = ops.log_softmax(a["x"])
    return -a["dloss"] * logp[np.arange(4), LABELS].sum()


def loss_dz(a, mistake=None):
    """dz = dloss (p - onehot)."""
    p, onehot = ops.softmax(a["x"]), np.eye(6)[LABELS]
    dz = p if mistake == "onehot" else p - onehot
    return dz if mistake == "dloss" else a["dloss"] * dz


def lora(a):
    """sum of dy y, y = x W + b + s (x A) B."""
    return (a["dy_out"] * (a["x"] @ a["W"] + a["b"] + a["s"] * (a["x"] @ a["A"]) @ a["B"])).sum()


def lora_dA(a, mistake=None):
    """dA = x^T dh, dh = s dy B^T."""
    dh = a["dy_out"] @ a["B"].T  # (N, R)
    if mistake != "s":
        dh = dh * a["s"]
    return a["x"].T @ dh * (R if mistake == "alpha" else 1)


def ia3(a):
    """sum of dy y', y' = (x W + b) l."""
    return (a["dy_out"] * (a["x"] @ a["W"] + a["b"]) * a["l"]).sum()


def ia3_dl(a, mistake=None):
    """dl = sum_n dy y, y = x W + b."""
    y = a["x"] @ a["W"] + (0 if mistake == "bias" else a["b"])
    return (a["dy_out"] * (y * a["l"] if mistake == "after" else y)).sum(0)


OPERATIONS = [  # (what is checked, what moves, the loss, its gradient, {mistake: in words}, the real lines)
    ("Layer norm: dx", "x", layer_norm, layer_norm_dx, {
        "variance": "no path through the variance", "w": "the gain w forgotten",
        "constants": "mean and variance taken as constants"}, ops.layer_norm_backward),
    ("Softmax: dz", "x", softmax, softmax_dz, {
        "mean": "the plain mean subtracted, not the weighted sum", "diagonal": "the diagonal only"},
        ops.attention_backward),
    ("GELU: du", "x", gelu, gelu_du, {
        "dy": "dy forgotten", "product": "second half of the product rule missing"}, ops.gelu_backward),
    ("Cross-entropy: dz", "x", loss, loss_dz, {
        "dloss": "what comes from above, dloss, ignored", "onehot": "the label not subtracted"},
        ops.lm_loss_backward),
    ("LoRA: dA", "A", lora, lora_dA, {
        "s": "the scale s forgotten", "alpha": "alpha in place of alpha / R"}, LoRA.linear_backward),
    ("IA3: dl", "l", ia3, ia3_dl, {
        "after": "y taken behind the scale, not before it", "bias": "the bias left out of y"},
        IA3.linear_backward),
]  # fmt: skip


def errors(moved, f, gradient, ones, dtype):
    """The error of a gradient, along one direction, at each of STEPS; log10, for the page.

    Differences of two points: (f(h) - f(-h)) / 2h, all of it in `dtype`.
    """
    a = arrays(ones, dtype)
    direction = np.random.default_rng(1).normal(size=a[moved].shape).astype(dtype)
    claimed, found = float((gradient(a) * direction).sum()), []
    for h in STEPS:
        up, down = (f(a | {moved: a[moved] + dtype(t) * direction}) for t in (h, -h))
        numeric = float(up - down) / (2 * h)
        error = abs(numeric - claimed) / max(abs(numeric), abs(claimed), FLOOR)
        found.append(round(float(np.log10(max(error, 1e-16))), 2))
    return found


def curves():
    """{"steps": log10 of each, "operations": [...]}: what the page's script draws."""
    return {"steps": [-k / 2 for k in range(27)], "operations": [operation(*o) for o in OPERATIONS]}


def operation(name, moved, f, gradient, mistakes, code):
    """One operation: its right gradient and each wrong one, with their errors by type and probe."""
    claims = []
    for mistake, words in {None: "no mistake", **mistakes}.items():
        claim = partial(gradient, mistake=mistake)
        curve = {
            f"{dtype.__name__} {'ones' if ones else 'random'}": errors(moved, f, claim, ones, dtype)
            for dtype in (np.float64, np.float32)
            for ones in (False, True)
        }
        claims.append({"words": words, "errors": curve})
    return {"name": name, "claims": claims, "code": address_of(code)}
