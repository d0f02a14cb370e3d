r"""Prompt tuning: the same learned rows in front of every sequence.

    x'_s = [E ; x_s]        E (P, C) trains;  x (N, C): the S sequences, one after another;  x' (N + S P, C)

`lengths` has the rows of each sequence; they add up to N. Write both directions; the cache is your own.
From dx' (N + S P, C) come dx (N, C), of the text alone, and dE (P, C). The example, on 2 x 2 numbers: E is
one row, and there are two sequences of one row each.

    >>> x, E = np.array([[1.0, 2], [3, 4]]), np.array([[9.0, 8]])
    >>> longer, cache = prepend(E, x, [1, 1])
    >>> longer.tolist()
    [[9.0, 8.0], [1.0, 2.0], [9.0, 8.0], [3.0, 4.0]]
    >>> dx, grads = prepend_backward(np.array([[1.0, 1], [0, 2], [5, 5], [0, 3]]), cache)
    >>> dx.tolist(), grads["prompt_embeddings"].tolist()
    ([[0.0, 2.0], [0.0, 3.0]], [[6.0, 6.0]])

In the package: minipeft/ops.py, prepend and prepend_backward.
"""

import numpy as np


def prepend(E, x, lengths):
    """E (P, C), x (N, C), lengths: a list of S numbers -> x' (N + S P, C), cache."""
    raise NotImplementedError


def prepend_backward(dx, cache):
    """dx' (N + S P, C) -> dx (N, C), {"prompt_embeddings": dE (P, C)}."""
    raise NotImplementedError
