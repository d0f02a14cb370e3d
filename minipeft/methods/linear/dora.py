r"""DoRA: LoRA in the direction of each column of a weight, and a magnitude of its own for each.

    V = W + s A B                 W (I, O) frozen;  A (I, R), B (R, O) train
    n_j = |V_j|                   (O,): the length of column j
    g = m / n                     (O,);  m (O,) trains
    y = (x V) g + b               = x W' + b with columns W'_j = m_j V_j / |V_j|

Source: Liu et al. 2024, "DoRA: Weight-Decomposed Low-Rank Adaptation", eq. 5; `use_dora` in PEFT.

The gradient is NOT the derivative of the loss, by design (section 4.3 there, and PEFT): n is computed anew in
every step but is a constant in the backward, which saves a gradient of the size of V. The gradient of m is
the true one; in those of A and B the part that would shorten or lengthen V, and that dividing by n takes out
again, stays in. `minipeft.gradcheck` therefore holds n still while it moves A and B:
see `with_constants_held`.

With dropout PEFT drops inputs of the change alone: y = x W + b + (g - 1) (x~ W) + g s (x~ A) B, x~ = drop(x).
"""

from copy import copy
from dataclasses import dataclass, replace

import numpy as np

from ...backend import xp_of
from ...speed.quantized import dequantized
from ..base import Method, add_dx
from .lora import LoRA


@dataclass
class DoRA(LoRA):
    """The fields are LoRA's. In a chain DoRA comes before what else acts beside the same weight.

    GPT-2 small, r = 8 on c_attn: 322,560 parameters, 27,648 of them magnitudes.
    """

    about = replace(
        LoRA.about,
        name="dora",
        learning_rate=6e-3,
        small={"r": 2, "lora_alpha": 3, "target_modules": ("attn.c_attn", "mlp.c_proj")},
    )

    def init(self, model, rng):
        """A and B as in LoRA; room for m."""
        layers = self.checked_targets(model.config)
        return super().init(model, rng) | {magnitude(name): np.zeros(O) for name, (_, O) in layers.items()}

    def change_base(self, weights, tensors):
        """As LoRA's; m = n of what there is then, so that g = 1 and nothing changes at first."""
        rebased = super().change_base(weights, tensors)
        for name, n in self.norms(weights | rebased, tensors).items():
            tensors[magnitude(name)][...] = n
        return rebased

    def norms(self, weights, tensors):
        """{layer: n (O,)} of every target; one V at a time, for together they are as large as the model."""
        V = (
            (name, dequantized(weights[f"{name}.weight"]) + update) for name, update in self._updates(tensors)
        )
        return {name: xp_of(v).linalg.norm(v, axis=0) for name, v in V}

    def with_constants_held(self, weights, tensors):
        """This method with n as it is now, whatever A and B become: whose derivative the gradient is."""
        held, n = copy(self), self.norms(weights, tensors)
        held.norms = lambda weights, tensors: n
        return held

    def start(self, tensors, step):
        """m -> g = m / n, once per step; a site reads g under the name of m."""
        norms = self.norms(step.weights, tensors)
        scales = {magnitude(name): tensors[magnitude(name)] / n for name, n in norms.items()}
        return tensors | scales, norms

    def finish(self, dtensors, norms):
        """dm = dg / n; forward: g = m / n, n a constant."""
        dm = {magnitude(name): dtensors[magnitude(name)] / n for name, n in norms.items()}
        return dtensors | dm

    def linear(self, name, x, y, step):
        """y = x W + b (N, O) -> y - z + g (z + s (x~ A) B), z = x~ W; without dropout z = y - b."""
        if not self.acts_on(name):
            return y, None
        g, W, b = step.tensors[magnitude(name)], step.weights[f"{name}.weight"], step.weights[f"{name}.bias"]
        A, B = step.tensors[f"{name}.lora_A"], step.tensors[f"{name}.lora_B"]
        x, mask = step.ops.dropout(x, self.lora_dropout, step.rng)
        z, base = (y - b, None) if mask is None else step.ops.linear(x, W, 0, step.wants(name) - {"bias"})
        h = self.scaling(name) * (x @ A)  # (N, R)
        u = h @ B  # (N, O)
        u += z
        y -= z
        y += g * u
        return y, (name, x, h, u, g, A, B, mask, base) if step.grad_enabled else None

    def linear_backward(self, dy, cache, step):
        """forward: y += g u - z, u = z + h B, h = s x~ A, z = y - b or x~ W. So dz = du - dy."""
        if cache is None:
            return dy, None, {}
        name, x, h, u, g, A, B, mask, base = cache
        wants, dx = step.wants(name), None
        du = dy * g  # (N, O)
        dh = self.scaling(name) * (du @ B.T)  # (N, R)
        grads = {f"{name}.lora_A": x.T @ dh, f"{name}.lora_B": h.T @ du, magnitude(name): (dy * u).sum(0)}
        if "x" in wants:
            dx = dh @ A.T  # (N, I)
        if mask is None:  # z = y - b
            if "bias" in wants:
                grads[f"{name}.bias"] = (dy - du).sum(0)  # beside the du.sum(0) that passes through y
            return du, dx, grads  # dy + dz
        dx_z, own = step.ops.linear_backward(du - dy, base)  # z = x~ W
        grads |= {f"{name}.{kind}": d for kind, d in own.items()}
        return dy, step.ops.dropout_backward(add_dx(dx, dx_z), mask) if "x" in wants else None, grads

    def merge(self, weights, tensors):
        """W' = (W + s A B) g for every target, n of the unmerged W."""
        norms = self.norms(weights, tensors)
        return {
            f"{name}.weight": (weights[f"{name}.weight"] + update) * (tensors[magnitude(name)] / norms[name])
            for name, update in self._updates(tensors)
        }

    def unmerge(self, weights, tensors):
        """Raises InputError: a merged column does not tell n, the length that it had."""
        return Method.unmerge(self, weights, tensors)


def magnitude(name):
    """The tensor m of the layer `name`."""
    return f"{name}.lora_magnitude_vector"
