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

from .files import atomic

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


def save(f, folder, name):
    """Write folder/name.png and folder/name.svg. -> "name.svg", as a page in that folder refers to it."""
    for kind, metadata in (("png", {}), ("svg", {"Date": None})):
        with atomic(Path(folder) / f"{name}.{kind}") as temporary:
            f.savefig(temporary, format=kind, dpi=PNG_DPI, metadata=metadata, facecolor="white")
    return f"{name}.svg"
