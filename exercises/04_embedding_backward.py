r"""The backward of an embedding: where a token occurs twice.

    y_n = table[ids_n]        ids (N,), table (V, C) -> y (N, C)

From dy (N, C) comes dtable (V, C). The example, on 2 x 2 numbers: token 1 occurs twice, token 0 never.

    >>> y, cache = embedding(np.array([1, 1]), np.array([[1.0, 2], [3, 4]]))
    >>> embedding_backward(np.array([[1.0, 0], [5, 2]]), cache)["weight"].tolist()
    [[0.0, 0.0], [6.0, 2.0]]

In the package: minipeft/ops.py, embedding_backward.
"""

import numpy as np


def embedding(ids, table):
    """ids (N,), table (V, C) -> y (N, C), cache."""
    return table[ids], (ids, table.shape)


def embedding_backward(dy, cache):
    """dy (N, C) -> {"weight": dtable (V, C)}."""
    ids, shape = cache
    dtable = np.zeros(shape)
    raise NotImplementedError
