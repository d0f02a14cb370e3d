"""The parts of UniPELT: a prefix, LoRA and an adapter, each behind a gate. See `unipelt` for the formulas."""

from dataclasses import dataclass

import numpy as np

from ...backend import like, xp_of
from ...errors import InputError
from ..about import About
from ..base import Method
from ..keys_values.prefix_tuning import PrefixTuning
from ..sublayer.activations import sigmoid
from ..sublayer.adapter import Adapter
from ..sublayer.bottleneck import bottleneck, bottleneck_backward


def gate(u, w, c):
    """g = sigma(u w + c).  u (N, C), w (C,), c (1,) -> g (N, 1)."""
    g = sigmoid(u @ w + c)[:, None]
    return g, (u, w, g)


def gate_backward(dg, cache):
    """dg (N, 1) -> du (N, C), dw, dc; sigma' = g (1 - g)."""
    u, w, g = cache
    dz = dg * g * (1 - g)  # (N, 1)
    return dz * w, (u * dz).sum(0), dz.sum(0)


class GatedPrefix(PrefixTuning):
    """`PrefixTuning`, each sequence's prefix times its gate."""

    def init(self, model, rng):
        """The prefix; gates N(0, 0.02), their biases uniform in +-1/sqrt(C)."""
        C, tensors = model.config.n_embd, super().init(model, rng)
        for i in range(model.config.n_layer):
            tensors[f"h.{i}.attn.keys_values.gate"] = rng.normal(0, 0.02, C)
            tensors[f"h.{i}.attn.keys_values.gate_bias"] = rng.uniform(-(C**-0.5), C**-0.5, 1)
        return tensors

    def keys_values(self, layer, k, v, key_layout, x, step):
        """k, v (N, C) -> [g P_k ; k_s], [g P_v ; v_s]."""
        longer_k, longer_v, longer, inner = super().keys_values(layer, k, v, key_layout, x, step)
        if not key_layout.fresh:  # a KV cache has the prefix
            return k, v, key_layout, None
        name, P = f"h.{layer}.attn.keys_values", self.num_virtual_tokens
        w, c = step.tensors[f"{name}.gate"], step.tensors[f"{name}.gate_bias"]
        first = like(x, step.layout.first_rows)
        g, gated = gate(x[first], w, c)  # (S, 1)
        rows = like(k, np.concatenate([np.arange(a, a + P) for a, _ in longer.spans]))
        each = xp_of(g).repeat(g, P, axis=0)  # (S P, 1)
        longer_k[rows] *= each
        longer_v[rows] *= each
        return (
            longer_k,
            longer_v,
            longer,
            (inner, rows, each, first, x.shape, gated) if step.grad_enabled else None,
        )

    def keys_values_backward(self, dk, dv, cache, step):
        """forward: the prefix rows of a sequence are g times P_k, P_v."""
        inner, rows, each, first, shape, gated = cache
        name, P = inner[0], self.num_virtual_tokens
        P_k, P_v = step.tensors[f"{name}.prefix_key"], step.tensors[f"{name}.prefix_value"]
        by_sequence = lambda d: d[rows].reshape(-1, P, d.shape[1])  # (S, P, C)
        dg = (by_sequence(dk) * P_k + by_sequence(dv) * P_v).sum((1, 2))[:, None]  # (S, 1)
        du, dw, dc = gate_backward(dg, gated)
        dk, dv = dk.copy(), dv.copy()
        dk[rows] *= each
        dv[rows] *= each
        dk, dv, _, grads = super().keys_values_backward(dk, dv, inner, step)
        dx = xp_of(dk).zeros(shape, dk.dtype)
        dx[first] = du
        return dk, dv, dx, grads | {f"{name}.gate": dw, f"{name}.gate_bias": dc}


@dataclass
class GatedLoRA(Method):
    """LoRA beside q and v, each with A, B and a gate of its own in place of alpha / r."""

    about = About("gated_lora", section="updates")  # a part: it is in no list

    r: int = 8

    def init(self, model, rng):
        """A uniform in +-1/sqrt(C), B zero; gates N(0, 0.02), their biases as A."""
        if self.r < 1:
            raise InputError(f"UniPELT's rank r must be 1 or more, not {self.r}")
        C, tensors = model.config.n_embd, {}
        for part in [f"h.{i}.attn.c_attn.gated_{qv}" for i in range(model.config.n_layer) for qv in "qv"]:
            tensors |= {
                f"{part}_A": rng.uniform(-(C**-0.5), C**-0.5, (C, self.r)),
                f"{part}_B": np.zeros((self.r, C)),
                f"{part}_gate": rng.normal(0, 0.02, C),
                f"{part}_gate_bias": rng.uniform(-(C**-0.5), C**-0.5, 1),
            }
        return tensors

    def linear(self, name, x, y, step):
        """y (N, 3C): of its thirds q, k, v, the first and the last get g (x A) B."""
        if not name.endswith("attn.c_attn"):
            return y, None
        C, cache = x.shape[1], []
        for third, qv in ((slice(0, C), "q"), (slice(2 * C, 3 * C), "v")):
            part = f"{name}.gated_{qv}"
            A, B, w, c = (step.tensors[f"{part}_{t}"] for t in ("A", "B", "gate", "gate_bias"))
            g, gated = gate(x, w, c)  # (N, 1)
            h = x @ A  # (N, R)
            y[:, third] += (g * h) @ B
            cache.append((part, third, x, h, g, A, B, gated))
        return y, (name, cache) if step.grad_enabled else None

    def linear_backward(self, dy, cache, step):
        """forward: y += (g h) B, h = x A."""
        if cache is None:
            return dy, None, {}
        (name, parts), dx, grads = cache, 0, {}
        for part, third, x, h, g, A, B, gated in parts:
            dgh = dy[:, third] @ B.T  # (N, R)
            du, dw, dc = gate_backward((dgh * h).sum(1, keepdims=True), gated)
            dh = dgh * g
            grads |= {f"{part}_A": x.T @ dh, f"{part}_B": (g * h).T @ dy[:, third]}
            grads |= {f"{part}_gate": dw, f"{part}_gate_bias": dc}
            dx = dx + du + dh @ A.T
        return dy, dx if "x" in step.wants(name) else None, grads


class GatedAdapter(Adapter):
    """`Adapter`, f times the gate."""

    def init(self, model, rng):
        """The adapters; gates N(0, 0.02), their biases zero."""
        if self.dropout or isinstance(self.scaling, str):
            raise InputError("UniPELT's adapter has no dropout, and its scaling is a number")
        tensors = super().init(model, rng)
        for place in dict.fromkeys(name.rpartition(".")[0] for name in tensors):
            tensors[f"{place}.adapter_gate"] = rng.normal(0, 0.02, model.config.n_embd)
            tensors[f"{place}.adapter_gate_bias"] = np.zeros(1)
        return tensors

    def sublayer(self, name, x, h, step):
        """x, h (N, C) -> h + g f(u), u = x + h or h."""
        if not self.acts_at(name):
            return h, None
        u, parts = x + h if self.original_ln_before else h, self.parts_at(name, step.tensors)
        f, inner = bottleneck(u, parts, self.non_linearity, self.scaling)
        g, gated = gate(u, parts["gate"], parts["gate_bias"])
        return h + g * f, (name, f, inner, g, gated) if step.grad_enabled else None

    def sublayer_backward(self, dh, cache, step):
        """forward: h' = h + g f(u)."""
        if cache is None:
            return dh, None, {}
        name, f, inner, g, gated = cache
        du, dw, dc = gate_backward((dh * f).sum(1, keepdims=True), gated)
        du_f, parts = bottleneck_backward(dh * g, inner, {"x", "weight"})
        grads = {f"{name}.adapter_{part}": d for part, d in (parts | {"gate": dw, "gate_bias": dc}).items()}
        du = du + du_f
        return dh + du, du if self.original_ln_before else None, grads
