r"""The backward of a bottleneck adapter (Pfeiffer's).

    h' = h + f(x + h)                     x, h (N, C)
    f(u) = s (relu(u D + d) U + e)        D (C, R), d (R,);  U (R, C), e (C,);  s a number

x is the residual stream before the sublayer, h the sublayer's output. From dh' (N, C) come dh and dx (N,
C), and the gradients of D, d, U and e. The example, on 2 x 2 numbers; R = 1, s = 2:

    >>> x, h = np.array([[1.0, 0], [0, 1]]), np.array([[0.0, 1], [-3, 0]])
    >>> D, d, U, e = np.array([[1.0], [1]]), np.array([0.0]), np.array([[1.0, 2]]), np.array([0.0, 0])
    >>> y, cache = adapter(x, h, D, d, U, e, 2.0)
    >>> dh, dx, grads = adapter_backward(np.array([[1.0, 0], [0, 1]]), cache)
    >>> dh.tolist(), dx.tolist()
    ([[3.0, 2.0], [0.0, 1.0]], [[2.0, 2.0], [0.0, 0.0]])
    >>> grads["down"].tolist(), grads["up"].tolist(), grads["up_bias"].tolist()
    ([[2.0], [2.0]], [[4.0, 0.0]], [2.0, 2.0])

In the package: minipeft/methods/sublayer/adapter.py and minipeft/methods/sublayer/bottleneck.py.
"""

import numpy as np


def adapter(x, h, D, d, U, e, s):
    """x, h (N, C) -> h' (N, C); cache: u = x + h (N, C), a = relu(u D + d) (N, R), D, U, s."""
    u = x + h
    a = np.maximum(u @ D + d, 0)
    return h + s * (a @ U + e), (u, a, D, U, s)


def adapter_backward(dh, cache):
    """dh' (N, C) -> dh, dx (N, C), {"down": dD, "down_bias": dd, "up": dU, "up_bias": de}."""
    u, a, D, U, s = cache
    raise NotImplementedError
