r"""Prefix tuning: learned keys and values in front of those of the text.

    K' = [P_k ; K],   V' = [P_v ; V]        P_k, P_v (P, C) train;  K, V (N, C) of S sequences -> (N + S P, C)

`prepend` and `prepend_backward`, of exercise 12, are given. Write the three functions; the third answers:
which share of a query's attention do P keys of ZEROS take, beside text keys whose scores are s (n,)? Their
score is 0. The example, on 2 x 2 numbers: one sequence of two rows, a prefix of one.

    >>> K, V = np.array([[1.0, 2], [3, 4]]), np.array([[5.0, 6], [7, 8]])
    >>> longer_K, longer_V, cache = prefix(K, V, np.array([[0.0, 1]]), np.array([[1.0, 0]]), [2])
    >>> longer_K.tolist(), longer_V.tolist()
    ([[0.0, 1.0], [1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [5.0, 6.0], [7.0, 8.0]])
    >>> dK = np.array([[1.0, 2], [3, 4], [5, 6]])
    >>> dk, dv, grads = prefix_backward(dK, 10 * dK, cache)
    >>> dk.tolist(), grads["prefix_key"].tolist(), grads["prefix_value"].tolist()
    ([[3.0, 4.0], [5.0, 6.0]], [[1.0, 2.0]], [[10.0, 20.0]])
    >>> float(zero_share(np.array([0.0, 0]), P=2))
    0.5

In the package: minipeft/methods/keys_values/prefix_tuning.py.
"""

import numpy as np


def prepend(E, x, lengths):
    """E (P, C), x (N, C), lengths: a list of S numbers -> x' (N + S P, C), cache."""
    texts = np.split(x, np.cumsum(lengths)[:-1])
    return np.concatenate([piece for text in texts for piece in (E, text)]), (len(E), lengths)


def prepend_backward(dx, cache):
    """dx' (N + S P, C) -> dx (N, C), dE (P, C)."""
    P, lengths = cache
    pieces = np.split(dx, np.cumsum([P + n for n in lengths])[:-1])
    return np.concatenate([piece[P:] for piece in pieces]), sum(piece[:P] for piece in pieces)


def prefix(K, V, P_k, P_v, lengths):
    """K, V (N, C), P_k, P_v (P, C), lengths: a list of S numbers -> K', V' (N + S P, C), cache."""
    raise NotImplementedError


def prefix_backward(dK, dV, cache):
    """dK', dV' (N + S P, C) -> dK, dV (N, C), {"prefix_key": dP_k, "prefix_value": dP_v (P, C)}."""
    raise NotImplementedError


def zero_share(s, P):
    """s (n,), the scores of the text's keys; P: how many keys of zeros -> their share, a number."""
    raise NotImplementedError
