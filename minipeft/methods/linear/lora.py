r"""LoRA: a low-rank change beside a frozen weight.

    y = x W + b + s (x A) B        W (I, O), b (O,) frozen;  A (I, R), B (R, O) train;  s = alpha / R

Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", eq. 3.
Defaults and names as in Hugging Face PEFT, whose A and B are the transposes of these.
"""

from dataclasses import dataclass

import numpy as np

from ... import ops
from ...errors import InputError
from ..base import Method
from .targets import matches, target_layers


@dataclass
class LoRA(Method):
    """r: the rank. lora_alpha: the update is scaled by lora_alpha / r. lora_dropout: on the update's input.

    target_modules: see `targets`; "c_attn" is the fused query, key and value, one joint update for all
    three. init_lora_weights: True, A uniform in +-1/sqrt(I) as in PEFT; "gaussian", A normal with standard
    deviation 1/r; B zero in both, so that nothing changes at first. False: B uniform too, for tests.

    GPT-2 small, r = 8 on c_attn: 294,912 parameters, 0.24 %.
    """

    r: int = 8
    lora_alpha: float = 8
    lora_dropout: float = 0.0
    target_modules: tuple[str, ...] | str = ("c_attn",)
    init_lora_weights: bool | str = True

    def init(self, model, rng):
        """A and B for every target. Raises InputError for a bad setting or no target."""
        if self.r < 1:
            raise InputError(f"LoRA's rank r must be 1 or more, not {self.r}")
        if not 0 <= self.lora_dropout < 1:
            raise InputError(f"lora_dropout must be at least 0 and below 1, not {self.lora_dropout}")
        if self.init_lora_weights not in (True, False, "gaussian"):
            raise InputError(
                f"init_lora_weights must be true, false or 'gaussian', not {self.init_lora_weights!r}"
            )
        tensors = {}
        for name, (I, O) in target_layers(model.config, self.target_modules).items():
            if self.init_lora_weights == "gaussian":
                A = rng.normal(0, 1 / self.r, (I, self.r))
            else:
                A = rng.uniform(-(I**-0.5), I**-0.5, (I, self.r))
            B = np.zeros((self.r, O))
            if self.init_lora_weights is False:
                B = rng.uniform(-(self.r**-0.5), self.r**-0.5, B.shape)
            tensors |= {f"{name}.lora_A": A, f"{name}.lora_B": B}
        return tensors

    @property
    def scaling(self):
        """s, the factor of the update."""
        return self.lora_alpha / self.r

    def linear(self, name, x, y, step):
        """y = x W + b (N, O) -> y + s (x A) B."""
        if not matches(name, self.target_modules):
            return y, None
        A, B = step.tensors[f"{name}.lora_A"], step.tensors[f"{name}.lora_B"]
        x, mask = ops.dropout(x, self.lora_dropout, step.rng)
        h = x @ A  # (N, R)
        h *= self.scaling  # on h, the small one
        y += h @ B  # (N, O)
        return y, (name, x, h, A, B, mask) if step.learns else None

    def linear_backward(self, dy, cache, step):
        """forward: y += h B, h = s x A."""
        if cache is None:
            return dy, None, {}
        name, x, h, A, B, mask = cache
        dh = dy @ B.T  # (N, R)
        dh *= self.scaling
        grads = {f"{name}.lora_A": x.T @ dh, f"{name}.lora_B": h.T @ dy}
        dx = ops.dropout_backward(dh @ A.T, mask) if "x" in step.wants(name) else None  # (N, I)
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
            if name != key and matches(name, self.target_modules):
                yield name, self.scaling * (A @ tensors[f"{name}.lora_B"])
