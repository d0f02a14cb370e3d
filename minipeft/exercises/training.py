"""Exercises 05 and 17: a derivative by differences, and one step of AdamW."""

import numpy as np

from .. import gradcheck
from ..optim import AdamW
from .exercise import Call, Exercise, Wrong, different

# ----------------------------------------------------------------------------------- 05 by differences


def derivative_calls(v):
    """One derivative."""
    yield Call("derivative", (f_of(v), v.array, v.direction, v.h), "df/dt")


def f_of(v):
    """A function of nothing, that reads v.array: no power of it is missing, so every rule has an error."""
    return lambda: float(np.exp(v.array * v.slopes).sum())


def derivative_reference(v):
    """By `gradcheck.derivative`."""
    return {"df/dt": np.float64(gradcheck.derivative(f_of(v), v.array, v.direction, v.h))}


def derivative_prepare(v, rng):
    """A step that is large on purpose: the rules differ by more than rounding."""
    v.h = round(float(rng.uniform(0.05, 0.2)), 3)


def derivative_inside(v):
    """f at the five places."""
    at = lambda t: float(np.exp((v.array + t * v.direction) * v.slopes).sum())
    f = {k: at(k * v.h) for k in (-2, -1, 0, 1, 2)}
    return {"f": f, "five": (8 * (f[1] - f[-1]) - (f[2] - f[-2])) / 12}


DIFFERENCES = Exercise(
    "05_derivative", "A derivative by differences", 1, 10, (), "minipeft/gradcheck.py derivative",
    ("derivative",),
    inputs="array (N, K), direction (N, K), slopes (N, K)", outputs="df/dt ()", sizes=different("NK"),
    prepare=derivative_prepare, calls=derivative_calls, reference=derivative_reference,
    inside=derivative_inside,
    writable=("array",), constants=("h",),
    wrong=(
        Wrong("df/dt", lambda v: np.zeros(()), "f reads one array: does that very array move, or a new one?",
              "it is 0: f gave the same number each time."),
        Wrong("df/dt", lambda v: (v.f[1] - v.f[-1]) / (2 * v.h),
              "How many values of f does the formula have?",
              "it is the two-point rule."),
        Wrong("df/dt", lambda v: (v.f[1] - v.f[0]) / v.h, "How many values of f does the formula have?",
              "it is the difference to one side."),
        Wrong("df/dt", lambda v: v.five, "A difference of f is not yet a slope: over which distance?",
              lambda v: f"the factor is {v.h:.3g} = h."),
        Wrong("df/dt", lambda v: 12 * v.five, "What do the weights 8 and 1 add up to, over the distances?",
              lambda v: f"the factor is {12 * v.h:.3g} = 12 h."),
        Wrong("df/dt", lambda v: -v.five / v.h, "Which way round are the differences?",
              "the sign is turned."),
        Wrong("df/dt", lambda v: (8 * (v.f[1] - v.f[-1]) + (v.f[2] - v.f[-2])) / (12 * v.h),
              "Which sign has the wide difference?", "the wide difference is added."),
        Wrong("df/dt", lambda v: ((v.f[1] - v.f[-1]) - 8 * (v.f[2] - v.f[-2])) / (12 * v.h),
              "Which of the two differences weighs 8?", "the weights have changed places."),
    ),
    hints=(
        "f reads the array itself. So write into the array, call f, and write the old contents back.",
        "Four values of f: at h, -h, 2h and -2h, each along `direction`, each from the place where it began.",
        "array[...] = (N, K) plus a number times (N, K), four times; then one line of numbers.",
    ),
)  # fmt: skip

# -------------------------------------------------------------------------------------------- 17 AdamW


def adamw_calls(v):
    """Two steps; one from the start with g = 0; one with tiny gradients and no decay."""
    numbers = {"lr": v.lr, "b1": v.b1, "b2": v.b2, "eps": v.eps, "wd": v.wd}
    arguments = lambda p, g, m, u, t, **other: (p, g, m, u, t, *(numbers | other).values())
    zero = np.zeros_like(v.p)
    p, m, u = yield Call("adamw", arguments(v.p, v.g1, zero, zero, 1), ("new p", "m", "v"))
    yield moves("the move at step 1", p, v.p)
    p2, _, _ = yield Call("adamw", arguments(p, v.g2, m, u, 2), ("p", "m at step 2", "v at step 2"))
    yield moves("the move at step 2", p2, p)
    p0, _, _ = yield Call("adamw", arguments(v.p, zero, zero, zero, 1), ("p", ..., ...))
    yield moves("the move at g = 0", p0, v.p)
    tiny, _, _ = yield Call("adamw", arguments(v.p, 1e-7 * v.g1, zero, zero, 1, wd=0.0), ("p", ..., ...))
    yield moves("the move at tiny g", tiny, v.p)


def moves(name, p, start):
    """By how much p moved, as a result; p itself where it has another shape."""
    return {name: np.asarray(p) - start if np.shape(p) == start.shape else np.asarray(p)}


def adamw_reference(v):
    """By `AdamW`."""
    one, two = AdamW(v.lr, (v.b1, v.b2), v.eps, v.wd), {"p": v.p.copy()}
    one.step(two, {"p": v.g1})
    m, u, p1 = one.m["p"].copy(), one.v["p"].copy(), two["p"].copy()
    one.step(two, {"p": v.g2})
    still, tiny = {"p": v.p.copy()}, {"p": v.p.copy()}
    AdamW(v.lr, (v.b1, v.b2), v.eps, v.wd).step(still, {"p": np.zeros_like(v.p)})
    AdamW(v.lr, (v.b1, v.b2), v.eps, 0.0).step(tiny, {"p": 1e-7 * v.g1})
    return {
        "new p": p1, "m": m, "v": u, "m at step 2": one.m["p"], "v at step 2": one.v["p"],
        "the move at step 1": p1 - v.p, "the move at step 2": two["p"] - p1,
        "the move at g = 0": still["p"] - v.p, "the move at tiny g": tiny["p"] - v.p,
    }  # fmt: skip


def adamw_prepare(v, rng):
    """Rates that are not round; betas apart."""
    v.lr, v.wd = round(float(rng.uniform(0.05, 0.2)), 3), round(float(rng.uniform(0.1, 0.4)), 3)
    v.b1, v.b2 = round(float(rng.uniform(0.8, 0.92)), 3), round(float(rng.uniform(0.98, 0.999)), 4)
    v.eps = 1e-8 * round(float(rng.uniform(1.5, 4)), 1)


def move(v, which, corrected="mv", coupled=False, eps_inside=False, first=1, last=9, decay="lr", power=2,
         swap=False, after=False, mean=True, sign=1):  # fmt: skip
    """The moves of an AdamW with something wrong: at step 1 or 2, with g = 0 ("still"), or with tiny g.

    corrected: which of m and v are. first, last: the t of the first step, and the highest that t becomes.
    """
    b1, b2 = (v.b2, v.b1) if swap else (v.b1, v.b2)
    p, m, u = v.p, 0 * v.p, 0 * v.p
    wd = 0.0 if which == "tiny" else v.wd
    gradients = {1: [v.g1], 2: [v.g1, v.g2], "still": [0 * v.p], "tiny": [1e-7 * v.g1]}[which]
    for t, g in enumerate(gradients, first):
        g = g + wd * p if coupled else g
        m, u = b1 * m + (1 - b1) * g, b2 * u + (1 - b2) * np.abs(g) ** power
        t = min(t, last)
        mh = m / (1 - b1**t) if "m" in corrected else m
        uh = u / (1 - b2**t) if "v" in corrected else u
        root = np.sqrt(uh + v.eps) if eps_inside else np.sqrt(uh) + v.eps
        step = v.lr * (mh if mean else g) / root
        by = 0.0 if coupled else {"lr": v.lr, "": 1.0, "none": 0.0, "added": -v.lr}[decay] * wd
        start, p = p, p - sign * step - by * (p - step if after else p)
    return p - start


WHICH = {
    "the move at step 1": 1,
    "the move at step 2": 2,
    "the move at g = 0": "still",
    "the move at tiny g": "tiny",
}


def variants(question, row=None, fact="", **options):
    """Known wrong moves, wherever this variant shows; a fact may be a function of (v)."""
    return tuple(
        Wrong(name, lambda v, which=which: move(v, which, **options), question, fact, row)
        for name, which in WHICH.items()
    )


STILL = "Set g to 0: how far should p move?"
FIRST = "The first step should be about lr, whatever the gradient's size: what is m after it?"
FIRST_V = "The first step should be about lr, whatever the gradient's size: what is v after it?"

ADAMW = Exercise(
    "17_adamw", "AdamW, one step", 2, 20, (), "minipeft/optim.py AdamW", ("adamw",),
    inputs="p (I, O), g1 (I, O), g2 (I, O)",
    outputs="m (I, O), v (I, O), the move at step 1 (I, O), the move at step 2 (I, O), "
            "the move at g = 0 (I, O), the move at tiny g (I, O), m at step 2 (I, O), v at step 2 (I, O)",
    sizes=different("IO", 3), prepare=adamw_prepare, calls=adamw_calls, reference=adamw_reference,
    constants=("lr", "wd", "b1", "b2", "eps"),
    together=(("new p", "m", "v"),), said={"g1": "g", "g2": "g"},
    wrong=(
        *variants(FIRST, 66, lambda v: f"m and v are not corrected: without decay the first step is "
                  f"{(1 - v.b1) / (1 - v.b2) ** 0.5:.3g} times lr.", corrected=""),
        *variants(FIRST, None, lambda v: f"m is not corrected, and v is: without decay the first step is "
                  f"{1 - v.b1:.3g} times lr.", corrected="v"),
        *variants(FIRST_V, None, lambda v: f"v is not corrected, and m is: without decay the first step is "
                  f"{(1 - v.b2) ** -0.5:.3g} times lr.", corrected="m"),
        *variants(STILL, 67, "the decay goes through m and v, with the gradient.", coupled=True),
        *variants(STILL, 68, "the decay is 1/lr times too large.", decay=""),
        *variants(STILL, None, "there is no decay.", decay="none"),
        *variants("Set g to 0: does p shrink, or grow?", None, "the decay has its sign turned.",
                  decay="added"),
        *variants("What is 1 - b1^t at the first step?", 69, "the corrections are those of step t + 1.",
            first=2),
        *variants("What is 1 - b1^t at the second step?", None,
                  "the corrections are those of the first step.", last=1),
        *variants("v is a mean of what: |g|, or g^2?", 69, "|g| is in it.", power=1),
        *variants("Where does eps stand: under the root, or beside it?", 69, "it shows where g is tiny.",
                  eps_inside=True),
        *variants("One step may not tell: which beta goes with m?", 70, "the betas have changed places.",
            swap=True),
        *variants("One step may not tell: at the second, what is divided by the root?", 70,
                  "g is in the place of m.", mean=False),
        *variants("Which p decays: the one before the step, or after?", None, "p decays after it has moved.",
                  after=True),
        *variants("Which way does p go, along the gradient or against it?", None,
            "the gradient's step has its sign "
                  "turned.", sign=-1),
        *(Wrong(name, lambda v, name=name: v.true[name] - v.p, "From where does p move?",
                "what comes back is the move, without p.")
          for name in ("the move at step 1", "the move at g = 0", "the move at tiny g")),
        Wrong("m", lambda v: (1 - v.b2) * v.g1, "Which beta goes with m?", "b2 is in it.", 70),
        Wrong("v", lambda v: (1 - v.b1) * v.g1**2, "Which beta goes with v?", "b1 is in it.", 70),
        Wrong("v", lambda v: (1 - v.b2) * np.abs(v.g1), "v is a mean of what: |g|, or g^2?",
              "|g| is in it.", 69),
        Wrong("m", lambda v: (1 - v.b1) * (v.g1 + v.wd * v.p), "Set g to 0: should m know of p?",
              "the decay is in it.", 67),
        Wrong("v", lambda v: (1 - v.b2) * (v.g1 + v.wd * v.p) ** 2, "Set g to 0: should v know of p?",
              "the decay is in it.", 67),
        Wrong("m", lambda v: v.g1, "m keeps how much of the old, and takes how much of the new?",
              "it is g itself."),
        Wrong("v", lambda v: v.g1**2, "v keeps how much of the old, and takes how much of the new?",
              "it is g^2."),
        Wrong("m at step 2", lambda v: (1 - v.b1) * v.g2,
              "The second step brings its m along: what is kept of it?", "the old m is not in it."),
        Wrong("v at step 2", lambda v: (1 - v.b2) * v.g2**2,
              "The second step brings its v along: what is kept of it?", "the old v is not in it."),
        Wrong("m", lambda v: v.m / (1 - v.b1), "Is the m that is kept the corrected one?", "it is g itself."),
        Wrong("v", lambda v: v.v / (1 - v.b2), "Is the v that is kept the corrected one?", "it is g^2."),
    ),
    hints=(
        "Six lines, in the order of the formula: m, v, both corrected, then p.",
        "m and v that are returned are the plain ones; corrected, they are used for p alone. wd stands "
        "beside g.",
        "All entry by entry, (I, O): p minus lr wd p minus lr times (corrected m) over (root of corrected "
        "v, plus eps).",
    ),
)  # fmt: skip

EXERCISES = (DIFFERENCES, ADAMW)
