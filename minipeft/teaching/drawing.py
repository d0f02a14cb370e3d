"""Pictures for notebooks: frozen is grey, trained is orange; each says in a sentence what is to be seen.

with picture("A zero prefix takes a share of attention.", 7, 3) as f:
    axes = f.subplots()
    axes.bar(words, share, color=TRAINED)
"""

import io
from base64 import b64encode
from contextlib import contextmanager
from html import escape

from cycler import cycler
from matplotlib import rc_context

from ..reports.pictures import figure

FROZEN, TRAINED, BASE = "#9aa0a6", "#e8710a", "#111111"  # frozen, trained, what is neither
GRADIENT = "#c5221f"  # what flows back
COLOURS = (BASE, "#0055a4", "#2a9d6f", "#8e44ad", "#b08800")  # lines that are neither, in turn
FONT = "'DejaVu Sans'"  # comes with matplotlib, which measures with it; Verdana is as wide
STYLE = {
    "svg.fonttype": "none",  # text stays text
    "font.size": 11,
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "figure.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
}


class Picture:
    """An SVG that carries its finding: as a title for the eye, and as text for those who do not see it."""

    def __init__(self, svg, finding):
        self.svg, self.finding = svg, finding

    def _repr_mimebundle_(self, include=None, exclude=None):
        # as the source of an <img>: in a notebook that was not run here a bare SVG is not shown, since it
        # could hold a script; in an <img> no script runs
        source = b64encode(self.svg.encode()).decode()
        image = f'<img alt="{escape(self.finding, quote=True)}" src="data:image/svg+xml;base64,{source}">'
        return {"text/html": image, "text/plain": repr(self)}

    def __repr__(self):
        return f"Picture: {self.finding}"


@contextmanager
def picture(finding, width=7.5, height=3.5):
    """A matplotlib Figure of `width` by `height` inches, shown in the notebook when the `with` ends.

    finding: what is to be seen, a sentence. It becomes the title, and the text alternative.
    """
    from IPython.display import display

    with figure(width, height) as f, rc_context(STYLE | {"axes.prop_cycle": cycler(color=COLOURS)}):
        yield f
        f.suptitle(finding, x=0.01, ha="left", fontsize=11.5, wrap=True)
        file = io.StringIO()
        f.savefig(file, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
    svg = file.getvalue().replace(FONT, f"{FONT}, Verdana, sans-serif")
    labelled = f'<svg role="img" aria-label="{escape(finding, quote=True)}"'
    display(Picture(labelled + svg[svg.index("<svg") + len("<svg") :], finding))


def to_scale(axes, *parts):
    """Matrices side by side, to scale, with what stands between them.

    parts: ("W", rows, columns, colour) for a matrix, a text such as "+" for what stands between two.
    """
    from matplotlib.patches import Rectangle

    matrices = [part for part in parts if not isinstance(part, str)]
    tall = max(rows for _, rows, _, _ in matrices)
    gap, x = 0.35 * tall, 0
    for part in parts:
        if isinstance(part, str):
            axes.text(x + gap / 2, tall / 2, part, ha="center", va="center")
            x += gap
            continue
        name, rows, columns, colour = part
        low = (tall - rows) / 2
        edge = colour if min(rows, columns) < 0.03 * tall else BASE  # a thin one is all edge
        axes.add_patch(Rectangle((x, low), columns, rows, facecolor=colour, edgecolor=edge, linewidth=0.8))
        label = f"{name}\n{rows:,} × {columns:,}"
        axes.text(x + columns / 2, low - 0.05 * tall, label, ha="center", va="top")
        x += columns
    axes.set(xlim=(-0.1 * tall, x + 0.1 * tall), ylim=(-0.4 * tall, 1.02 * tall), aspect="equal")
    axes.axis("off")


def heat(axes, matrix, limit=None, **labels):
    """A matrix as colours, red below zero and blue above. -> the image, for a colour bar.

    limit: the number with the deepest colour; None: the largest there is. labels: as `axes.set` takes them.
    """
    limit = limit or float(abs(matrix).max())
    image = axes.imshow(matrix, cmap="RdBu", vmin=-limit, vmax=limit)
    axes.set(**labels)
    axes.grid(False)
    return image


def graph(axes, nodes, edges):
    """A computation as a graph: on each edge the value that goes forward, black, and under it its gradient.

    nodes: {name: (x, y)}. edges: [(from, to, value, gradient)], texts.
    """
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    for a, b, value, gradient in edges:
        (x0, y0), (x1, y1) = nodes[a], nodes[b]
        axes.plot([x0, x1], [y0, y1], "-", color=FROZEN, marker="", zorder=0)
        middle = (x0 + x1) / 2, (y0 + y1) / 2
        for words, colour, place in ((value, BASE, "bottom"), (gradient, GRADIENT, "top")):
            axes.text(*middle, f" {words} ", color=colour, ha="center", va=place, bbox=white)
    circle = {"boxstyle": "circle", "facecolor": "white", "edgecolor": BASE}
    for name, (x, y) in nodes.items():
        axes.text(x, y, name, ha="center", va="center", bbox=circle)
    across, up = zip(*nodes.values(), strict=True)
    axes.set(xlim=(min(across) - 0.4, max(across) + 0.4), ylim=(min(up) - 0.4, max(up) + 0.4))
    axes.axis("off")


def marks(axes, yes, rows, columns, colour=TRAINED):
    """A table of yes and no: a filled cell says yes.

    yes (rows, columns) of booleans; rows, columns: their names, "" for none.
    """
    from matplotlib.colors import ListedColormap

    height, width = len(rows), len(columns)
    axes.pcolormesh(yes, cmap=ListedColormap(["white", colour]), vmin=0, vmax=1, edgecolors=FROZEN)
    axes.set_yticks([i + 0.5 for i in range(height)], rows)
    named = [i for i in range(width) if columns[i]]
    axes.set_xticks([i + 0.5 for i in named], [columns[i] for i in named], rotation=25, ha="right")
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.grid(False)
