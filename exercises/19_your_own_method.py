r"""A method of your own: anything that changes what a frozen layer does, and trains little.

Write a class `Mine`: `init` makes its tensors, `optimizer_changes` says which of them stay as they begin,
`linear` changes what leaves a linear layer, `linear_backward` is the derivative. The file's solution, to give
an idea, puts a small square matrix between two frozen random ones:

    y' = y + (x A) M B        A (I, R), B (R, O) random, never trained;  M (R, R) trains, 0 at first

Tensors are named by where they act: "h.0.attn.c_attn.mine_M". docs/add-a-method.md has one method step by
step; minipeft/methods/base.py has the other sites. On 2 x 2 numbers, what its middle does:

    >>> x, A, M, B = np.eye(2), np.array([[1.0], [2]]), np.array([[3.0]]), np.array([[1.0, 1]])
    >>> ((x @ A) @ M @ B).tolist()
    [[3.0, 3.0], [6.0, 6.0]]

`minipeft check 19` checks gradients, that the base stays frozen, that training lowers the loss, and that an
adapter comes back from its file.
"""

from dataclasses import dataclass

import numpy as np

import minipeft


@dataclass
class Mine(minipeft.Method):
    """r: the width of M."""

    r: int = 2

    def init(self, model, rng):
        """{name: array} of the tensors, for each linear layer that you choose."""
        raise NotImplementedError

    def optimizer_changes(self, name):
        """False for tensors of your own that stay as they begin, True for every other name.

        Those that stay need no gradient. If all of yours train, delete this function.
        """
        raise NotImplementedError

    def linear(self, name, x, y, step):
        """x (N, I), y (N, O) of the layer `name` -> y' (N, O), cache; (y, None) where nothing is done."""
        raise NotImplementedError

    def linear_backward(self, dy, cache, step):
        """dy' (N, O) -> dy (N, O), dx (N, I) of the way beside y, or None; {name: gradient}."""
        raise NotImplementedError
