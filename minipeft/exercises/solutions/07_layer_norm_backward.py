r"""The backward of a layer norm: its mean and its variance depend on x.

    xhat = (x - mu) rstd,    rstd = 1/sqrt(var + eps)        of each row of x (N, C)
    y = xhat w + b                                          w, b (C,)

mu is the mean of a row, var the mean of (x - mu)^2. From dy (N, C) come dx (N, C), dw (C,) and db (C,).
The example, on 2 x 2 numbers: with two columns xhat is +-1, and nothing is left for dx.

    >>> x, w, b = np.array([[1.0, 3], [6, 2]]), np.array([2.0, 1]), np.array([0.0, 0])
    >>> y, cache = layer_norm(x, w, b, eps=0.0)
    >>> dx, grads = layer_norm_backward(np.array([[1.0, 2], [3, 4]]), cache)
    >>> dx.tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    >>> grads["weight"].tolist()
    [2.0, -2.0]

In the package: minipeft/ops.py, layer_norm_backward.
"""

import numpy as np


def layer_norm(x, w, b, eps):
    """x (N, C), w and b (C,) -> y (N, C), cache: xhat (N, C), rstd (N, 1), w (C,)."""
    centred = x - x.mean(1, keepdims=True)
    rstd = 1 / np.sqrt((centred**2).mean(1, keepdims=True) + eps)
    xhat = centred * rstd
    return xhat * w + b, (xhat, rstd, w)


def layer_norm_backward(dy, cache):
    """dy (N, C) -> dx (N, C), {"weight": dw (C,), "bias": db (C,)}."""
    xhat, rstd, w = cache
    # -- yours --
    g = dy * w  # (N, C)
    by_mean = g.mean(1, keepdims=True)  # (N, 1)
    by_variance = xhat * (g * xhat).mean(1, keepdims=True)  # (N, C)
    dx = rstd * (g - by_mean - by_variance)
    return dx, {"weight": (dy * xhat).sum(0), "bias": dy.sum(0)}
