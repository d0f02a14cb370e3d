r"""The backward of softmax.

    p_i = e^{z_i} / sum_j e^{z_j}        over each row:  z (N, K) -> p (N, K)

Every z_i is in every p_j of its row: the slope of p_j by z_i is p_j ([i = j] - p_i). From dp (N, K) comes
dz (N, K).
The example, on 2 x 2 numbers:

    >>> p = softmax(np.array([[0.0, 0], [np.log(3), 0]]))
    >>> softmax_backward(np.array([[1.0, 0], [4, 0]]), p).round(4).tolist()
    [[0.25, -0.25], [0.75, -0.75]]

In the package: minipeft/ops.py, attention_backward, the line of ds.
"""

import numpy as np


def softmax(z):
    """z (N, K) -> p (N, K); its rows sum to 1."""
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def softmax_backward(dp, p):
    """dp, p (N, K) -> dz (N, K)."""
    raise NotImplementedError
