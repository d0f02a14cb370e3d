"""The map of the four sites: one block of GPT-2, and the doors through which a method comes in.

Written as SVG line by line, so that its parts can be links. What trains is orange, all else is grey.
"""

from html import escape

from .drawing import TRAINED, Picture

SITES = ("embed", "linear", "keys_values", "sublayer")
BOXES = {  # name: (centre x, centre y, width)
    "wte": (36, 170, 50), "wpe": (125, 170, 58),
    "ln_1": (180, 60, 54), "c_attn": (258, 60, 66), "attention": (410, 60, 84), "attn.c_proj": (520, 60, 84),
    "ln_2": (640, 60, 56), "c_fc": (722, 60, 56), "gelu": (800, 60, 52), "mlp.c_proj": (882, 60, 84),
    "ln_f": (1004, 170, 50), "head": (1074, 170, 56),
}  # fmt: skip
LABELS = {"wpe": "+ wpe", "attn.c_proj": "c_proj", "mlp.c_proj": "c_proj"}
DOORS = [  # (site, x, y)
    ("embed", 80, 170),
    ("linear", 258, 22), ("linear", 520, 22), ("linear", 722, 22), ("linear", 882, 22),
    ("keys_values", 329, 60),
    ("sublayer", 575, 115), ("sublayer", 940, 115),
]  # fmt: skip
LINES = [  # the stream below, the two branches above it
    "M61 170 H96", "M154 170 H979", "M1029 170 H1046",
    "M180 170 V76", "M207 60 H225", "M291 60 H368", "M452 60 H478", "M562 60 H575 V158",
    "M640 170 V76", "M668 60 H694", "M750 60 H774", "M826 60 H840", "M924 60 H940 V158",
    *(f"M{x} 34 V44" for site, x, y in DOORS if site == "linear"),
]  # fmt: skip
INK, PALE = "#202124", "#e8eaed"
EDGE = f'stroke="{INK}"'


def site_map(*lit, finding=None, links=None):
    """The picture, with these sites ("linear") or boxes ("ln_1") in orange: here something trains.

    finding: the sentence that it carries; None: which sites are lit. links: {site or box: address}.
    Raises ValueError for a name that is neither a site nor a box.
    """
    unknown = set(lit) - {*SITES, *BOXES}
    if unknown:
        raise ValueError(f"no such site or box: {sorted(unknown)}; there are {', '.join([*SITES, *BOXES])}")
    if finding is None:
        finding = f"One block of GPT-2, and what trains at {', '.join(lit)}." if lit else (
            "One block of GPT-2, and the four sites at which a method may act."
        )  # fmt: skip
    parts = [f'<path d="{d}" fill="none" stroke="{INK}" stroke-width="1.5"/>' for d in LINES]
    parts += [f'<circle cx="{x}" cy="170" r="11" fill="white" stroke="{INK}"/>' + text(x, 175, "+", 16)
              for x in (575, 940)]  # fmt: skip
    for name, (x, y, width) in BOXES.items():
        fill, ink = (TRAINED, "black") if name in lit else (PALE, INK)
        corner = f'x="{x - width / 2}" y="{y - 16}" rx="4"'
        box = f'<rect {corner} width="{width}" height="32" fill="{fill}" {EDGE}/>'
        parts.append(linked(box + text(x, y + 5, LABELS.get(name, name), 14, ink), name, links))
    for site, x, y in DOORS:
        fill, width = (TRAINED, 2.5) if site in lit else ("white", 1.5)
        door = f'<circle cx="{x}" cy="{y}" r="12" fill="{fill}" stroke="{INK}" stroke-width="{width}"/>'
        parts.append(linked(door + text(x, y + 5, str(SITES.index(site) + 1), 13), site, links))
    parts.append(text(345, 205, "x = x + attn(ln_1(x))", 14) + text(780, 205, "x = x + mlp(ln_2(x))", 14))
    for i, site in enumerate(SITES):
        x, bold = 40 + 190 * i, ' font-weight="bold"' if site in lit else ""
        mark = (
            f'<circle cx="{x}" cy="240" r="9" fill="{TRAINED if site in lit else "white"}" stroke="{INK}"/>'
        )
        key = f'<text x="{x + 16}" y="245" font-size="14" fill="{INK}"{bold}>{site}</text>'
        parts.append(linked(mark + text(x, 244, str(i + 1), 11) + key, site, links))
    parts.append(
        f'<rect x="800" y="231" width="18" height="18" fill="{TRAINED}" stroke="{INK}"/>'
        f'<text x="824" y="245" font-size="14" fill="{INK}">trained</text>'
        f'<rect x="910" y="231" width="18" height="18" fill="{PALE}" stroke="{INK}"/>'
        f'<text x="934" y="245" font-size="14" fill="{INK}">frozen</text>'
    )
    top = 0 if links else -45  # where there are links, a page says what is to be seen; else a title does
    if not links:
        parts.append(f'<text x="10" y="-18" font-size="21" fill="{INK}">{escape(finding)}</text>')
    svg = (
        f'<svg role="{"group" if links else "img"}" aria-label="{escape(finding, quote=True)}" '
        f'xmlns="http://www.w3.org/2000/svg" viewBox="0 {top} 1110 {260 - top}" width="1110" '
        f'height="{260 - top}" font-family="DejaVu Sans, Verdana, sans-serif">'
        f'<rect y="{top}" width="1110" height="{260 - top}" fill="white"/>{"".join(parts)}</svg>'
    )
    return Picture(svg, finding)


def text(x, y, words, size, ink=INK):
    """Words centred at x."""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" fill="{ink}" text-anchor="middle">{escape(words)}</text>'
    )


def linked(part, name, links):
    """The part as a link, where there is an address for it."""
    if not links or name not in links:
        return part
    return f'<a href="{escape(links[name], quote=True)}" aria-label="{name}">{part}</a>'
