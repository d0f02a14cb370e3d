"""Exercises 12, 13 and 14: rows in front of the text, and the network that they may come out of."""

import numpy as np

from ..layout import Layout
from ..methods.embed.mlp import mlp, mlp_backward
from ..ops import prepend, prepend_backward
from .exercise import Call, Exercise, Wrong, different

TOTAL = "N + S P"


def rows_sizes(rng):
    """P virtual rows, S = 3 sequences or more, two of them equally long; N rows of text in all."""
    draw = different("PCS", 2, 6)
    while True:
        sizes = draw(rng)
        drawn = rng.permutation(np.arange(1, 3 + sizes["S"]))[: sizes["S"] - 1]
        lengths = tuple(int(n) for n in [*drawn, drawn[0]])
        sizes |= {"N": sum(lengths), TOTAL: sum(lengths) + sizes["S"] * sizes["P"], "lengths": lengths}
        numbers = [n for key, n in sizes.items() if key != "lengths"]
        if len(set(numbers)) == len(numbers) and sizes["S"] > 2:
            return sizes


def begins(v):
    """The first row of each sequence, in x'."""
    return [sum(v.lengths[:s]) + s * v.P for s in range(v.S)]


def firsts(v, dx):
    """The P virtual rows of each sequence."""
    return [dx[a : a + v.P] for a in begins(v)]


def behind(v, dx):
    """The P rows behind each text."""
    return [dx[a + n : a + n + v.P] for a, n in zip(begins(v), v.lengths, strict=True)]


def cut(v, dx):
    """What remains where the rows behind each text are taken for the virtual ones."""
    return np.concatenate([dx[a : a + n] for a, n in zip(begins(v), v.lengths, strict=True)])


WHERE = "Where do the virtual rows of sequence 2 begin?"


def shared(tensor, dx):
    """The wrong answers for a tensor whose rows stand before all sequences; dx: the upstream gradient."""
    up = lambda v: getattr(v, dx)
    return (
        Wrong(tensor, lambda v: firsts(v, up(v))[0],
              "The same rows stand before each sequence: who else sends?",
              "it is what the first sequence sends.", 54),
        Wrong(tensor, lambda v: firsts(v, up(v))[-1],
              "The same rows stand before each sequence: who else sends?",
              "it is what the last sequence sends.", 54),
        Wrong(tensor, lambda v: sum(firsts(v, up(v))) / v.S,
              "Is anything averaged over the sequences in the forward?",
              row=55),
        Wrong(tensor, lambda v: sum(behind(v, up(v))), WHERE, "it is the rows behind each text.", 56),
        Wrong(tensor, lambda v: sum(up(v)[s * v.P : (s + 1) * v.P] for s in range(v.S)), WHERE,
              "it is the first rows of all, as if all virtual rows came first.", 56),
        Wrong(tensor, lambda v: np.concatenate(firsts(v, up(v))),
              "The same rows stand before each sequence: how many gradients do they have?",
              "it has a row for each sequence's copy."),
    )  # fmt: skip


def text_alone(tensor, dx):
    """The wrong answers for the gradient of the text; dx: the upstream, with the virtual rows."""
    up = lambda v: getattr(v, dx)
    return (
        Wrong(tensor, lambda v: cut(v, up(v)), WHERE, "the rows of the text are shifted by P.", 56),
        Wrong(tensor, lambda v: up(v)[v.S * v.P :], WHERE, "the first S P rows are taken off, all in one.",
              56),
        Wrong(tensor, lambda v: up(v), "This is the gradient of the text alone: which rows are not text?",
              "it holds the virtual rows, too.", 57),
        Wrong(tensor, lambda v: up(v)[v.P :], "How many sequences have virtual rows in front?",
              "the virtual rows of the first sequence alone are taken out.", 57),
    )  # fmt: skip


def rows_prepare(v, rng):
    """The lengths as a list, out of the sizes."""
    v.lengths = list(v.sizes.pop("lengths"))


# --------------------------------------------------------------------------------------- 12 prompt tuning


def prompt_calls(v):
    """Forward, backward."""
    _, cache = yield Call("prepend", (v.E, v.x, v.lengths), ("x'", ...))
    yield Call("prepend_backward", (v.dy, cache), ("dx", {"prompt_embeddings": "dE"}))


def prompt_reference(v):
    """By `ops.prepend`."""
    layout = Layout.of(v.lengths)
    dx, dE = prepend_backward(v.dy, v.P, layout)
    return {"x'": prepend(v.E, v.x, layout)[0], "dx": dx, "dE": dE}


PROMPT = Exercise(
    "12_prompt_tuning", "Prompt tuning: rows in front", 2, 20, ("04",), "minipeft/ops.py prepend",
    ("prepend", "prepend_backward"),
    inputs="E (P, C), x (N, C), dy (N + S P, C)", outputs="x' (N + S P, C), dx (N, C), dE (P, C)",
    sizes=rows_sizes, prepare=rows_prepare, calls=prompt_calls, reference=prompt_reference,
    upstream={"x'": "dy"}, of={"dx": "x", "dE": "E"}, said={"dy": "dx'"},
    wrong=(
        *shared("dE", "dy"), *text_alone("dx", "dy"),
        Wrong("x'", lambda v: np.concatenate([v.E, v.x]), "How many sequences are there in x?",
              "the virtual rows stand before the first sequence alone."),
        Wrong("x'", lambda v: np.concatenate([v.E] * v.S + [v.x]), WHERE, "all virtual rows come first."),
        Wrong("x'", lambda v: np.concatenate([a for t in np.split(v.x,
              np.cumsum(v.lengths)[:-1]) for a in (t, v.E)]),
              "Which comes first, the virtual rows or the text?", "the virtual rows stand behind each text."),
    ),
    hints=(
        "Draw x' for two sequences: which rows are E, which are text? Then read the drawing backward.",
        "What is copied to S places forward is a sum of S gradients backward.",
        "Per sequence (P + n, C): the first (P, C) go to the sum, the other (n, C) to dx.",
    ),
)  # fmt: skip

# --------------------------------------------------------------------------------------- 13 prefix tuning


def prefix_sizes(rng):
    """Those of rows in front, and n scores: a number that no other letter has."""
    sizes = rows_sizes(rng)
    free = [n for n in range(2, 9) if n not in sizes.values()]
    return sizes | {"n": int(rng.choice(free))}


def prefix_calls(v):
    """Forward, backward, and the share of zeros."""
    _, _, cache = yield Call("prefix", (v.K, v.V, v.P_k, v.P_v, v.lengths), ("K'", "V'", ...))
    grads = {"prefix_key": "dP_k", "prefix_value": "dP_v"}
    yield Call("prefix_backward", (v.dy_k, v.dy_v, cache), ("dK", "dV", grads))
    yield Call("zero_share", (v.s, v.P), "share")


def prefix_reference(v):
    """By `ops.prepend`, as `PrefixTuning.keys_values`; the share is the softmax of P zeros beside s."""
    layout = Layout.of(v.lengths)
    dK, dP_k = prepend_backward(v.dy_k, v.P, layout)
    dV, dP_v = prepend_backward(v.dy_v, v.P, layout)
    longer = {"K'": prepend(v.P_k, v.K, layout)[0], "V'": prepend(v.P_v, v.V, layout)[0]}
    share = np.exp(np.zeros(v.P)).sum() / np.exp(np.concatenate([np.zeros(v.P), v.s])).sum()
    return {**longer, "dK": dK, "dV": dV, "dP_k": dP_k, "dP_v": dP_v, "share": share}


PREFIX = Exercise(
    "13_prefix_tuning", "Prefix tuning: keys and values in front", 2, 20, ("08", "12"),
    "minipeft/methods/keys_values/prefix_tuning.py", ("prefix", "prefix_backward", "zero_share"),
    inputs="K (N, C), V (N, C), P_k (P, C), P_v (P, C), s (n), dy_k (N + S P, C), dy_v (N + S P, C)",
    outputs="K' (N + S P, C), V' (N + S P, C), dK (N, C), dV (N, C), dP_k (P, C), dP_v (P, C), share ()",
    sizes=prefix_sizes, prepare=rows_prepare, calls=prefix_calls, reference=prefix_reference,
    upstream={"K'": "dy_k", "V'": "dy_v"}, of={"dK": "K", "dV": "V", "dP_k": "P_k", "dP_v": "P_v"},
    said={"dy_k": "dK'", "dy_v": "dV'"},
    wrong=(
        Wrong("dP_k", lambda v: v.dP_v, "Keys and values: which is which?", row=58),
        Wrong("dP_v", lambda v: v.dP_k, "Keys and values: which is which?", row=58),
        Wrong("K'", lambda v: v.V_, "Keys and values: which is which?", row=58),
        Wrong("V'", lambda v: v.K_, "Keys and values: which is which?", row=58),
        *(w._replace(row=58) for w in shared("dP_k", "dy_k") + shared("dP_v", "dy_v")),
        *(w._replace(row=58) for w in text_alone("dK", "dy_k") + text_alone("dV", "dy_v")),
        Wrong("share", lambda v: np.zeros(()), "What is e^0?", "it is 0, as if zeros were no keys at all.",
              59),
        Wrong("share", lambda v: 1 - v.share, "Whose share is asked for: the text's, or that of the zeros?",
              "it is the share of the text."),
        Wrong("share", lambda v: 1 / (1 + np.exp(v.s).sum()), "How many keys of zeros are there?",
              "it is the share of one key."),
        Wrong("share", lambda v: v.P / (v.P + len(v.s)), "What is the weight of a key whose score is not 0?",
              "all keys count alike."),
        Wrong("share", lambda v: v.P / np.exp(v.s).sum(), "What do all shares sum to?",
              "the prefix is not in the denominator."),
        Wrong("share", lambda v: v.P / (v.P + v.s.sum()), "Which function makes weights of scores?",
              "the scores are not exponents."),
    ),
    hints=(
        "Keys and values go the same way as the embeddings of exercise 12, each with rows of its own.",
        "prepend, twice; prepend_backward, twice. For the share: softmax over P zeros and the n scores.",
        "K' and V' (N + S P, C);   dP_k, dP_v (P, C);   the share: weight of the zeros over the weight of "
        "all.",
    ),
)  # fmt: skip

# --------------------------------------------------------------------------------------------- 14 P-tuning

NAMES = {"W_0": "e.0.weight", "b_0": "e.0.bias", "W_2": "e.2.weight", "b_2": "e.2.bias"}


def encoder_calls(v):
    """Forward, backward."""
    _, cache = yield Call("encoder", (v.E, v.W_0, v.b_0, v.W_2, v.b_2), ("table", ...))
    yield Call("encoder_backward", (v.dtable, cache), {name: f"d{name}" for name in ("E", *NAMES)})


def encoder_reference(v):
    """By `methods/embed/mlp.py`."""
    table, cache = mlp("e", v.E, {key: getattr(v, name) for name, key in NAMES.items()}, "tanh")
    dE, grads = mlp_backward(v.dtable, cache)
    return {"table": table, "dE": dE, **{f"d{name}": grads[key] for name, key in NAMES.items()}}


def encoder_inside(v):
    """pre, f and df; the slope."""
    pre = v.E @ v.W_0 + v.b_0
    return {"pre": pre, "f": np.tanh(pre), "df": v.dtable @ v.W_2.T}


def below(dpre):
    """The wrong dE, dW_0 and db_0 that a wrong gradient of pre, (values) -> (P, K), makes."""
    return (
        ("dE", lambda v: dpre(v) @ v.W_0.T), ("dW_0", lambda v: v.E.T @ dpre(v)),
        ("db_0", lambda v: dpre(v).sum(0)),
    )  # fmt: skip


ENCODER = Exercise(
    "14_p_tuning_backward", "Virtual tokens out of a small network", 2, 20, ("01", "12"),
    "minipeft/methods/embed/mlp.py mlp_backward", ("encoder_backward",),
    inputs="E (P, C), W_0 (C, K), b_0 (K), W_2 (K, C), b_2 (C), dtable (P, C)",
    outputs="table (P, C), dE (P, C), dW_0 (C, K), db_0 (K), dW_2 (K, C), db_2 (C)",
    sizes=different("PCK"), calls=encoder_calls, reference=encoder_reference, inside=encoder_inside,
    upstream={"table": "dtable"}, of={f"d{name}": name for name in ("E", *NAMES)},
    wrong=(
        *(Wrong(name, make, "tanh never falls: is the slope taken at f, or before it?",
                lambda v: f"slopes as low as {(1 - v.pre**2).min():.2f}; a true one lies in (0, 1].", 60)
          for name, make in below(lambda v: v.df * (1 - v.pre**2))),
        *(Wrong(name, make, "Between f and E W_0 + b_0 stands an activation: what is its slope?",
                "the slope of tanh is not in it.", 61) for name, make in below(lambda v: v.df)),
        Wrong("dE", lambda v: v.dtable, "dtable is not yet dE: a network lies between.", row=61),
        *(Wrong(name, make, "The slope of tanh is 1 - f^2: is the square there?", "the slope is 1 - f.")
          for name, make in below(lambda v: v.df * (1 - v.f))),
        *(Wrong(name, make, "Which activation is in the forward?", "it is the slope of relu.")
          for name, make in below(lambda v: v.df * (v.pre > 0))),
        Wrong("dW_2", lambda v: v.pre.T @ v.dtable, "W_2 multiplies what: f, or what f is of?",
              "it is made of E W_0 + b_0."),
        Wrong("dW_2", lambda v: v.dtable.T @ v.f,
              "Rows and columns have changed places: W is stored (in, out).",
              "the numbers are right, turned."),
        *(Wrong(name, lambda v, name=name: getattr(v, name) / v.P,
                "Is anything averaged over the rows in the forward?")
          for name in ("dW_0", "db_0", "dW_2", "db_2")),
    ),
    hints=(
        "Three steps forward: linear, tanh, linear. Three steps backward, the last one first.",
        "The linear steps are exercise 01, twice. Between them: df times the slope of tanh, entry by entry.",
        "df (P, K) from (P, C) and W_2 (K, C);   dpre (P, K);   then dE (P, C), dW_0 (C, K), db_0 (K,).",
    ),
)  # fmt: skip

EXERCISES = (PROMPT, PREFIX, ENCODER)
