"""Names beside points, so that none covers another: each takes the nearest free place around its point."""

import math

DISTANCES = (9, 18, 30, 44, 60, 80)  # in points of 1/72 inch
ANGLES = [math.radians(a) for a in (0, 180, 90, 270, 45, 135, 315, 225, 22, 158, 338, 202)]


def place_labels(f, axes, points):
    """Write the name of each (name, x, y) near it; a thin line leads there where it is not next to it.

    The figure's layout is fixed from here on: the places are chosen by where things are on the page.
    """
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    f.draw_without_rendering()  # the layout is computed
    f.set_layout_engine("none")
    renderer, inside = f.canvas.get_renderer(), axes.get_window_extent()
    pixels = f.dpi / 72
    spots = [axes.transData.transform((x, y)) for _, x, y in points]
    taken = [Bbox.from_bounds(px - 6 * pixels, py - 6 * pixels, 12 * pixels, 12 * pixels) for px, py in spots]
    taken += [text.get_window_extent(renderer) for text in axes.texts]
    for name, x, y in points:
        label = axes.annotate(
            name, (x, y), (0, 0), textcoords="offset points", va="bottom", fontsize=11, zorder=5
        )
        label.set_path_effects([withStroke(linewidth=3, foreground="white")])
        box = label.get_window_extent(renderer)
        shifts = [offset(box, distance * pixels, angle) for distance in DISTANCES for angle in ANGLES]
        clashes = [cost(box.translated(dx, dy), taken, inside) for dx, dy in shifts]
        chosen = min(range(len(shifts)), key=lambda i: (clashes[i], i))  # the first without a clash
        dx, dy = shifts[chosen]
        label.set_position((dx / pixels, dy / pixels))
        taken.append(box.translated(dx, dy))
        if chosen >= len(ANGLES):
            lead(axes, (x, y), taken[-1])


def offset(box, distance, angle):
    """How to move a label that begins at its point, so that it is `distance` away in that direction."""
    cos, sin = math.cos(angle), math.sin(angle)
    return distance * cos + box.width * (cos - 1) / 2, distance * sin + box.height * (sin - 1) / 2


def cost(box, taken, inside):
    """The area that `box` shares with what is there, and ten times that by which it leaves the axes."""
    shared = sum(overlap(box, other) for other in taken)
    return shared + 10 * (box.width * box.height - overlap(box, inside))


def overlap(one, other):
    """The area that two boxes share."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0.0, width) * max(0.0, height)


def lead(axes, point, box):
    """A thin line from the point to the nearest place of its label's box."""
    px, py = axes.transData.transform(point)
    end = min(max(px, box.x0), box.x1), min(max(py, box.y0), box.y1)
    axes.annotate(
        "", axes.transData.inverted().transform(end), point, zorder=4,
        arrowprops={"arrowstyle": "-", "color": "#777777", "linewidth": 0.8, "shrinkA": 5, "shrinkB": 1},
    )  # fmt: skip
