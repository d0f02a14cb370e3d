"""A section of the report, and names for the parts of a model that several of them show."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Section:
    """title and text (Markdown) for the page; summary, one line for the terminal; numbers for programs."""

    title: str
    text: str
    summary: str
    numbers: dict = field(default_factory=dict)


def by_layer(values, n_layer):
    """{"h.0.attn.c_attn": number, ...} -> (K, L), NaN where there is none, and the names of its K rows.

    Names that are in no block are left out.
    """
    kinds = dict.fromkeys(name.split(".", 2)[2] for name in values if name.startswith("h."))
    table = [[values.get(f"h.{i}.{kind}", np.nan) for i in range(n_layer)] for kind in kinds]
    return np.array(table, dtype="float64").reshape(-1, n_layer), list(kinds)


def layers(n_layer):
    """The names of a picture's columns: h.0, h.1, ..."""
    return [f"h.{i}" for i in range(n_layer)]


def table(headings, rows):
    """A Markdown table; the first column is text, the others are numbers."""
    lines = [headings, ["---", *["--:"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
