"""IA3's learned scales: what they let through, and what they mute, by layer."""

import numpy as np

from ...methods.linear.ia3 import input_scale, output_scale
from ..pictures import figure, save
from .section import Section, layers

TEXT = """
![The distribution of the scales, by layer](scales.svg)

Every scale began at 1, the dotted line, which changes nothing. A box holds the middle half of a layer's
scales, the line in it is their median, the whiskers hold nine tenths. Above 1 a feature is made stronger,
below it weaker; at 0 it is switched off, and below that turned round.
"""


def section(run):
    """Of a run with IA3; else None."""
    if not run.with_section("scales"):
        return None
    scales = of_layers(run)
    draw(run, scales)
    numbers = {
        name: {"mean": float(l.mean()), "min": float(l.min()), "max": float(l.max()), "std": float(l.std())}
        for name, l in scales.items()
    }
    widest = max(numbers, key=lambda name: numbers[name]["std"])
    w = numbers[widest]
    summary = f"the scales vary most in {widest}: {w['min']:.2f} to {w['max']:.2f}"
    return Section("What the scales do", TEXT, summary, numbers)


def of_layers(run):
    """{"h.0.attn.c_attn (q)": l, ...}: queries, keys and values apart."""
    scales = {}
    for name in run.peft.config.linear_layers():
        out, into = (run.peft.tensors.get(key(name)) for key in (output_scale, input_scale))
        if out is not None and name.endswith("attn.c_attn"):
            scales |= {f"{name} ({part})": l for part, l in zip("qkv", np.split(out, 3), strict=True)}
        elif out is not None:
            scales[name] = out
        if into is not None:
            scales[f"{name} (input)"] = into
    return scales


def draw(run, scales):
    """scales.png, scales.svg: a panel for each kind of layer, a box for each layer."""
    L, kinds = run.peft.config.n_layer, dict.fromkeys(name.split(".", 2)[2] for name in scales)
    columns = min(2, len(kinds))
    rows = -(-len(kinds) // columns)
    with figure(9, 1 + 2.8 * rows) as f:
        panels = f.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes, kind in zip(panels.flat, kinds, strict=False):
            there = [i for i in range(L) if f"h.{i}.{kind}" in scales]
            axes.axhline(1, color="#c2410c", linestyle=":")
            axes.boxplot(
                [scales[f"h.{i}.{kind}"] for i in there],
                positions=there,
                widths=0.6,
                whis=(5, 95),
                showfliers=False,
                patch_artist=True,
                boxprops={"facecolor": "#9db8d2"},
                medianprops={"color": "#111111", "linewidth": 1.5},
                manage_ticks=False,
            )
            axes.set_xticks(range(L), layers(L))
            axes.set_title(kind)
        for axes in panels.flat[len(kinds) :]:
            axes.set_axis_off()
        f.supylabel("scale")
        f.supxlabel("layer")
        save(f, run.out, "scales")
