r"""The backward of DoRA, with the lengths of the columns held.

    V = W + s A B,    g = m / n        W (I, O), b (O,) frozen;  A (I, R), B (R, O), m (O,) train
    y = (x V) g + b                    x (N, I) -> y (N, O)

n (O,) holds the lengths of V's columns. It is GIVEN: the paper takes it for a constant in the backward. From
dy (N, O) come dx (N, I), dA, dB and dm. The example, on 2 x 2 numbers; R = 1, s = 2:

    >>> x, W, b = np.array([[1.0, 2], [3, 4]]), np.array([[1.0, 0], [-2, 0]]), np.array([0.0, 0])
    >>> A, B, m, n = np.array([[1.0], [1]]), np.array([[1.0, 2]]), np.array([6.0, 2]), np.array([3.0, 4])
    >>> y, cache = dora(x, W, b, A, B, m, n, 2.0)
    >>> dx, grads = dora_backward(np.array([[1.0, 0], [0, 2]]), cache)
    >>> dx.tolist()
    [[6.0, 0.0], [4.0, 4.0]]
    >>> grads["lora_A"].tolist(), grads["lora_B"].tolist(), grads["lora_magnitude_vector"].tolist()
    ([[16.0], [24.0]], [[12.0, 14.0]], [1.0, 14.0])

In the package: minipeft/methods/linear/dora.py.
"""

import numpy as np


def dora(x, W, b, A, B, m, n, s):
    """x (N, I) -> y (N, O); cache: x, h = s x A (N, R), u = x V (N, O), g (O,), n, W, A, B, s."""
    h = s * (x @ A)
    u, g = x @ W + h @ B, m / n
    return u * g + b, (x, h, u, g, n, W, A, B, s)


def dora_backward(dy, cache):
    """dy (N, O) -> dx (N, I), {"lora_A": dA, "lora_B": dB, "lora_magnitude_vector": dm}."""
    x, h, u, g, n, W, A, B, s = cache
    # -- yours --
    du = dy * g  # (N, O)
    dh = s * (du @ B.T)  # (N, R)
    dm = (dy * u).sum(0) / n
    dx = du @ W.T + dh @ A.T  # (N, I)
    return dx, {"lora_A": x.T @ dh, "lora_B": h.T @ du, "lora_magnitude_vector": dm}
