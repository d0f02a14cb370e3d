r"""IA3: a learned scale on what leaves a linear layer.

    y = (x W + b) l        x (N, I);  W (I, O), b (O,) frozen;  l (O,) trains -> y (N, O)

From dy (N, O) come dx (N, I) and dl (O,). The example, on 2 x 2 numbers:

    >>> x, W, b = np.array([[1.0, 2], [3, 4]]), np.array([[1.0, 0], [2, 1]]), np.array([1.0, 1])
    >>> y, cache = ia3(x, W, b, np.array([2.0, 3]))
    >>> dx, grads = ia3_backward(np.array([[1.0, 0], [0, 1]]), cache)
    >>> dx.tolist(), grads["ia3_l"].tolist()
    ([[2.0, 4.0], [0.0, 3.0]], [6.0, 5.0])

In the package: minipeft/methods/linear/ia3.py.
"""

import numpy as np


def ia3(x, W, b, l):
    """x (N, I), W (I, O), b and l (O,) -> y (N, O); cache: z = x W + b (N, O), W, l."""
    z = x @ W + b
    return z * l, (z, W, l)


def ia3_backward(dy, cache):
    """dy (N, O) -> dx (N, I), {"ia3_l": dl (O,)}."""
    z, W, l = cache
    raise NotImplementedError
