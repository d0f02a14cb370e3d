r"""The bottleneck: a small MLP that reads a token's row and gives what is added to it.

    f(u) = s (act(u D + d) U + e)        u (N, C);  D (C, R), d (R,);  U (R, C), e (C,);  s a number or (C,)

Source: Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for NLP", section 2.1; s: He et al. 2022,
"Towards a Unified View of Parameter-Efficient Transfer Learning", section 4.5.

All that trains goes by the names of its parts: "down", "down_bias", "up", "up_bias", and "scaling" if s is
learned. Defaults and names as in AdapterHub's `adapters`, whose matrices are the transposes of these.
"""

import numpy as np

from ...errors import InputError, check_choice
from ...settings import check_range
from .activations import ACTIVATIONS, activation_backward, check_activation

INITS = ("bert", "mam_adapter", "houlsby")


def check_bottleneck(method):
    """Raise InputError where the settings that all bottlenecks share are bad."""
    factors = method.reduction_factor
    for factor in factors.values() if isinstance(factors, dict) else [factors]:
        check_range("reduction_factor", factor, least=0.001)
    if isinstance(factors, dict) and "default" not in factors:
        raise InputError('reduction_factor by layer needs a "default" for the other layers')
    if isinstance(factors, dict) and not all(isinstance(layer, str) for layer in factors):
        raise InputError('reduction_factor by layer has its numbers as words: {"0": 8, "default": 16}')
    if isinstance(method.scaling, str) and method.scaling not in ("learned", "channel"):
        raise InputError(f"scaling must be a number, 'learned' or 'channel', not {method.scaling!r}")
    check_choice("init_weights", method.init_weights, INITS)
    if not 0 <= method.dropout < 1:
        raise InputError(f"dropout must be at least 0 and below 1, not {method.dropout}")
    check_activation(method.non_linearity)


def bottleneck_width(C, layer, reduction_factor):
    """R = C / reduction_factor, at least 1. The factor may differ by layer: {"0": 8, "default": 16}."""
    if isinstance(reduction_factor, dict):
        reduction_factor = reduction_factor.get(str(layer), reduction_factor["default"])
    return max(1, int(C // reduction_factor))


def init_bottleneck(C, R, init_weights, scaling, rng):
    """The parts. "bert": N(0, 0.02). "houlsby": N(0, 0.01) cut off at 0.02. "mam_adapter": f = 0 at first."""
    if init_weights == "mam_adapter":
        down, up = rng.uniform(-(C**-0.5), C**-0.5, (C, R)), np.zeros((R, C))
    elif init_weights == "bert":
        down, up = rng.normal(0, 0.02, (C, R)), rng.normal(0, 0.02, (R, C))
    else:
        down, up = cut_normal(0.01, 0.02, (C, R), rng), cut_normal(0.01, 0.02, (R, C), rng)
    parts = {"down": down, "down_bias": np.zeros(R), "up": up, "up_bias": np.zeros(C)}
    if isinstance(scaling, str):
        parts["scaling"] = np.ones(C if scaling == "channel" else 1)
    return parts


def cut_normal(std, limit, shape, rng):
    """Normal numbers, drawn again where they lie outside +-limit."""
    x = rng.normal(0, std, shape)
    while (outside := np.abs(x) > limit).any():
        x[outside] = rng.normal(0, std, outside.sum())
    return x


def bottleneck(u, parts, non_linearity, scaling):
    """u (N, C) -> f(u) (N, C), an array of its own; the cache."""
    z = u @ parts["down"]  # (N, R)
    z += parts["down_bias"]
    a, slope = ACTIVATIONS[non_linearity](z)  # (N, R)
    g = a @ parts["up"]  # (N, C)
    g += parts["up_bias"]
    if "scaling" in parts:
        return g * parts["scaling"], (u, a, slope, g, parts, None)
    if scaling != 1:
        g *= scaling
    return g, (u, a, slope, None, parts, scaling)


def bottleneck_backward(df, cache, wants):
    """df (N, C) -> du (N, C) if "x" is wanted, else None; gradients of the parts if "weight" is."""
    u, a, slope, g, parts, scaling = cache
    s = parts.get("scaling", scaling)
    dg = df * s  # forward: f = s g
    dz = activation_backward(dg @ parts["up"].T, slope)  # forward: g = a U + e, a = act(z)
    du = dz @ parts["down"].T if "x" in wants else None  # forward: z = u D + d
    if "weight" not in wants:
        return du, {}
    grads = {"down": u.T @ dz, "down_bias": dz.sum(0), "up": a.T @ dg, "up_bias": dg.sum(0)}
    if g is not None:
        ds = (df * g).sum(0)  # (C,)
        grads["scaling"] = ds if len(s) > 1 else ds.sum(keepdims=True)
    return du, grads
