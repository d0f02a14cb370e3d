r"""The backward of attention, with more keys than queries.

    s = q k^T / sqrt(D) + mask,   p = softmax(s),   o = p v        in each of H heads;  D = C / H

q (T, C); k, v (J, C) with J >= T: the first J - T keys are seen by every query. From do (T, C) come dq (T,
C), dk and dv (J, C). `heads` and `merged` take the heads apart and put them together. The example, on 2 x 2
numbers: one head; keys of zeros, so that a query's attention is shared evenly between the keys it sees.

    >>> q, k, v = np.array([[1.0, 0], [0, 1]]), np.zeros((2, 2)), np.array([[1.0, 0], [3, 2]])
    >>> o, cache = attention(q, k, v, H=1)
    >>> dq, dk, dv = attention_backward(np.array([[1.0, 0], [0, 4]]), cache)
    >>> dq.tolist(), dk.round(4).tolist(), dv.tolist()
    ([[0.0, 0.0], [0.0, 0.0]], [[0.0, -1.4142], [0.0, 1.4142]], [[1.0, 2.0], [0.0, 2.0]])

In the package: minipeft/ops.py, attention_backward.
"""

import numpy as np


def heads(x, H):
    """(T, C) -> (H, T, D)."""
    return x.reshape(len(x), H, -1).transpose(1, 0, 2)


def merged(x):
    """(H, T, D) -> (T, C)."""
    return x.transpose(1, 0, 2).reshape(x.shape[1], -1)


def attention(q, k, v, H):
    """q (T, C), k and v (J, C) -> o (T, C); cache: q, k, v by heads, p (H, T, J)."""
    q, k, v = heads(q, H), heads(k, H), heads(v, H)
    T, J = q.shape[1], k.shape[1]
    s = q @ k.transpose(0, 2, 1) * q.shape[2] ** -0.5  # (H, T, J)
    s = s + np.triu(np.full((T, J), -np.inf), 1 + J - T)
    e = np.exp(s - s.max(2, keepdims=True))
    p = e / e.sum(2, keepdims=True)
    return merged(p @ v), (q, k, v, p)


def attention_backward(do, cache):
    """do (T, C) -> dq (T, C), dk (J, C), dv (J, C)."""
    q, k, v, p = cache  # (H, T, D), (H, J, D), (H, J, D), (H, T, J)
    H, _, D = q.shape
    raise NotImplementedError
