r"""The slope of GELU, in GPT-2's form.

    y = u (1 + t) / 2,    t = tanh(k (u + a u^3)),    k = sqrt(2/pi), a = 0.044715        u (N, F) -> y (N, F)

u occurs twice: outside and in t. The derivative of tanh(z) is 1 - tanh(z)^2. The example, on 2 x 2 numbers:

    >>> y, cache = gelu(np.array([[0.0, 6], [-6, 1]]))
    >>> gelu_backward(np.array([[1.0, 1], [1, 2]]), cache).round(4).tolist()
    [[0.5, 1.0], [-0.0, 2.1659]]

In the package: minipeft/ops.py, gelu_backward.
"""

import numpy as np

k, a = 0.7978845608028654, 0.044715


def gelu(u):
    """u (N, F) -> y (N, F), cache."""
    t = np.tanh(k * (u + a * u**3))
    return 0.5 * u * (1 + t), (u, t)


def gelu_backward(dy, cache):
    """dy (N, F) -> du (N, F)."""
    u, t = cache
    raise NotImplementedError
