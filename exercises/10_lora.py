r"""LoRA: a low-rank change beside a frozen weight, forward and backward.

    y = x W + b + s (x A) B        W (I, O), b (O,) frozen;  A (I, R), B (R, O) train;  s = alpha / R

The forward keeps what the backward needs, in a cache of your own. From dy (N, O) come dx (N, I), dA (I, R)
and dB (R, O). The example, on 2 x 2 numbers; R = 1, so s = alpha:

    >>> x, W, b = np.array([[1.0, 2], [3, 4]]), np.eye(2), np.array([0.0, 0])
    >>> A, B = np.array([[1.0], [1]]), np.array([[1.0, 2]])
    >>> y, cache = lora(x, W, b, A, B, alpha=2.0)
    >>> y.tolist()
    [[7.0, 14.0], [17.0, 32.0]]
    >>> dx, grads = lora_backward(np.array([[1.0, 0], [0, 1]]), cache)
    >>> dx.tolist()
    [[3.0, 2.0], [4.0, 5.0]]
    >>> grads["lora_A"].tolist(), grads["lora_B"].tolist()
    ([[14.0], [20.0]], [[6.0, 14.0]])

In the package: minipeft/methods/linear/lora.py.
"""

import numpy as np


def lora(x, W, b, A, B, alpha):
    """x (N, I), W (I, O), b (O,), A (I, R), B (R, O), alpha a number -> y (N, O), cache."""
    raise NotImplementedError


def lora_backward(dy, cache):
    """dy (N, O) -> dx (N, I), {"lora_A": dA (I, R), "lora_B": dB (R, O)}."""
    raise NotImplementedError
