r"""The activations of bottleneck adapters, by the names of `transformers`: each f and, under it, f_backward.

a, slope = f(z)              z (N, R) -> a (N, R); slope = da/dz, all that the backward needs
dz = f_backward(da, slope)
"""

import math

import numpy as np

from ... import ops
from ...backend import xp_of
from ...errors import check_choice


def relu(z):
    """max(z, 0)."""
    slope = z > 0
    return z * slope, slope


def tanh(z):
    r"""$\tanh z$, slope $1 - \tanh^2 z$."""
    a = xp_of(z).tanh(z)
    return a, 1 - a * a


def swish(z):
    r"""SiLU: $z\,\sigma(z)$, slope $\sigma + z\,\sigma\,(1 - \sigma)$ (Ramachandran et al. 2017)."""
    sigma = sigmoid(z)
    a = z * sigma
    return a, sigma + a * (1 - sigma)


def gelu(z):
    r"""$z\,\Phi(z)$, $\Phi(z) = \tfrac12 (1 + \mathrm{erf}(z/\sqrt 2))$, slope $\Phi + z\,\phi(z)$; exact."""
    cdf = 0.5 * (1 + erf(z * 0.5**0.5))
    density = xp_of(z).exp(-0.5 * z * z) * (2 * math.pi) ** -0.5
    return z * cdf, cdf + z * density


def gelu_new(z):
    """GPT-2's own, the tanh form: see `ops.gelu`."""
    y, cache = ops.gelu(z, {"x"})
    return y, ops.gelu_backward(1, cache)


def identity(z):
    """z itself."""
    return z, 1


def activation_backward(da, slope):
    """dz = da slope, of every activation here."""
    return da * slope


ACTIVATIONS = {
    "relu": relu, "tanh": tanh, "swish": swish, "silu": swish, "gelu": gelu, "gelu_new": gelu_new,
    "linear": identity, None: identity,
}  # fmt: skip


def check_activation(name):
    """Raise InputError for a name that is no activation."""
    if name is not None:
        check_choice("non_linearity", name, [known for known in ACTIVATIONS if known])


def sigmoid(z):
    r"""$\sigma(z) = 1/(1 + e^{-z})$, as $\tfrac12 (1 + \tanh(z/2))$: that cannot overflow."""
    return 0.5 * (1 + xp_of(z).tanh(0.5 * z))


def erf(z):
    """The error function. NumPy has none: Python's, element by element, on a matrix as narrow as R."""
    if xp_of(z) is np:
        return np.vectorize(math.erf, otypes=[z.dtype])(z)
    from cupyx.scipy.special import erf as on_gpu

    return on_gpu(z)
