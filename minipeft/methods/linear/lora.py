r"""LoRA: a low-rank change beside a frozen weight.

    y = x W + b + s (x A) B        W (I, O), b (O,) frozen;  A (I, R), B (R, O) train;  s = alpha / R

Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", eq. 3.
Defaults and names as in Hugging Face PEFT, whose A and B are the transposes of these.
"""

from dataclasses import dataclass, field

import numpy as np

from ...backend import to_host
from ...errors import InputError
from ...speed.quantized import dequantized, requantized
from ..about import About
from ..base import Method
from .pissa import principal_factors
from .targets import by_pattern, matches, target_layers


@dataclass
class LoRA(Method):
    """r: the rank. lora_alpha: the update is scaled by lora_alpha / r. lora_dropout: on the update's input.

    target_modules, layers_to_transform: see `targets`; "c_attn" is the fused query, key and value, one joint
    update for all three. use_rslora: s = alpha / sqrt(R), which keeps the update's size as R grows
    (Kalajdzievski 2023). rank_pattern, alpha_pattern: {pattern: value} for some layers, see `by_pattern`.

    init_lora_weights: True, A uniform in +-1/sqrt(I) as in PEFT; "gaussian", A normal with standard
    deviation 1/r; B zero in both, so that nothing changes at first. "pissa": see pissa.py. False: B uniform
    too, for tests.

    GPT-2 small, r = 8 on c_attn: 294,912 parameters, 0.24 %.
    """

    about = About(
        "lora", recipe=("r=4", "lora_alpha=8", "target_modules=all-linear"), learning_rate=6e-3,
        section="updates", peft_type="LORA", factors=(("lora_A",), ("lora_B",)),
        small={"r": 2, "lora_alpha": 3},
    )  # fmt: skip

    r: int = 8
    lora_alpha: float = 8
    lora_dropout: float = 0.0
    target_modules: tuple[str, ...] | str = ("c_attn",)
    init_lora_weights: bool | str = True
    use_rslora: bool = False
    rank_pattern: dict[str, int] = field(default_factory=dict)
    alpha_pattern: dict[str, float] = field(default_factory=dict)
    layers_to_transform: tuple[int, ...] | int | None = None

    def init(self, model, rng):
        """A and B for every target. Raises InputError for a bad setting or no target."""
        layers = self.checked_targets(model.config)
        tensors = {}
        for name, (I, O) in layers.items():
            R = self.rank(name)
            if self.init_lora_weights == "pissa":
                W = to_host(dequantized(model.weights[f"{name}.weight"]))
                A, B = principal_factors(W, R, self.scaling(name))
            else:
                bound = 1 / I**0.5
                gaussian = self.init_lora_weights == "gaussian"
                A = rng.normal(0, 1 / R, (I, R)) if gaussian else rng.uniform(-bound, bound, (I, R))
                B = np.zeros((R, O))
                if self.init_lora_weights is False:
                    B = rng.uniform(-(R**-0.5), R**-0.5, B.shape)
            tensors |= {f"{name}.lora_A": A, f"{name}.lora_B": B}
        return tensors

    def change_base(self, weights, tensors):
        """W - s A B where A and B began as a part of W: PiSSA's. A quantised W is quantised again."""
        if self.init_lora_weights != "pissa":
            return {}
        bases = {name: (weights[f"{name}.weight"], d) for name, d in self._updates(tensors)}
        return {f"{name}.weight": requantized(dequantized(W) - d, W) for name, (W, d) in bases.items()}

    def acts_on(self, name):
        """Is the linear layer `name` a target?"""
        return matches(name, self.target_modules, self.layers_to_transform)

    def rank(self, name):
        """R of the layer `name`."""
        return by_pattern(name, self.rank_pattern, self.r)

    def scaling(self, name):
        """s of the layer `name`, the factor of its update."""
        R = self.rank(name)
        return by_pattern(name, self.alpha_pattern, self.lora_alpha) / (R**0.5 if self.use_rslora else R)

    def linear(self, name, x, y, step):
        """y = x W + b (N, O) -> y + s (x A) B."""
        if not self.acts_on(name):
            return y, None
        A, B = step.tensors[f"{name}.lora_A"], step.tensors[f"{name}.lora_B"]
        x, mask = step.ops.dropout(x, self.lora_dropout, step.rng)
        h = x @ A  # (N, R)
        h *= self.scaling(name)  # on h, the small one
        y += h @ B  # (N, O)
        return y, (name, x, h, A, B, mask) if step.grad_enabled else None

    def linear_backward(self, dy, cache, step):
        """forward: y += h B, h = s x A."""
        if cache is None:
            return dy, None, {}
        name, x, h, A, B, mask = cache
        dh = dy @ B.T  # (N, R)
        dh *= self.scaling(name)
        grads = {f"{name}.lora_A": x.T @ dh, f"{name}.lora_B": h.T @ dy}
        dx = step.ops.dropout_backward(dh @ A.T, mask) if "x" in step.wants(name) else None  # (N, I)
        return dy, dx, grads

    def merge(self, weights, tensors):
        """W + s A B for every target."""
        return {f"{name}.weight": weights[f"{name}.weight"] + d for name, d in self._updates(tensors)}

    def unmerge(self, weights, tensors):
        """W - s A B: what `merge` was given, to rounding."""
        return {f"{name}.weight": weights[f"{name}.weight"] - d for name, d in self._updates(tensors)}

    def _updates(self, tensors):
        for key, A in tensors.items():
            name = key.removesuffix(".lora_A")
            if name != key and self.acts_on(name):
                yield name, self.scaling(name) * (A @ tensors[f"{name}.lora_B"])

    def checked_targets(self, config):
        """{name: (in, out)} of the targets. Raises InputError for a bad setting or no target."""
        if self.init_lora_weights not in (True, False, "gaussian", "pissa"):
            known = "true, false, 'gaussian' or 'pissa'"
            raise InputError(f"init_lora_weights must be {known}, not {self.init_lora_weights!r}")
        if not 0 <= self.lora_dropout < 1:
            raise InputError(f"lora_dropout must be at least 0 and below 1, not {self.lora_dropout}")
        if self.r < 1:
            raise InputError(f"LoRA's rank r must be 1 or more, not {self.r}")
        layers = target_layers(config, self.target_modules, self.layers_to_transform)
        for name, shape in layers.items():
            if self.rank(name) < 1:
                raise InputError(f"rank_pattern: the rank must be 1 or more, not {self.rank(name)} at {name}")
            if self.init_lora_weights == "pissa" and (
                self.rank(name) > min(shape) or self.scaling(name) <= 0
            ):
                raise InputError(f"'pissa' needs r of at most {min(shape)} and lora_alpha above 0 at {name}")
        return layers
