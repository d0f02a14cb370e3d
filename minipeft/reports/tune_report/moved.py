"""Which weights of the base a run chose to train, and how far they went from where they were."""

import numpy as np

from ...methods import Sparse
from ...speed.quantized import dequantized
from ..pictures import figure, heat_map, save
from .section import Section, by_layer, layers, table

FURTHEST = 8  # tensors inside the layers that are in the table
MASK = """
![The share of each tensor's weights that the mask chose, by layer](mask.svg)

The mask chose {count:,} of {total:,} weights, {share:.2f} %. The tiles are the share of each tensor that it
chose. An even picture: no place is preferred, as with a random mask; a dark tile: the measure of importance
points there.
"""
TEXT = """
![How far each tensor moved, by layer](moved.svg)

How far each tensor moved, relative to where it began: ‖W' - W‖ / ‖W‖ (Euclidean norms over all its
numbers). An empty tile does not train, or began at zero. Here is what trains outside the layers, and what
moved furthest inside:

"""


def section(run):
    """Of a run that trains weights of the base, by whichever method selects them; else None."""
    names = list(run.peft.selected)
    if not names:
        return None
    base, now = run.peft.model.weights, run.step.weights
    numbers = {name: of_move(dequantized(base[name]), now[name]) for name in names}
    text, summary = "", ""
    if any(isinstance(m, Sparse) for m in run.methods):
        chosen, text = chosen_weights(run, numbers)
        summary = f"{chosen:,} weights were chosen; "
    draw(run, "moved", {n: 100 * v["relative"] for n, v in numbers.items()}, "{:.1f}", "|dW| / |W| (%)")
    text += TEXT
    furthest = sorted(names, key=lambda name: -np.nan_to_num(numbers[name]["relative"]))
    outside = [name for name in furthest if not name.startswith("h.")]
    rows = [
        [f"`{name}`", f"{v['norm']:.4g}", f"{v['from']:.4g}", percent(v["relative"])]
        for name in outside + [name for name in furthest if name.startswith("h.")][:FURTHEST]
        for v in [numbers[name]]
    ]
    text += table(["tensor", "‖W' - W‖", "‖W‖", "relative"], rows)
    summary += f"furthest moved: {furthest[0]}, by {percent(numbers[furthest[0]]['relative'])}"
    for v in numbers.values():
        v["relative"] = None if np.isnan(v["relative"]) else v["relative"]  # JSON has no NaN
    return Section("How far the weights moved", text, summary, numbers)


def of_move(before, after):
    """Norms of a tensor's change and of where it began, and their quotient: NaN where it began at zero."""
    norm = float(np.linalg.norm(after.astype("float64") - before))
    begin = float(np.linalg.norm(before.astype("float64")))
    return {"norm": norm, "from": begin, "relative": norm / begin if begin else float("nan")}


def percent(share):
    """0.0123 -> "1.23 %"; NaN -> "from zero"."""
    return "from zero" if np.isnan(share) else f"{100 * share:.2f} %"


def chosen_weights(run, numbers):
    """How many weights a sparse mask chose, and what the page says of it; the shares go into `numbers`."""
    chosen_from = [name for name in numbers if not run.peft.method.optimizer_changes(name)]
    indices = {name: run.peft.tensors.get(f"{name}_indices", ()) for name in chosen_from}
    count = sum(map(len, indices.values()))
    for name, i in indices.items():
        numbers[name]["chosen"] = len(i) / run.peft.weights[name].size
    chosen = {name: 100 * numbers[name]["chosen"] for name in indices}
    draw(run, "mask", chosen, "{:.1f}", "weights chosen (%)")
    total = sum(run.peft.weights[name].size for name in indices)
    outside = [f"`{name}` {share:.2f} %" for name, share in chosen.items() if not name.startswith("h.")]
    text = MASK.format(count=count, total=total, share=100 * count / total)
    return count, text + (f"\nOutside the layers: {', '.join(outside)}.\n" if outside else "")


def draw(run, name, values, form, label):
    """name.png, name.svg: tensors by layer."""
    L = run.peft.config.n_layer
    matrix, kinds = by_layer(values, L)
    with figure(max(9, 3 + L / 2), 1.8 + 0.42 * max(1, len(kinds))) as f:
        axes = f.subplots()
        if len(kinds) and np.isfinite(matrix).any():
            heat_map(axes, matrix, kinds, layers(L), form, label)
            axes.set_xlabel("layer")
        else:
            axes.set_axis_off()
            axes.text(0.5, 0.5, "no tensor of a layer has this number", ha="center", transform=axes.transAxes)
        save(f, run.out, name)
