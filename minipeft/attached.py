"""Attached: what one adapter puts on a model."""

from dataclasses import dataclass, field
from math import prod

import numpy as np

from .backend import xp_of
from .errors import InputError
from .methods import Chain, Method
from .methods.about import check_pairs
from .settings import seeded
from .speed.flat import joined
from .speed.quantized import check_can_train, dequantized
from .step import depth


@dataclass
class Attached:
    """What one adapter puts on a model.

    model      the base; its arrays are never written to
    method     one Method, or a Chain of those in a list; an empty list is the frozen model alone
    tensors    the method's own tensors by name
    selected   copies of the base parameters that the method selects
    weights    the base parameters as the forward sees them, the selected ones among them
    trainable  those of `tensors` and `selected` that an optimizer changes, in place
    unread     {file: what it held besides}: kept from the folder that the adapter was read from, for a save
    """

    model: object
    method: Method
    tensors: dict
    selected: dict
    weights: dict
    trainable: dict
    unread: dict = field(default_factory=dict)

    @classmethod
    def on(cls, model, methods, seed=0, most=None):
        """The adapter as it begins. most: it may draw so many random numbers; None: as many as it likes.

        Raises InputError where a setting does not fit the model, where a method lacks its backward, and for
        a tensor named after a place that is not in the model.
        """
        given = [methods] if isinstance(methods, Method | type | str) else list(methods)
        if wrong := [m for m in given if not isinstance(m, Method)]:
            shown = f"{wrong[0].__name__}, a class: write" if isinstance(wrong[0], type) else f"{wrong[0]!r}:"
            raise InputError(f"want a method, or a list of methods, not {shown} minipeft.LoRA(), say")
        method = methods if isinstance(methods, Method) else Chain(given)
        for part in method.methods if isinstance(method, Chain) else [method]:
            check_pairs(type(part))
        if method.num_virtual_tokens >= model.config.n_positions:
            raise InputError(
                f"{method.num_virtual_tokens} virtual tokens leave no room for text: "
                f"the model has {model.config.n_positions} positions"
            )
        xp = xp_of(model.weights["wte.weight"])
        own = method.init(model, seeded(seed) if most is None else Limited(most))
        if not isinstance(own, dict):
            kind = type(method).__name__
            raise InputError(f"{kind}.init must return {{name: array}}, not {type(own).__name__}")
        if flat := [name for name, a in own.items() if np.ndim(a) == 0]:
            raise InputError(f"{flat[0]} is a number without a shape: give it the shape (1,)")
        selected = [name for name in model.weights if method.trains_base(name, model.config)]
        check_can_train(model.weights, selected)
        dtype_of = lambda a: a.dtype if a.dtype.kind in "iu" else model.dtype  # indices stay integers
        tensors = {name: xp.array(a, dtype=dtype_of(a)) for name, a in own.items()}
        weights = model.weights | method.change_base(model.weights, tensors)
        selected = {name: dequantized(weights[name]).copy() for name in selected}
        everything = tensors | selected
        trainable = {name: a for name, a in everything.items() if method.optimizer_changes(name)}
        for name in trainable:
            check_place(name, model.config)
        trainable = joined(trainable)  # on a GPU other arrays, with the same numbers
        tensors, selected = (
            {name: trainable.get(name, a) for name, a in own.items()} for own in (tensors, selected)
        )
        return cls(model, method, tensors, selected, weights | selected, trainable)


class Limited(np.random.Generator):
    """A generator that gives no more numbers than `most`.

    An adapter of a file draws all its tensors before the file's take their place. So a configuration that
    asks for more than the file has is refused before there is an array of that size.
    """

    def __init__(self, most):
        super().__init__(np.random.PCG64(0))
        self.left = most

    def _spend(self, size):
        self.left -= prod(map(int, np.atleast_1d(1 if size is None else size)))
        if self.left < 0:
            raise InputError("the configuration is of a larger adapter than the file holds")

    def standard_normal(self, size=None, dtype=np.float64, out=None):
        """As NumPy's."""
        self._spend(size)
        return super().standard_normal(size, dtype, out)

    def normal(self, loc=0.0, scale=1.0, size=None):
        """As NumPy's."""
        self._spend(size)
        return super().normal(loc, scale, size)

    def uniform(self, low=0.0, high=1.0, size=None):
        """As NumPy's."""
        self._spend(size)
        return super().uniform(low, high, size)


def check_place(name, config):
    """Raise InputError where the tensor `name` is named after a place that is not in the model."""
    try:
        depth(name.rpartition(".")[0], config.n_layer)
    except InputError as error:
        raise InputError(f"the tensor {name!r}: {error}") from None
