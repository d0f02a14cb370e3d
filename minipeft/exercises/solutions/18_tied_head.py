r"""A tied head: one table is read at the bottom and at the top.

    x = wte[ids],   a = x g,   z = a wte^T        ids (N,), wte (V, C) trains, g (C,) frozen -> z (N, V)

wte is used twice, so two contributions make its gradient. g is frozen: its gradient is not formed. From dz
(N, V) comes dwte (V, C). The example, on 2 x 2 numbers:

    >>> wte = np.array([[1.0, 2], [3, 4]])
    >>> z, cache = tied(np.array([1, 1]), wte, np.array([1.0, 10]))
    >>> tied_backward(np.array([[1.0, 0], [0, 1]]), cache)["weight"].tolist()
    [[3.0, 40.0], [7.0, 100.0]]

In the package: minipeft/gpt2.py, loss_and_grads and embed_backward.
"""

import numpy as np


def tied(ids, wte, g):
    """ids (N,), wte (V, C), g (C,) -> z (N, V); cache: ids, a = x g (N, C), wte, g."""
    a = wte[ids] * g
    return a @ wte.T, (ids, a, wte, g)


def tied_backward(dz, cache):
    """dz (N, V) -> {"weight": dwte (V, C)}."""
    ids, a, wte, g = cache
    # -- yours --
    dwte = dz.T @ a  # (V, C), of the head
    dx = (dz @ wte) * g  # (N, C)
    np.add.at(dwte, ids, dx)
    return {"weight": dwte}
