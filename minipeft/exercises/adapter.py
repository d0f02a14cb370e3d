"""Exercise 15: the bottleneck adapter."""

import numpy as np

from ..methods.sublayer.adapter import Adapter
from .beside_weights import CONSTANT, step_of
from .exercise import Call, Exercise, Wrong, different, factor

PLACE = "h.0.mlp"
PARTS = {"down": "D", "down_bias": "d", "up": "U", "up_bias": "e"}


def calls(v):
    """Forward, backward."""
    _, cache = yield Call("adapter", (v.x, v.h, v.D, v.d, v.U, v.e, v.s), ("h'", ...))
    grads = {part: f"d{letter}" for part, letter in PARTS.items()}
    yield Call("adapter_backward", (v.dy, cache), ("dh", "dx", grads))


def reference(v):
    """By `Adapter`."""
    names = {letter: f"{PLACE}.adapter_{part}" for part, letter in PARTS.items()}
    method = Adapter(scaling=v.s)
    step = step_of(method, {}, {name: getattr(v, letter) for letter, name in names.items()})
    y, cache = method.sublayer(PLACE, v.x, v.h.copy(), step)
    dh, dx, grads = method.sublayer_backward(v.dy, cache, step)
    return {"h'": y, "dh": dh, "dx": dx, **{f"d{letter}": grads[name] for letter, name in names.items()}}


def prepare(v, rng):
    """s; no bias near 0."""
    v.s = factor(rng)
    v.d, v.e = v.d + 0.5, v.e + 0.5


def inside(v):
    """u, the activation and its mask; what comes to it; the path through f."""
    u = v.x + v.h
    z = u @ v.D + v.d
    da = v.s * v.dy @ v.U.T
    return {"u": u, "z": z, "a": np.maximum(z, 0), "open": z > 0, "da": da, "dz": da * (z > 0),
            "through": (da * (z > 0)) @ v.D.T}  # fmt: skip


RESIDUAL = "h reaches h' without f, too: how often?"
MASK = "Where u D + d < 0 nothing came through forwards: and backwards?"

ADAPTER = Exercise(
    "15_adapter_backward", "The backward of an adapter", 2, 20, ("01", "02"),
    "minipeft/methods/sublayer/bottleneck.py", ("adapter_backward",),
    inputs="x (N, C), h (N, C), D (C, R), d (R), U (R, C), e (C), dy (N, C)",
    outputs="h' (N, C), dh (N, C), dx (N, C), dD (C, R), dd (R), dU (R, C), de (C)",
    sizes=different("NCR", 3), prepare=prepare, calls=calls, reference=reference, inside=inside,
    upstream={"h'": "dy"}, of={"dh": "h", "dx": "x", "dD": "D", "dd": "d", "dU": "U", "de": "e"},
    constants=("s",), together=(("dh", "dx"),), said={"dy": "dh'"},
    wrong=(
        Wrong("dh", lambda v: v.through, RESIDUAL, "it lacks dh'.", 62),
        Wrong("dh", lambda v: v.dh + v.dy, RESIDUAL, "it has dh' twice.", 62),
        Wrong("dh", lambda v: v.s * v.dy + v.through, RESIDUAL,
              lambda v: f"it has dh' {v.s:.3g} = s times.", 62),
        Wrong("dh", lambda v: v.dy, "h goes two ways: where is the one through f?", "it is dh', unchanged."),
        Wrong("dx", lambda v: 0 * v.dx, "f reads x + h: who gets its gradient?", "it is zero.", 63),
        Wrong("dx", lambda v: v.dh, "Does x reach h' without f?", "it has dh', too."),
        *(Wrong(name, make, MASK, row=64, fact="the entries that relu cut off are in it.") for name, make in (
            ("dd", lambda v: v.da.sum(0)), ("dD", lambda v: v.u.T @ v.da), ("dx", lambda v: v.da @ v.D.T),
            ("dh", lambda v: v.dy + v.da @ v.D.T))),
        *(Wrong(name, lambda v, name=name: getattr(v, name) / v.s, CONSTANT, row=65)
          for name in ("dU", "de", "dD", "dd", "dx")),
        Wrong("dh", lambda v: v.dy + v.through / v.s, CONSTANT, "the path through f is too small by s.", 65),
        *(Wrong(name, lambda v, name=name: getattr(v, name) * v.s,
                "How often does this path pass s in the forward?")
          for name in ("dU", "de", "dD", "dd", "dx")),
        Wrong("dh", lambda v: v.dy + v.through * v.s, "How often does this path pass s in the forward?",
              "the path through f is too large by s."),
        Wrong("dU", lambda v: v.s * v.z.T @ v.dy, "U multiplies what: before relu, or after?",
              "it is made of u D + d."),
        *(Wrong(name, lambda v, name=name: getattr(v, name).T, "Which side of the product are its rows?",
                "rows and columns have changed places.") for name in ("dU", "dD")),
        Wrong("dD", lambda v: v.h.T @ v.dz, "What does D read?", "it lacks the part of x."),
        Wrong("dD", lambda v: v.x.T @ v.dz, "What does D read?", "it lacks the part of h."),
        *(Wrong(name, lambda v, name=name: getattr(v, name) / v.N,
                "Is anything averaged over the rows in the forward?")
          for name in ("dU", "de", "dD", "dd")),
    ),
    parts=lambda v: {
        "dh": {"dh'": v.dy, "the path through f": v.through}, "dD": {"the part of x": v.x.T @ v.dz},
    },
    hints=(
        "h goes two ways to h': as it is, and through f. x goes one way.",
        "Backward through f: times s, through U, through relu, through D. relu: what was cut off gets "
        "nothing.",
        "df (N, C);   dz (N, R) from df and U (R, C), cut;   du (N, C) from dz and D (C, R).",
    ),
)  # fmt: skip

EXERCISES = (ADAPTER,)
