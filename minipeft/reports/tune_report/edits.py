"""How much the methods after attention and MLP (adapters, LoReFT) edit the residual stream, by layer."""

from ..pictures import bar_style, figure, save
from .section import Section, by_layer, layers

TEXT = """
![The size of the edit by layer, relative to the stream](edits.svg)

After attention and after the MLP the residual stream is x + h, and the method makes h' of h. The bars are
the mean of ‖h' - h‖ / ‖x + h‖ over the tokens that are edited ({edited} of the text's) in {rows}. Near
zero, a place does little and might be left out (`leave_out`, `layers`); near 100 %, the edit is as large as
what it edits.
"""


def section(run):
    """Of a run with adapters of any kind or LoReFT; else None."""
    if not run.with_section("edits"):
        return None
    title = "How much the stream is edited"
    if run.measured is None:
        return Section(title, "Not measured: give rows, by `--task` or `--data`.", "not measured: no rows")
    edits = {name: pair for name, pair in run.measured.edits.items() if pair[1] > 0}
    draw(run, {name: relative for name, (relative, _) in edits.items()})
    shares = {share for _, share in edits.values()}
    edited = f"{100 * min(shares, default=0):.0f} %" if len(shares) < 2 else "some"
    text = TEXT.format(edited=edited, rows=f"{len(run.pairs)} {run.rows}")
    largest = max(edits, key=lambda name: edits[name][0], default=None)
    summary = "nothing is edited"
    if largest:
        summary = f"the largest edit is {100 * edits[largest][0]:.1f} % of the stream, after {largest}"
    numbers = {name: {"relative": relative, "tokens": share} for name, (relative, share) in edits.items()}
    return Section(title, text, summary, numbers)


def draw(run, relative):
    """edits.png, edits.svg."""
    L = run.peft.config.n_layer
    values, kinds = by_layer(relative, L)
    with figure(9, 4.5) as f:
        axes = f.subplots()
        width = 0.8 / max(1, len(kinds))
        for i, (kind, row) in enumerate(zip(kinds, values, strict=True)):
            at = [layer + (i - (len(kinds) - 1) / 2) * width for layer in range(L)]
            axes.bar(at, 100 * row, width, label=f"after {kind}", **bar_style(i))
        axes.set_xticks(range(L), layers(L))
        axes.set(xlabel="layer", ylabel="edit, relative to the stream (%)")
        axes.legend()
        save(f, run.out, "edits")
