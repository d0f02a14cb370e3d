r"""IA3: learned scales on what leaves a linear layer, or on what enters it. No matrix is added.

    y = (x W + b) l                l (O,) trains            on target_modules: GPT-2's queries, keys, values
    y = (x l) W + b                l (I,) trains            on those of them that are feedforward_modules:
                                                            the inner activation of the MLP, after GELU

Source: Liu et al. 2022, "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context
Learning" (T-Few), section 3.3: keys, values and the inner activation. In GPT-2 one layer makes queries,
keys and values; Hugging Face PEFT, which this follows, scales all three.
"""

from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from ..about import About
from ..base import Method
from .targets import matches, target_layers


@dataclass
class IA3(Method):
    """target_modules, feedforward_modules: see `targets`; the second lists some of the first (its
    default may stay where it is not among them).

    init_ia3_weights: True, l = 1 and nothing changes at first. False: l normal, for tests.

    GPT-2 small: 12 (2304 + 3072) = 64,512 parameters, 0.05 %.
    """

    about = About("ia3", learning_rate=1e-1, section="scales", peft_type="IA3")

    target_modules: tuple[str, ...] | str = ("c_attn", "mlp.c_proj")
    feedforward_modules: tuple[str, ...] | str = ("mlp.c_proj",)
    init_ia3_weights: bool = True

    def init(self, model, rng):
        """l for every target. Raises InputError for a bad setting or no target."""
        patterns = isinstance(self.target_modules, str) or isinstance(self.feedforward_modules, str)
        known = {*self.target_modules, "mlp.c_proj"}
        if not patterns and (others := {*self.feedforward_modules} - known):
            raise InputError(f"feedforward_modules must be among target_modules: {min(others)!r} is not")
        tensors = {}
        for name, (I, O) in target_layers(model.config, self.target_modules).items():
            key, size = (input_scale(name), I) if self.scales_input(name) else (output_scale(name), O)
            tensors[key] = np.ones(size) if self.init_ia3_weights else rng.standard_normal(size)
        return tensors

    def scales_output(self, name):
        """Is l on what leaves the linear layer `name`?"""
        return matches(name, self.target_modules) and not matches(name, self.feedforward_modules)

    def scales_input(self, name):
        """Is l on what enters it?"""
        return matches(name, self.target_modules) and matches(name, self.feedforward_modules)

    def linear_input(self, name, x, step):
        """x (N, I) -> x l."""
        if not self.scales_input(name):
            return x, None
        l = step.tensors[input_scale(name)]
        return x * l, (name, x, l) if step.grad_enabled else None

    def linear_input_backward(self, dx, cache, step):
        """forward: x l."""
        if cache is None:
            return dx, {}
        name, x, l = cache
        return dx * l, {input_scale(name): (dx * x).sum(0)}

    def linear(self, name, x, y, step):
        """y (N, O) -> y l: a new array, for the backward needs y itself, and l may be zero."""
        if not self.scales_output(name):
            return y, None
        l = step.tensors[output_scale(name)]
        return y * l, (name, y, l) if step.grad_enabled else None

    def linear_backward(self, dy, cache, step):
        """forward: y l."""
        if cache is None:
            return dy, None, {}
        name, y, l = cache
        return dy * l, None, {output_scale(name): (dy * y).sum(0)}

    def merge(self, weights, tensors):
        """Columns of W, and b, times l; rows of W where l is on the input."""
        return self._scaled(weights, tensors, lambda l: l)

    def unmerge(self, weights, tensors):
        """What `merge` was given, to rounding. Raises InputError where an l is zero: a column is lost."""
        return self._scaled(weights, tensors, self._inverse)

    def _scaled(self, weights, tensors, scale):
        scaled = {}
        for key, l in tensors.items():
            name = key.removesuffix(".ia3_l").removesuffix(".input")
            W, b = f"{name}.weight", f"{name}.bias"
            if key == output_scale(name) and self.scales_output(name):
                scaled |= {W: weights[W] * scale(l), b: weights[b] * scale(l)}
            elif key == input_scale(name) and self.scales_input(name):
                if beside := [k for k in tensors if k.startswith(f"{name}.") and k != key]:
                    raise InputError(f"IA3 on the input of {name} cannot be merged with {beside[0]!r} there")
                scaled[W] = weights[W] * scale(l)[:, None]
        return scaled

    @staticmethod
    def _inverse(l):
        if not l.all():
            raise InputError("IA3 cannot be taken out of merged weights where a scale is zero")
        return 1 / l


def output_scale(name):
    """The tensor l on what leaves the layer `name`."""
    return f"{name}.ia3_l"


def input_scale(name):
    """The tensor l on what enters it: it acts at the place "<layer>.input"."""
    return f"{name}.input.ia3_l"
