"""The style that all pictures share, and their files: PNG for slides, SVG for pages and print.

    with figure(9, 5) as f:
        axes = f.subplots()
        axes.plot(steps, loss, label="lora")
        save(f, folder, "loss")

Nothing is told by colour alone: lines differ in dash and marker, bars in hatch, and the colours go from dark
to light, so that they differ in grey, too. matplotlib is used without pyplot: there is no window, and
no figure kept behind the scenes; its settings are changed inside the `with` alone.
"""

from contextlib import contextmanager
from pathlib import Path

from ..files.json_files import atomic

COLOURS = ("#111111", "#0055a4", "#c2410c", "#2a9d6f", "#e0a100")  # from dark to light
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "--", "oo")
PNG_DPI = 160  # 9 inches: 1440 pixels, a slide's width

STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": 13,
    "axes.titlesize": 15,
    "axes.labelsize": 13,
    "figure.labelsize": 13,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.fontsize": 12,
    "legend.handlelength": 3.5,  # long enough for the longest dash
    "legend.frameon": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.8,
    "svg.hashsalt": "minipeft",  # the same data give the same file
}


@contextmanager
def figure(width=9, height=5):
    """An empty Figure, `width` by `height` inches; inside the `with` everything is drawn in our style."""
    from cycler import cycler
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = [line_style(i) for i in range(len(COLOURS) * len(DASHES) * len(MARKERS))]
    cycle = cycler(**{key: [line[key] for line in lines] for key in lines[0]})
    with style.context(["default", STYLE | {"axes.prop_cycle": cycle}]):
        f = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(f)
        yield f


def line_style(i):
    """How the i-th line of a picture looks; lines take these in turn by themselves, points are given one."""
    return {
        "color": COLOURS[i % len(COLOURS)],
        "linestyle": DASHES[i % len(DASHES)],
        "marker": MARKERS[i % len(MARKERS)],
        "linewidth": 2.0,
        "markersize": 7.0,
        # a marker at every eighth of the picture's diagonal, on each line a little further on
        "markevery": (i % 5 * 0.025, 0.125),
    }


def bar_style(i):
    """How the bars of the i-th series look."""
    pale = ("#9db8d2", "#f2b48c", "#e8e8e8", "#b9dcc7", "#f3dc9a")
    return {"color": pale[i % len(pale)], "hatch": HATCHES[i % len(HATCHES)], "edgecolor": "#111111"}


def log_scale(axes, which):
    """Make an axis, "x" or "y", logarithmic with plain numbers: 0.5, 1, 2. When the data are drawn."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set(**{f"{which}scale": "log"})
    axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1,) if high > 1e3 * low else (1, 2, 5), numticks=12))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def save(f, folder, name):
    """Write folder/name.png and folder/name.svg. -> "name.svg", as a page in that folder refers to it."""
    for kind, metadata in (("png", {}), ("svg", {"Date": None})):
        with atomic(Path(folder) / f"{name}.{kind}") as temporary:
            f.savefig(temporary, format=kind, dpi=PNG_DPI, metadata=metadata, facecolor="white")
        f.set_layout_engine("none")  # where everything goes is found once, which takes longer than to draw it
    return f"{name}.svg"


def heat_map(axes, values, rows, columns, form="{:.0f}", label=""):
    """A matrix as tiles, dark where it is large, its numbers in them; tiles that are NaN stay empty.

    rows, columns: their names. form: of the numbers; label: what they are, with the unit, beside the scale.
    """
    import numpy as np

    top = max(float(np.nanmax(values)), 1e-12)
    image = axes.imshow(values, aspect="auto", cmap="YlGnBu", vmin=0, vmax=1.15 * top)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    size = 11 if len(columns) <= 12 else 9
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            shade = "white" if value > 0.6 * top else "black"
            axes.text(j, i, form.format(value), ha="center", va="center", color=shade, fontsize=size)
    axes.figure.colorbar(image, ax=axes, label=label)
