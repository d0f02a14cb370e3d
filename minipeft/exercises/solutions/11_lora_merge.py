r"""LoRA merged into the weight, and taken out again.

    W' = W + s A B        W (I, O), A (I, R), B (R, O), s a number

With W' a plain linear layer gives what LoRA gave beside W. Write `merge`, `unmerge` (W' -> W), and the
proof: the largest |difference| between the outputs of x W' and of x W + s (x A) B. Arrays that are given
stay as they are. The example, on 2 x 2 numbers:

    >>> W, A, B = np.eye(2), np.array([[1.0], [1]]), np.array([[1.0, 2]])
    >>> merge(W, A, B, 2.0).tolist()
    [[3.0, 4.0], [2.0, 5.0]]
    >>> unmerge(merge(W, A, B, 2.0), A, B, 2.0).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    >>> float(largest_difference(np.array([[1.0, 2], [3, 4]]), W, W, A, B, 2.0))
    28.0

In the package: minipeft/methods/linear/lora.py, merge and unmerge.
"""

import numpy as np


def merge(W, A, B, s):
    """W (I, O), A (I, R), B (R, O), s -> W' (I, O)."""
    # -- yours --
    return W + s * (A @ B)


def unmerge(merged, A, B, s):
    """W' (I, O), A (I, R), B (R, O), s -> W (I, O)."""
    # -- yours --
    return merged - s * (A @ B)


def largest_difference(x, merged, W, A, B, s):
    """x (N, I), W' and W (I, O), A, B, s -> the largest |x W' - (x W + s (x A) B)|, a number."""
    # -- yours --
    return np.abs(x @ merged - (x @ W + s * (x @ A) @ B)).max()
