r"""What a low-rank method adds to each weight: singular values, size, effective rank.

    dW = W' - W              W' from the method's own `merge`
    S = its singular values, largest first
    size            |dW| / |W|, Frobenius norms
    effective rank  exp(-sum_i p_i ln p_i),  p_i = S_i / sum S       (Roy & Vetterli 2007)

The effective rank is R where R singular values are equal, and near 1 where one outweighs all others.

Source: Roy & Vetterli 2007, "The effective rank: A measure of effective dimensionality".
"""

import numpy as np

from ...methods import LoRA
from ...methods.hybrid.gated import GatedLoRA
from ...speed.quantized import dequantized
from ..pictures import figure, heat_map, line_style, log_scale, save
from .section import Section, by_layer, layers

SMALL = 1e-6  # of the largest: singular values below that are rounding, and not shown
SHOWN = 64  # singular values in the picture, at most
TEXT = """
![Singular values of the update, by layer and module](singular-values.svg)

The update dW = W' - W of each weight, taken apart into directions by a singular value decomposition: a line
for each layer, its points the strength of the first, second, ... direction. A line that falls steeply uses
few directions: a smaller rank would do. One that is flat to its end uses all that it was given, and may
want more.

![Size and effective rank of the update, by layer and module](updates.svg)

Above, the size of the update relative to the weight, ‖dW‖ / ‖W‖ (Frobenius norms): where the method did
most. Below, the effective rank, the exponential of the entropy of p = S / sum(S) (Roy & Vetterli 2007): how
many directions count. It is 1 where one outweighs all others, and R where R are equally strong.
"""
GATED = """
UniPELT's updates, to queries (q) and values (v), are those of an open gate.
"""


def section(run):
    """Of a run with LoRA, LoRA+, DoRA, PiSSA, VeRA, LoHa, or UniPELT's LoRA; else None."""
    low_rank = run.with_section("updates")
    if not low_rank:
        return None
    numbers = {}
    for method in low_rank:
        whose = f" ({type(method).__name__})" if len(low_rank) > 1 else ""  # two may act beside one weight
        numbers |= {name + whose: of_change(W, dW) for name, W, dW in changes(run, method)}
    draw_singular_values(run, numbers)
    draw_sizes(run, numbers)
    text = TEXT
    if any(isinstance(m, GatedLoRA) for m in low_rank):
        text += GATED
    largest = max(numbers, key=lambda name: numbers[name]["relative"])
    ranks = [n["effective_rank"] for n in numbers.values()]
    summary = (
        f"the largest update is {100 * numbers[largest]['relative']:.1f} % of its weight, {largest}; "
        f"effective ranks {min(ranks):.1f} to {max(ranks):.1f}"
    )
    return Section("What the low-rank updates do", text, summary, numbers)


def changes(run, method):
    """(name, W, dW) of every weight that the method changes, (I, O) each, in float64, one at a time.

    W is what the method acts beside. PiSSA began as a part of the base: its dW counts from there.
    """
    tensors, weights, base = run.peft.tensors, run.peft.weights, run.peft.model.weights
    if isinstance(method, GatedLoRA):
        yield from gated_changes(tensors, weights, run.peft.config)
        return
    pissa = isinstance(method, LoRA) and method.init_lora_weights == "pissa"
    for name in run.peft.config.linear_layers():
        if method.acts_on(name):
            own = {k: t.astype("float64") for k, t in tensors.items() if k.startswith((f"{name}.", "vera_"))}
            key = f"{name}.weight"
            W = dequantized(weights[key]).astype("float64")
            merged = method.merge({key: W}, own)[key]
            W = dequantized(base[key]).astype("float64") if pissa else W
            yield name, W, merged - W


def gated_changes(tensors, weights, config):
    """The same of UniPELT's LoRA with its gates open: A B beside the queries' third of W, and the values'."""
    C = config.n_embd
    for i in range(config.n_layer):
        name = f"h.{i}.attn.c_attn"
        for qv, third in (("q", slice(0, C)), ("v", slice(2 * C, 3 * C))):
            A, B = (tensors[f"{name}.gated_{qv}_{part}"].astype("float64") for part in "AB")
            W = dequantized(weights[f"{name}.weight"])[:, third]
            yield f"{name} ({qv})", W.astype("float64"), A @ B


def of_change(W, dW):
    """W, dW (I, O) -> the numbers of the report."""
    S = np.linalg.svd(dW, compute_uv=False)
    S = S[SMALL * S[0] < S]  # none where dW is zero
    norm = float(np.linalg.norm(dW))
    return {
        "norm": norm,
        "relative": norm / max(float(np.linalg.norm(W)), 1e-12),
        "effective_rank": effective_rank(S),
        "singular_values": S.tolist(),
    }


def effective_rank(S):
    """exp of the entropy of S / sum(S); 0 where there are none.  S (K,), all above 0."""
    p = S / S.sum()
    return float(np.exp(-(p * np.log(p)).sum())) if len(S) else 0.0


def draw_singular_values(run, numbers):
    """singular-values.png, singular-values.svg: a panel for each module, a line for each layer."""
    L, kinds = run.peft.config.n_layer, dict.fromkeys(name.split(".", 2)[2] for name in numbers)
    columns = min(2, len(kinds))
    rows = -(-len(kinds) // columns)
    with figure(9.5, 1 + 3.6 * rows) as f:
        panels = f.subplots(rows, columns, sharey=True, squeeze=False)
        for axes, kind in zip(panels.flat, kinds, strict=False):
            for i in range(L):
                S = numbers.get(f"h.{i}.{kind}", {"singular_values": []})["singular_values"][:SHOWN]
                style = line_style(i) | {"markevery": max(1, len(S) // 8)}
                axes.plot(range(1, len(S) + 1), S, label=f"h.{i}", **style)
            axes.set_title(kind)
            log_scale(axes, "y")
            axes.xaxis.get_major_locator().set_params(integer=True)
        for axes in panels.flat[len(kinds) :]:
            axes.set_axis_off()
        f.supxlabel("direction, strongest first")
        f.supylabel("singular value of dW")
        f.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside right center", ncols=-(-L // 24))
        save(f, run.out, "singular-values")


def draw_sizes(run, numbers):
    """updates.png, updates.svg: two heat maps."""
    L = run.peft.config.n_layer
    relative, kinds = by_layer({name: 100 * n["relative"] for name, n in numbers.items()}, L)
    ranks, _ = by_layer({name: n["effective_rank"] for name, n in numbers.items()}, L)
    with figure(max(9, 3 + L / 2), 3 + 0.9 * len(kinds)) as f:
        top, bottom = f.subplots(2, 1, sharex=True)
        heat_map(top, relative, kinds, layers(L), "{:.1f}", "|dW| / |W| (%)")
        heat_map(bottom, ranks, kinds, layers(L), "{:.1f}", "effective rank")
        bottom.set_xlabel("layer")
        save(f, run.out, "updates")
