r"""The backward of a linear layer.

    y = x W + b        x (N, I), W (I, O), b (O,) -> y (N, O);  W as GPT-2 stores it: (in, out)

From dy (N, O), the gradient of y, come dx (N, I), dW (I, O) and db (O,). The example, on 2 x 2 numbers:

    >>> x, W, b = np.array([[1.0, 2], [3, 4]]), np.array([[1.0, 0], [2, 1]]), np.array([1.0, 1])
    >>> y, cache = linear(x, W, b)
    >>> dx, grads = linear_backward(np.array([[1.0, 0], [0, 2]]), cache)
    >>> dx.tolist()
    [[1.0, 2.0], [0.0, 2.0]]
    >>> grads["weight"].tolist()
    [[1.0, 6.0], [2.0, 8.0]]
    >>> grads["bias"].tolist()
    [1.0, 2.0]

In the package: minipeft/ops.py, linear_backward.
"""

import numpy as np


def linear(x, W, b):
    """x (N, I), W (I, O), b (O,) -> y (N, O), cache."""
    return x @ W + b, (x, W)


def linear_backward(dy, cache):
    """dy (N, O) -> dx (N, I), {"weight": dW (I, O), "bias": db (O,)}."""
    x, W = cache
    # -- yours --
    dx = dy @ W.T  # (N, I)
    dW = x.T @ dy  # (I, O)
    return dx, {"weight": dW, "bias": dy.sum(0)}
