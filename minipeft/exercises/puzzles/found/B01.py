"""A gradient check that finds the bug."""

from minipeft import pack


def batch():
    """Three sequences, of different lengths."""
    return pack([([3, 1, 4], [1, 5, 9, 2]), ([6, 5], [3, 5, 8]), ([], [9, 7])])
