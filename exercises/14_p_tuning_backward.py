r"""Virtual tokens that come out of a small network: its backward.

    table = tanh(E W_0 + b_0) W_2 + b_2        E (P, C), W_0 (C, K), b_0 (K,), W_2 (K, C), b_2 (C,) all train

From dtable (P, C) comes the gradient of each of the five. The derivative of tanh, from its value f: 1 - f^2.
The example, on 2 x 2 numbers; E W_0 + b_0 is zero, so f is 0 and the slope 1:

    >>> E, W_0, b_0 = np.zeros((2, 2)), np.array([[1.0, 2], [3, 4]]), np.zeros(2)
    >>> table, cache = encoder(E, W_0, b_0, np.array([[1.0, 0], [0, 2]]), np.array([7.0, 7]))
    >>> grads = encoder_backward(np.array([[1.0, 1], [0, 1]]), cache)
    >>> grads["E"].tolist(), grads["b_0"].tolist(), grads["b_2"].tolist()
    ([[5.0, 11.0], [4.0, 8.0]], [1.0, 4.0], [1.0, 2.0])

In the package: minipeft/methods/embed/mlp.py, mlp_backward. (P-tuning's own network has relu in the place
of tanh.)
"""

import numpy as np


def encoder(E, W_0, b_0, W_2, b_2):
    """E (P, C) -> table (P, C); cache: E, f = tanh(E W_0 + b_0) (P, K), W_0, W_2."""
    f = np.tanh(E @ W_0 + b_0)
    return f @ W_2 + b_2, (E, f, W_0, W_2)


def encoder_backward(dtable, cache):
    """dtable (P, C) -> {"E": dE, "W_0": dW_0, "b_0": db_0, "W_2": dW_2, "b_2": db_2}."""
    E, f, W_0, W_2 = cache
    raise NotImplementedError
