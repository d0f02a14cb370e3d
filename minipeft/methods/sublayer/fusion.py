r"""AdapterFusion: attention over several trained adapters, which stay as they are.

    h' = h + sum_i p_i (a_i V)        a_i = f_i(u) (N, C), what adapter i of K gives;  u = x + h (or h) (N, C)
    p = softmax_i(q . k_i)            q = u Q + b (N, C);  k_i = a_i W + c (N, C);  p (N, K)

    Q, W, V (C, C), b, c (C,) train.  c adds the same number to every q . k_i, so p does not depend on it.

Source: Pfeiffer et al. 2021, "AdapterFusion: Non-Destructive Task Composition for Transfer Learning",
section 3.2; as AdapterHub's `adapters` has it on GPT-2: without 1/sqrt(C), and with the residual connection
outside the a_i.
Not here: the paper's penalty 0.01 |V - 1|^2, a term of the loss; the loss here is the model's alone. (In the
library, too, only its own trainer adds it.)
"""

from dataclasses import dataclass, field, replace

import numpy as np

from ...backend import to_host, xp_of
from ...errors import InputError
from ...settings import check_fields
from ..about import About
from ..base import Method
from .adapter import Adapter, Houlsby
from .bottleneck import bottleneck, bottleneck_backward


@dataclass
class AdapterFusion(Method):
    """adapters: {name: the Adapter it is}; their tensors come from `of`. value: V; False: "static", without.

    GPT-2 small: 21,252,096 parameters that train, 17.1 %, beside the adapters', which do not.
    """

    about = About(
        "fusion", compared=False, section="edits", adapterhub=True, factors=(("_down",), ("_up",)),
        small={"adapters": {"a": Adapter(reduction_factor=4), "b": Adapter(reduction_factor=6)}},
    )  # fmt: skip

    adapters: dict[str, Adapter] = field(default_factory=dict)
    value: bool = True

    trained = None  # {tensor: array} of the adapters; None: `init` draws them, for a file to be read into

    def __post_init__(self):
        if not isinstance(self.adapters, dict):
            raise InputError("AdapterFusion: adapters must be {name: Adapter}, or come from AdapterFusion.of")
        for name, adapter in self.adapters.items():
            if isinstance(adapter, dict):  # as a file has it
                adapter = Adapter(**adapter)
            if not isinstance(adapter, Adapter):
                raise InputError(f"AdapterFusion: {name!r} is no Adapter: {adapter!r}")
            adapter = replace(adapter)
            adapter.label = f"fused_{name}"  # "h.3.mlp.fused_food_down"
            self.adapters = self.adapters | {name: adapter}
        check_fields(self)

    @classmethod
    def of(cls, models, **settings):
        """The fusion of the adapters of {name: PeftModel}, each with an Adapter alone, on one base."""
        if wrong := [name for name, peft in models.items() if not isinstance(peft.method, Adapter)]:
            raise InputError(f"AdapterFusion: the model {wrong[0]!r} has no Adapter, or not alone")
        fusion = cls({name: peft.method for name, peft in models.items()}, **settings)
        fusion.trained = {
            key.replace(f".{peft.method.label}_", f".fused_{name}_"): to_host(t).copy()
            for name, peft in models.items()
            for key, t in peft.tensors.items()
        }
        return fusion

    def init(self, model, rng):
        """The adapters; Q, W N(0, 0.02), b, c zero, V almost 1. Raises InputError if the adapters differ."""
        if not self.adapters:
            raise InputError("AdapterFusion needs trained adapters: AdapterFusion.of({name: model, ...})")
        if wrong := [name for name, a in self.adapters.items() if type(a) not in (Adapter, Houlsby)]:
            raise InputError(f"AdapterFusion: {wrong[0]!r} does not follow a sublayer as an Adapter does")
        first, *others = self.adapters.values()
        for key in ("mh_adapter", "output_adapter", "leave_out", "original_ln_before"):
            if any(getattr(a, key) != getattr(first, key) for a in others):
                raise InputError(f"AdapterFusion: the adapters must agree in {key}")
        C, tensors = model.config.n_embd, {}
        for adapter in self.adapters.values():
            tensors |= adapter.init(model, rng)
        if self.trained is not None:
            shapes = [{key: t.shape for key, t in each.items()} for each in (tensors, self.trained)]
            if shapes[0] != shapes[1]:
                raise InputError("AdapterFusion: the adapters were trained on a model of another shape")
            tensors = dict(self.trained)
        for place in dict.fromkeys(key.partition(".fused_")[0] for key in tensors):  # a name may have a dot
            for part in ("query", "key"):
                tensors[f"{place}.fusion_{part}"] = rng.normal(0, 0.02, (C, C))
                tensors[f"{place}.fusion_{part}_bias"] = np.zeros(C)
            if self.value:
                tensors[f"{place}.fusion_value"] = np.where(np.eye(C), 1.0, 1e-6)
        return tensors

    def optimizer_changes(self, name):
        """All but the adapters' tensors."""
        return ".fused_" not in name

    def sublayer(self, name, x, h, step):
        """x, h (N, C) -> h + sum_i p_i (a_i V).

        The sum over adapters is taken before V, and q . (a_i W) as (q W^T) . a_i: each matrix is used once,
        however many adapters there are.
        """
        first = next(iter(self.adapters.values()))
        if not first.acts_at(name):
            return h, None
        xp = xp_of(h)
        t = {
            part: step.tensors.get(f"{name}.fusion_{part}")
            for part in ("query", "query_bias", "key", "value")
        }
        u = x + h if first.original_ln_before else h
        a, inner = [], []
        for adapter in self.adapters.values():
            f, cache = bottleneck(
                u, adapter.parts_at(name, step.tensors), adapter.non_linearity, adapter.scaling
            )
            a.append(f)
            inner.append(cache)
        a = xp.stack(a, 1)  # (N, K, C)
        q = u @ t["query"] + t["query_bias"]  # (N, C)
        w = q @ t["key"].T  # (N, C)
        s = (a @ w[:, :, None])[:, :, 0]  # (N, K)
        p = xp.exp(s - s.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        z = (p[:, None] @ a)[:, 0]  # (N, C)
        out = z @ t["value"] if self.value else z
        out += h
        return out, (name, u, a, inner, q, w, p, z, t) if step.grad_enabled else None

    def sublayer_backward(self, dh, cache, step):
        """dh' (N, C) -> dh, dx."""
        if cache is None:
            return dh, None, {}
        name, u, a, inner, q, w, p, z, t = cache
        grads = {}
        dz = dh
        if self.value:  # forward: h' = h + z V
            grads["value"] = z.T @ dh
            dz = dh @ t["value"].T
        dp = (a @ dz[:, :, None])[:, :, 0]  # forward: z = sum_i p_i a_i
        ds = p * (dp - (dp * p).sum(1, keepdims=True))  # (N, K)
        dw = (ds[:, None] @ a)[:, 0]  # forward: s_i = w . a_i
        dq = dw @ t["key"]  # forward: w = q W^T
        grads |= {"key": dw.T @ q, "query": u.T @ dq, "query_bias": dq.sum(0)}
        grads["key_bias"] = xp_of(dh).zeros_like(grads["query_bias"])
        grads = {f"{name}.fusion_{part}": g for part, g in grads.items()}
        du = dq @ t["query"].T  # forward: q = u Q + b
        for i, c in enumerate(inner):
            da = p[:, i : i + 1] * dz + ds[:, i : i + 1] * w
            du += bottleneck_backward(da, c, {"x"})[0]
        first = next(iter(self.adapters.values()))
        return dh + du, du if first.original_ln_before else None, grads
