r"""LoHa: a change of the weight that is the elementwise product of two low-rank matrices.

    y = x W + b + s x ((A1 B1) * (A2 B2))^T     W (I, O), b (O,) frozen;  * elementwise;  s = alpha / R
                                                A1, A2 (O, R) and B1, B2 (R, I) train
    delta = s ((A1 B1) * (A2 B2))^T                (I, O), the change of W

The elementwise product of two matrices of rank R has a rank of up to R^2, so the change is richer than LoRA's
with as many parameters: R = 4 here has the parameters of LoRA's R = 8, and a rank of up to 16.

It is also dearer. LoRA multiplies x by its small factors one after the other; an elementwise product has no
such factors, so delta (I, O) itself is formed in every forward and once more in the backward, and x delta,
its gradient x^T dy and dy delta^T are three products as large as the layer's own. No delta outlives a layer.

Source: Hyeon-Woo et al. 2022, "FedPara: Low-Rank Hadamard Product for Communication-Efficient Federated
Learning", section 2 and proposition 1. Defaults, names and shapes as in Hugging Face PEFT, which has it for
torch.nn.Linear, weights (out, in), but not for GPT-2's Conv1D.
"""

from dataclasses import dataclass, field

import numpy as np

from ...errors import InputError
from ..about import About
from ..base import Method
from .targets import by_pattern, matches, target_layers

FACTORS = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")  # A1, B1, A2, B2 as PEFT calls them


@dataclass
class LoHa(Method):
    """r: the rank of each of the two matrices. alpha: the change is scaled by alpha / r.

    target_modules, layers_to_transform: see `targets`. rank_pattern, alpha_pattern: {pattern: value} for some
    layers, see `by_pattern`. module_dropout: the probability that a layer goes without its change in a step
    of training; what is kept is not made larger, as in PEFT.

    init_weights: True, A1, A2 uniform in +-1/sqrt(R), B1 in +-1/sqrt(I), and B2 zero, so that nothing changes
    at first. False: B2 uniform as B1, for tests.

    GPT-2 small, r = 8 on c_attn: 589,824 parameters, 0.47 %.
    """

    about = About(
        "loha", recipe=("r=2", "alpha=4", "target_modules=all-linear"), learning_rate=2e-2,
        section="updates", whole_update=True, small={"r": 2, "alpha": 3},
    )  # fmt: skip

    r: int = 8
    alpha: float = 8
    module_dropout: float = 0.0
    target_modules: tuple[str, ...] | str = ("c_attn",)
    init_weights: bool = True
    rank_pattern: dict[str, int] = field(default_factory=dict)
    alpha_pattern: dict[str, float] = field(default_factory=dict)
    layers_to_transform: tuple[int, ...] | int | None = None

    def init(self, model, rng):
        """A1, B1, A2, B2 for every target. Raises InputError for a bad setting or no target."""
        if not 0 <= self.module_dropout < 1:
            raise InputError(f"module_dropout must be at least 0 and below 1, not {self.module_dropout}")
        tensors = {}
        for name, (I, O) in target_layers(
            model.config, self.target_modules, self.layers_to_transform
        ).items():
            R = self.rank(name)
            if R < 1:
                raise InputError(f"LoHa's rank r must be 1 or more, not {R} at {name}")
            for key, shape in zip(FACTORS, ((O, R), (R, I), (O, R), (R, I)), strict=True):
                bound = shape[1] ** -0.5
                tensors[f"{name}.{key}"] = rng.uniform(-bound, bound, shape)
            if self.init_weights:
                tensors[f"{name}.hada_w2_b"] = np.zeros((R, I))
        return tensors

    def acts_on(self, name):
        """Is the linear layer `name` a target?"""
        return matches(name, self.target_modules, self.layers_to_transform)

    def rank(self, name):
        """R of the layer `name`."""
        return by_pattern(name, self.rank_pattern, self.r)

    def scaling(self, name):
        """s of the layer `name`."""
        return by_pattern(name, self.alpha_pattern, self.alpha) / self.rank(name)

    def update(self, name, tensors):
        """delta (I, O), and the M1 = A1 B1 and M2 = A2 B2 (O, I) that it is made of."""
        A1, B1, A2, B2 = (tensors[f"{name}.{key}"] for key in FACTORS)
        M1, M2 = A1 @ B1, A2 @ B2  # (O, I)
        return (self.scaling(name) * M1 * M2).T, M1, M2

    def linear(self, name, x, y, step):
        """y = x W + b (N, O) -> y + x delta."""
        if not self.acts_on(name):
            return y, None
        dropped = self.module_dropout and step.rng is not None and step.rng.random() < self.module_dropout
        if not dropped:
            delta, _, _ = self.update(name, step.tensors)
            y += x @ delta
        return y, (name, x, dropped) if step.grad_enabled else None

    def linear_backward(self, dy, cache, step):
        """forward: y += x delta, delta^T = s M1 * M2, M1 = A1 B1, M2 = A2 B2."""
        if cache is None:
            return dy, None, {}
        name, x, dropped = cache
        A1, B1, A2, B2 = (step.tensors[f"{name}.{key}"] for key in FACTORS)
        if dropped:
            zeros = [0 * factor for factor in (A1, B1, A2, B2)]
            return dy, None, {f"{name}.{key}": g for key, g in zip(FACTORS, zeros, strict=True)}
        delta, M1, M2 = self.update(name, step.tensors)
        G = self.scaling(name) * (dy.T @ x)  # (O, I): s times the gradient of delta^T
        dM1, dM2 = G * M2, G * M1
        gradients = dM1 @ B1.T, A1.T @ dM1, dM2 @ B2.T, A2.T @ dM2
        grads = {f"{name}.{key}": g for key, g in zip(FACTORS, gradients, strict=True)}
        return dy, dy @ delta.T if "x" in step.wants(name) else None, grads  # (N, I)

    def merge(self, weights, tensors):
        """W + delta for every target."""
        return {key: weights[key] + delta for key, delta in self._updates(tensors)}

    def unmerge(self, weights, tensors):
        """W - delta: what `merge` was given, to rounding."""
        return {key: weights[key] - delta for key, delta in self._updates(tensors)}

    def _updates(self, tensors):
        for tensor in tensors:
            name = tensor.removesuffix(".hada_w1_a")
            if name != tensor and self.acts_on(name):
                yield f"{name}.weight", self.update(name, tensors)[0]
