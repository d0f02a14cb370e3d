"""A gradient check that finds the bug."""

from minipeft import pack


def batch():
    """5 occurs twice, and two sequences share their positions."""
    return pack([([3, 1, 4], [1, 5, 9, 2]), ([6, 5], [3, 5, 8])])
