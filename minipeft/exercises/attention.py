"""Exercises 06 and 08: softmax and attention."""

import numpy as np

from .. import ops
from .exercise import Call, Exercise, Wrong, different

# ------------------------------------------------------------------------------------------ 06 softmax


def softmax_calls(v):
    """Forward, backward."""
    p = yield Call("softmax", (v.z,), "p")
    yield Call("softmax_backward", (v.dp, p), "dz")


def softmax_reference(v):
    """By `ops.softmax`, and the line of ds in `ops.attention_backward`."""
    p = ops.softmax(v.z)
    return {"p": p, "dz": p * (v.dp - (v.dp * p).sum(1, keepdims=True))}


def softmax_inside(v):
    """The sum that is taken off, as `part`."""
    return {"part": -v.p * (v.dp * v.p).sum(1, keepdims=True)}


OTHERS = "One logit up lowers all other probabilities: where is that?"
COMPETE = "Which entries compete with each other?"

SOFTMAX = Exercise(
    "06_softmax_backward", "The backward of softmax", 2, 15, ("03",), "minipeft/ops.py attention_backward",
    ("softmax_backward",),
    inputs="z (N, K), dp (N, K)", outputs="p (N, K), dz (N, K)", sizes=different("NK", 3),
    calls=softmax_calls, reference=softmax_reference, inside=softmax_inside, upstream={"p": "dp"},
    of={"dz": "z"},
    wrong=(
        Wrong("dz", lambda v: v.p * (1 - v.p) * v.dp, OTHERS,
              "rows do not sum to 0; it is the diagonal alone.", 17),
        Wrong("dz", lambda v: v.p * v.dp, "Row sums should be 0: what does softmax never change?",
              "rows do not sum to 0; it lacks -p (dp . p).", 18),
        Wrong("dz", lambda v: v.p * (v.dp - (v.dp * v.p).sum(0)), COMPETE, "the sum runs over the rows.", 19),
        Wrong("dz", lambda v: v.p * (v.dp - (v.dp * v.p).mean(1, keepdims=True)),
              "Is it a mean that is taken off?",
              lambda v: f"what is taken off is K = {v.K} times too small.", 19),
        Wrong("dz", lambda v: v.p * (v.dp - (v.dp * v.p).sum()), COMPETE, "the sum runs over all rows.", 19),
        Wrong("dz", lambda v: v.dp - (v.dp * v.p).sum(1, keepdims=True),
              "How large is the slope where p is tiny?",
              "each entry is 1/p times too large."),
        Wrong("dz", lambda v: v.p * (v.dp - v.dp.sum(1, keepdims=True)), "The sum is weighted: by what?",
              "the plain sum of dp is taken off."),
        Wrong("dz", lambda v: v.dp - v.p * v.dp.sum(1, keepdims=True),
              "Which function has that slope: softmax, or its logarithm?",
              "it is dp - p times the sum of dp."),
    ),
    parts=lambda v: {"dz": {"the sum that is taken off": v.part}},
    scales=lambda v: {"dz": {"p": v.p}},
    rules=lambda v: {"dz": {
        "each row sums to 0": ("each row sum to 0", lambda g: np.abs(g.sum(1)).max() < 1e-9),
    }},
    hints=(
        "Every z_i moves every p_j of its row: dz_i is a sum over j, not one product.",
        "dz_i = sum_j dp_j times the slope of p_j by z_i. That slope is p_j ([i = j] - p_i): put it in, and "
        "take p_i out.",
        "(N, K): p times ( (N, K) minus a weighted sum of each row, (N, 1) ).",
    ),
)  # fmt: skip

# ---------------------------------------------------------------------------------------- 08 attention


def attention_calls(v):
    """Forward, backward."""
    _, cache = yield Call("attention", (v.q, v.k, v.v, v.H), ("o", ...))
    yield Call("attention_backward", (v.do, cache), ("dq", "dk", "dv"))


def attention_reference(v):
    """By `ops.attention`: one sequence."""
    o, cache = ops.attention(v.q, v.k, v.v, [(0, v.T)], [(0, v.J)], v.H, wants=frozenset({"x"}))
    return dict(zip(("o", "dq", "dk", "dv"), (o, *ops.attention_backward(v.do, cache)), strict=True))


def merged(x):
    """(H, T, D) -> (T, C)."""
    return x.transpose(1, 0, 2).reshape(x.shape[1], -1)


def attention_inside(v):
    """By heads: q, k, do; p, dp and ds without the scale."""
    q, k, val, do = (ops.heads(x, v.H) for x in (v.q, v.k, v.v, v.do))
    mask = np.triu(np.full((v.T, v.J), -np.inf), 1 + v.J - v.T)
    p = ops.softmax(q @ k.transpose(0, 2, 1) * v.D**-0.5 + mask)
    dp = do @ val.transpose(0, 2, 1)
    return {"qs": q, "ks": k, "dos": do, "ps": p, "dps": dp, "scale": v.D**-0.5,
            "ds": p * (dp - (dp * p).sum(2, keepdims=True))}  # fmt: skip


def scores(ds):
    """The wrong dq and dk that a wrong ds, (values) -> (H, T, J), makes."""
    return (
        ("dq", lambda v: merged(ds(v) @ v.ks) * v.scale),
        ("dk", lambda v: merged(ds(v).transpose(0, 2, 1) @ v.qs) * v.scale),
    )


BETWEEN = "What stands between the scores and q k^T?"
WIDE = "How wide is one head, and how often does the scale count?"
APART = "Sorted, they agree: how were the heads taken apart?"
MISTAKEN = "What makes it: ds or p, and which of q, k, do?"

ATTENTION = Exercise(
    "08_attention_backward", "The backward of attention", 3, 40, ("01", "06"),
    "minipeft/ops.py attention_backward",
    ("attention_backward",),
    inputs="q (T, C), k (J, C), v (J, C), do (T, C)", outputs="o (T, C), dq (T, C), dk (J, C), dv (J, C)",
    sizes=different("HDT", 2, 6, C=lambda n: n["H"] * n["D"], J=lambda n: n["T"] + 5),
    calls=attention_calls, reference=attention_reference, inside=attention_inside,
    upstream={"o": "do"}, of={"dq": "q", "dk": "k", "dv": "v"},
    wrong=(
        *(Wrong(name, lambda v, name=name: getattr(v, name) / v.scale, BETWEEN, row=20) for name in ("dq",
                "dk")),
        *(Wrong(name, lambda v, name=name: getattr(v, name) * v.scale, WIDE, row=21) for name in ("dq",
                "dk")),
        *(Wrong(name, lambda v, name=name: getattr(v, name) / v.scale * v.C**-0.5, WIDE, row=21)
          for name in ("dq", "dk")),
        Wrong("dk", lambda v: v.dv, "dk and dv: which is which?", row=23),
        Wrong("dv", lambda v: v.dk, "dk and dv: which is which?", row=23),
        *(Wrong(name, lambda v, x=x: x(v), APART, "the right numbers, in the wrong places.", 24) for name,
                x in (
            ("dq", lambda v: (v.ds @ v.ks * v.scale).reshape(v.T, v.C)),
            ("dk", lambda v: (v.ds.transpose(0, 2, 1) @ v.qs * v.scale).reshape(v.J, v.C)),
            ("dv", lambda v: (v.ps.transpose(0, 2, 1) @ v.dos).reshape(v.J, v.C)))),
        *(Wrong(name, make, "Row sums of ds should be 0: what does softmax never change?",
                "the sum of softmax's backward is not taken off.")
          for name, make in scores(lambda v: v.ps * v.dps)),
        *(Wrong(name, make, "One score up lowers all other shares: where is that?",
                "it is the diagonal of softmax's slope alone.")
          for name, make in scores(lambda v: v.ps * (1 - v.ps) * v.dps)),
        *(Wrong(name, make, "Which keys compete for one query?", "the sum runs over queries, not over keys.")
          for name, make in scores(lambda v: v.ps * (v.dps - (v.dps * v.ps).sum(1, keepdims=True)))),
        *(Wrong(name, make, "Scores become shares by softmax: is its slope in it?", "softmax is not in it.")
          for name, make in scores(lambda v: v.dps)),
        *(Wrong("dv", lambda v, k=k: merged(v.ds.transpose(0, 2, 1) @ v.dos) * v.scale**k, MISTAKEN,
                "ds is in it, in the place of p.") for k in (0, 1)),
        Wrong("dv", lambda v: v.dv * v.scale, "Does the scale stand between v and o?"),
    ),
    together=(("dq", "dk", "dv"),),
    hints=(
        "Go backward line by line: o = p v; p = softmax(s); s = q k^T / sqrt(D). Each head by itself.",
        "A product has two gradients, as in 01; softmax is 06, over the keys. Key j hears from all its "
        "queries.",
        "(H, J, D) from (H, T, J) turned, and (H, T, D);   ds (H, T, J);   dq (H, T, D) from ds and k.",
    ),
)  # fmt: skip

EXERCISES = (SOFTMAX, ATTENTION)
