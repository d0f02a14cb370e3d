"""A method that acts at every site, in the simplest way that is not trivial: it tests the sites."""

from dataclasses import dataclass

import numpy as np

from minipeft.backend import like
from minipeft.methods.base import Method


@dataclass
class EverySite(Method):
    """P rows and P keys in front; scales at the input and output of linear layers; a gate on sublayers.

    What trains is the logarithm of half the scales, so that `start` and `finish` have something to do.
    """

    P: int = 2
    label: str = "a"

    @property
    def num_virtual_tokens(self):
        return 2 * self.P  # rows by `embed`, and keys

    def init(self, model, rng):
        C = model.config.n_embd
        tensors = {f"rows.{self.label}": rng.standard_normal((self.P, C))}
        for layer in range(model.config.n_layer):
            for kind in ("key", "value"):
                tensors[f"h.{layer}.attn.keys_values.{kind}_{self.label}"] = rng.standard_normal((self.P, C))
            for sublayer in ("attn", "mlp"):
                tensors[f"h.{layer}.{sublayer}.gate_{self.label}"] = rng.standard_normal(C)
        for name, (I, O) in model.config.linear_layers().items():
            tensors[f"{name}.input.log_{self.label}"] = 0.1 * rng.standard_normal(I)
            tensors[f"{name}.scale_{self.label}"] = 1 + 0.1 * rng.standard_normal(O)
        return tensors

    def start(self, tensors, step):
        mine = {n for n in tensors if n.endswith(f"log_{self.label}")}
        exped = {n: np.exp(t) if n in mine else t for n, t in tensors.items()}
        return exped, {n: exped[n] for n in mine}

    def finish(self, dtensors, cache):
        return {n: d * cache[n] if n in cache else d for n, d in dtensors.items()}

    def embed(self, x, layout, step):
        if not layout.fresh:
            return x, layout, None
        y, new = step.ops.prepend(step.tensors[f"rows.{self.label}"], x, layout.shifted(self.P))
        return y, new, layout

    def embed_backward(self, dx, cache, step):
        dx, drows = step.ops.prepend_backward(dx, self.P, cache)
        return dx, {f"rows.{self.label}": drows}

    def linear_input(self, name, x, step):
        return x * step.tensors[f"{name}.input.log_{self.label}"], (name, x)

    def linear_input_backward(self, dx, cache, step):
        name, x = cache
        key = f"{name}.input.log_{self.label}"
        return dx * step.tensors[key], {key: (dx * x).sum(0)}

    def linear(self, name, x, y, step):
        """y scale + mean(x): a second way to x."""
        key = f"{name}.scale_{self.label}"
        return y * step.tensors[key] + x.mean(1, keepdims=True), (key, x.shape[1], y)

    def linear_backward(self, dy, cache, step):
        key, width, y = cache
        dx = np.repeat(dy.sum(1, keepdims=True) / width, width, axis=1)
        return dy * step.tensors[key], dx, {key: (dy * y).sum(0)}

    def keys_values(self, layer, k, v, keys, x, step):
        """The prefix, and 0.1 x added to the keys of the rows that x has: a way to x."""
        name = f"h.{layer}.attn.keys_values"
        ends = zip(keys.spans, step.layout.lengths, strict=True)
        rows = like(k, np.concatenate([np.arange(end - n, end) for (_, end), n in ends]))
        k = k.copy()
        k[rows] += 0.1 * x
        new_k, new_keys = step.ops.prepend(step.tensors[f"{name}.key_{self.label}"], k, keys)
        new_v, _ = step.ops.prepend(step.tensors[f"{name}.value_{self.label}"], v, keys)
        return new_k, new_v, new_keys, (name, keys, rows)

    def keys_values_backward(self, dk, dv, cache, step):
        name, keys, rows = cache
        dk, dkey = step.ops.prepend_backward(dk, self.P, keys)
        dv, dvalue = step.ops.prepend_backward(dv, self.P, keys)
        grads = {f"{name}.key_{self.label}": dkey, f"{name}.value_{self.label}": dvalue}
        return dk, dv, 0.1 * dk[rows], grads

    def sublayer(self, name, x, h, step):
        """h gate + 0.1 x^2."""
        gate = step.tensors[f"{name}.gate_{self.label}"]
        return h * gate + 0.1 * x * x, (f"{name}.gate_{self.label}", x, h)

    def sublayer_backward(self, dh, cache, step):
        key, x, h = cache
        return dh * step.tensors[key], 0.2 * x * dh, {key: (dh * h).sum(0)}
