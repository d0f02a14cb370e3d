r"""The gradient of the cross-entropy.

    loss = sum_m ( log sum_v e^{z_mv} - z_m,labels_m )        z (M, V), labels (M,) -> a number
    p = softmax(z)                                            (M, V)

It is a sum over rows, not a mean. From dloss, a number, comes dz (M, V). The example, on 2 x 2 numbers:

    >>> loss, cache = cross_entropy(np.array([[0.0, 0], [np.log(3), 0]]), np.array([0, 1]))
    >>> cross_entropy_backward(1.0, cache).round(4).tolist()
    [[-0.5, 0.5], [0.75, -0.75]]

In the package: minipeft/ops.py, lm_loss_backward.
"""

import numpy as np


def cross_entropy(z, labels):
    """z (M, V), labels (M,) -> loss, a number; cache."""
    e = np.exp(z - z.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)  # (M, V)
    rows = np.arange(len(z))
    return -np.log(p[rows, labels]).sum(), (p, labels)


def cross_entropy_backward(dloss, cache):
    """dloss, a number -> dz (M, V)."""
    p, labels = cache
    # -- yours --
    dz = dloss * p
    dz[np.arange(len(p)), labels] -= dloss  # dz is an array of its own
    return dz
