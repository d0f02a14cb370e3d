r"""Parallel adapter: a small MLP beside the MLP of every layer.

    h' = h + s f(x)                      x (N, C) the residual stream before the MLP, h (N, C) what it adds
    f(u) = relu(u D + d) U + e           D (C, R), d (R,);  U (R, C), e (C,);  R = C / 2;  s = 4

Source: He et al. 2022, "Towards a Unified View of Parameter-Efficient Transfer Learning", table 1, "scaled
PA". Defaults and names as in AdapterHub's `adapters` ("par_bn"), which on GPT-2 reads x as it is; the MLP
beside it reads ln_2(x).
"""

from dataclasses import dataclass, replace

from .adapter import Adapter
from .bottleneck import bottleneck, bottleneck_backward


@dataclass
class ParallelAdapter(Adapter):
    """The fields are those of `Adapter`, with other defaults; original_ln_before says nothing here.

    U is zero, so that nothing changes at first. scaling "learned" or "channel": s trains, from 1, not 4.

    GPT-2 small: 7,091,712 parameters, 5.70 %.
    """

    about = replace(
        Adapter.about, name="parallel_adapter", recipe=("reduction_factor=8",), learning_rate=6e-3, small={}
    )

    reduction_factor: float | dict[str, float] = 2
    original_ln_before: bool = False
    scaling: float | str = 4.0
    init_weights: str = "mam_adapter"

    label = "parallel"

    def sublayer(self, name, x, h, step):
        """x, h (N, C) -> h + s f(x)."""
        if not self.acts_at(name):
            return h, None
        f, inner = bottleneck(x, self.parts_at(name, step.tensors), self.non_linearity, self.scaling)
        f, mask = step.ops.dropout(f, self.dropout, step.rng)
        h += f
        return h, (name, inner, mask) if step.grad_enabled else None

    def sublayer_backward(self, dh, cache, step):
        """forward: h' = h + s f(x): all of dh goes to h, and by way of f to x."""
        if cache is None:
            return dh, None, {}
        name, inner, mask = cache
        wants = step.wants(name) | {"weight"}
        dx, parts = bottleneck_backward(step.ops.dropout_backward(dh, mask), inner, wants)
        return dh, dx, {f"{name}.{self.label}_{part}": g for part, g in parts.items()}
