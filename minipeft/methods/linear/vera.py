r"""VeRA: LoRA with one random, frozen A and B for all layers; each layer trains two vectors of scales.

    y = x W + b + ((x A) d B) l          W (I, O), A (I, R), B (R, O) frozen;  d (R,), l (O,) train

A (I_max, R) and B (R, O_max) are as large as the largest layer needs; a smaller one reads their first rows
and columns. d begins at d_initial and l at 0, so that nothing changes at first.

Source: Kopiczko et al. 2024, "VeRA: Vector-based Random Matrix Adaptation", eq. 2, where d is Lambda_d and l
is Lambda_b. Defaults and names as in Hugging Face PEFT, whose A and B are the transposes of these.
"""

from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from ...settings import check_range
from ..about import About
from ..base import Method
from .targets import matches, target_layers


@dataclass
class VeRA(Method):
    """r: the rank. vera_dropout: on the change's input. d_initial: where d begins.

    target_modules, layers_to_transform: see `targets`. projection_prng_key: A and B follow from it alone.
    save_projection: are they stored with the adapter? init_weights: False, d normal and l = 1, for tests.

    GPT-2 small, on c_attn: 12 (256 + 2304) = 30,720 parameters, 0.02 %, beside 786,432 frozen ones.
    """

    about = About(
        "vera", recipe=("r=64", "target_modules=all-linear"), learning_rate=6e-2, section="updates",
        peft_type="VERA", small={"r": 5, "target_modules": "all-linear"},
    )  # fmt: skip

    r: int = 256
    target_modules: tuple[str, ...] | str = ("c_attn",)
    projection_prng_key: int = 0
    save_projection: bool = True
    vera_dropout: float = 0.0
    d_initial: float = 0.1
    init_weights: bool = True
    layers_to_transform: tuple[int, ...] | int | None = None

    @classmethod
    def from_saved(cls, settings, tensors):
        """A and B are drawn as large as r says, so first d, which is in the file, has to say so, too."""
        vera = cls(**settings)
        shapes = [d.shape for name, d in tensors.items() if "vera_lambda_d" in name]
        if wrong := [shape for shape in shapes if shape != (vera.r,)]:
            raise InputError(f"VeRA's rank r is {vera.r}, and a vera_lambda_d has shape {wrong[0]}")
        if not shapes:
            raise InputError("VeRA: no vera_lambda_d is there, for any layer")
        return vera

    def init(self, model, rng):
        """A and B; d and l for every target. Raises InputError for a bad setting or no target."""
        if self.r < 1:
            raise InputError(f"VeRA's rank r must be 1 or more, not {self.r}")
        if not 0 <= self.vera_dropout < 1:
            raise InputError(f"vera_dropout must be at least 0 and below 1, not {self.vera_dropout}")
        check_range("projection_prng_key", self.projection_prng_key, least=0, below=2**32)
        layers = target_layers(model.config, self.target_modules, self.layers_to_transform)
        I_max, O_max = (max(sizes) for sizes in zip(*layers.values(), strict=True))
        tensors = projections(I_max, self.r, O_max, self.projection_prng_key)
        for name, (_, O) in layers.items():
            d, l = np.full(self.r, self.d_initial), np.zeros(O)
            if not self.init_weights:
                d, l = rng.standard_normal(self.r), np.ones(O)
            tensors |= {f"{name}.vera_lambda_d": d, f"{name}.vera_lambda_b": l}
        return tensors

    def optimizer_changes(self, name):
        """All but A and B."""
        return name not in ("vera_A", "vera_B")

    def acts_on(self, name):
        """Is the linear layer `name` a target?"""
        return matches(name, self.target_modules, self.layers_to_transform)

    def parts(self, name, I, O, tensors):
        """A (I, R), d (R,), B (R, O) and l (O,) of a layer; A and B as views."""
        A, B = tensors["vera_A"][:I], tensors["vera_B"][:, :O]
        return A, tensors[f"{name}.vera_lambda_d"], B, tensors[f"{name}.vera_lambda_b"]

    def linear(self, name, x, y, step):
        """y = x W + b (N, O) -> y + ((x A) d B) l."""
        if not self.acts_on(name):
            return y, None
        A, d, B, l = self.parts(name, x.shape[1], y.shape[1], step.tensors)
        x, mask = step.ops.dropout(x, self.vera_dropout, step.rng)
        z = x @ A  # (N, R)
        change = (z * d) @ B  # (N, O)
        change *= l
        y += change
        return y, (name, z, A, d, B, l, mask) if step.grad_enabled else None

    def linear_backward(self, dy, cache, step):
        """forward: y += (h B) l, h = z d, z = x A. The wide h B (N, O) is not kept: dl = sum(dy (h B))."""
        if cache is None:
            return dy, None, {}
        name, z, A, d, B, l, mask = cache
        dl = (B * ((z * d).T @ dy)).sum(0)  # (O,)
        dh = (dy * l) @ B.T  # (N, R)
        grads = {f"{name}.vera_lambda_b": dl, f"{name}.vera_lambda_d": (dh * z).sum(0)}
        if "x" not in step.wants(name):
            return dy, None, grads
        dz = dh * d
        return dy, step.ops.dropout_backward(dz @ A.T, mask), grads  # (N, I)

    def merge(self, weights, tensors):
        """W + A d B l for every target."""
        return {key: weights[key] + change for key, change in self._changes(weights, tensors)}

    def unmerge(self, weights, tensors):
        """W - A d B l: what `merge` was given, to rounding."""
        return {key: weights[key] - change for key, change in self._changes(weights, tensors)}

    def _changes(self, weights, tensors):
        for tensor in tensors:
            name = tensor.removesuffix(".vera_lambda_d")
            if name != tensor and self.acts_on(name):
                A, d, B, l = self.parts(name, *weights[f"{name}.weight"].shape, tensors)
                yield f"{name}.weight", (A * d) @ (B * l)


def projections(I, R, O, key):
    """A (I, R) uniform in +-sqrt(6/I) and B (R, O) uniform in +-sqrt(6/R): Kaiming's, from the key alone.

    Number by number what PEFT draws from the same key, so that its adapters stored without A and B can be
    read: PyTorch's generator is NumPy's RandomState, and a float32 takes the low 24 bits of each draw.
    """
    bits = np.random.RandomState(key)

    def uniform(rows, columns):
        bound = float(np.float32((6 / columns) ** 0.5))
        draws = bits.randint(0, 1 << 32, (rows, columns), dtype=np.uint32) & 0xFFFFFF
        return (draws * 2.0**-24 * (2 * bound) - bound).astype(np.float32)

    A = uniform(R, I).T  # PEFT draws it as (R, I), and B as (O, R)
    return {"vera_A": A, "vera_B": uniform(O, R).T}
