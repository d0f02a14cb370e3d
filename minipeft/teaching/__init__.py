"""What notebooks show with: the package's real lines, pictures in fixed colours, the map of the sites."""

from ..reports.pictures import log_scale
from .drawing import BASE, FROZEN, GRADIENT, TRAINED, graph, heat, marks, picture, to_scale
from .site_map import site_map
from .source import formula, planted, show

__all__ = [
    "BASE", "FROZEN", "GRADIENT", "TRAINED", "formula", "graph", "heat", "log_scale", "marks", "picture",
    "planted", "show", "site_map", "to_scale",
]  # fmt: skip
