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
        # -- yours --
        tensors = {}
        for name, (I, O) in model.config.linear_layers().items():
            if name.endswith("attn.c_attn"):
                shapes = {"mine_A": (I, self.r), "mine_M": (self.r, self.r), "mine_B": (self.r, O)}
                parts = {key: rng.normal(0, 1, shape) / shape[0] ** 0.5 for key, shape in shapes.items()}
                parts["mine_M"][...] = 0
                tensors |= {f"{name}.{key}": value for key, value in parts.items()}
        return tensors

    def optimizer_changes(self, name):
        """False for tensors of your own that stay as they begin, True for every other name.

        Those that stay need no gradient. If all of yours train, delete this function.
        """
        # -- yours --
        return not name.endswith(("mine_A", "mine_B"))

    def linear(self, name, x, y, step):
        """x (N, I), y (N, O) of the layer `name` -> y' (N, O), cache; (y, None) where nothing is done."""
        # -- yours --
        if f"{name}.mine_M" not in step.tensors:
            return y, None
        A, M, B = (step.tensors[f"{name}.mine_{key}"] for key in "AMB")
        h = x @ A  # (N, R)
        return y + h @ M @ B, (name, h, A, M, B)

    def linear_backward(self, dy, cache, step):
        """dy' (N, O) -> dy (N, O), dx (N, I) of the way beside y, or None; {name: gradient}."""
        # -- yours --
        if cache is None:
            return dy, None, {}
        name, h, A, M, B = cache
        dhM = dy @ B.T  # (N, R)
        return dy, dhM @ M.T @ A.T, {f"{name}.mine_M": h.T @ dhM}
