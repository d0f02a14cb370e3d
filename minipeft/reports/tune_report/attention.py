"""Where a prefix or prompt is looked at: the share of attention that goes to it, by layer and head."""

import numpy as np

from ...errors import counted
from ..pictures import figure, heat_map, save
from .section import Section, layers

TEXT = """
![The share of attention on virtual tokens, by layer and head](attention.svg)

In each layer and head, how much of the attention of the text's tokens goes to {virtual} (the
columns of softmax(q kᵀ / √D), added up), on average over {rows}. If every token, virtual or not, got as
much as any other, it would be {even:.1f} %. Heads far above that are steered by the virtual tokens; a head
at zero does not read them. (Li & Liang 2021, "Prefix-Tuning", section 4, for what a prefix does.)
"""


def section(run):
    """Of a run with virtual tokens, prefixes or prompts; else None."""
    P = run.peft.num_virtual_tokens
    if P == 0:
        return None
    title = "How much attention goes to the virtual tokens"
    if run.measured is None:
        return Section(title, "Not measured: give rows, by `--task` or `--data`.", "not measured: no rows")
    share, even = run.measured.share, run.measured.even
    draw(run, share)
    layer, head = np.unravel_index(share.argmax(), share.shape)
    virtual = counted(P, "virtual token")
    text = TEXT.format(virtual=virtual, rows=f"{len(run.pairs)} {run.rows}", even=100 * even)
    summary = (
        f"{100 * share.mean():.1f} % goes to {virtual} ({100 * even:.1f} % if it were even), "
        f"most in layer {layer}, head {head}: {100 * share.max():.1f} %"
    )
    return Section(title, text, summary, {"share": share.tolist(), "mean": float(share.mean()), "even": even})


def draw(run, share):
    """attention.png, attention.svg."""
    L, H = share.shape
    with figure(max(9, 3 + H / 2), 1.8 + 0.45 * L) as f:
        axes = f.subplots()
        heat_map(axes, 100 * share, layers(L), range(H), "{:.0f}", "attention on virtual tokens (%)")
        axes.set(xlabel="head", ylabel="layer")
        save(f, run.out, "attention")
