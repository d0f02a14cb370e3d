r"""The optimiser on a GPU: small tensors joined into one vector, so that one operation changes them all.

Clipping and AdamW of two hundred small tensors would be some thousand launches. Of one vector they are five.
Nothing here waits for the GPU: norm and loss are looked at when the update is under way, and the update
itself changes nothing where they are no finite numbers.

Both work on NumPy's arrays, too, and are tested there against `optim.clip_grads` and `optim.AdamW`.
"""

import math

import numpy as np

from ..backend import like, xp_of
from . import kernels

MOST_BYTES = 1 << 26  # more than this is not joined: to copy it would take longer than the launches


class Flat(dict):
    """{name: array}: views of one vector, a copy of the arrays, in the order of the names."""

    def __init__(self, arrays):
        arrays = dict(sorted(arrays.items()))
        xp = xp_of(next(iter(arrays.values())))
        self._vector = xp.concatenate([a.ravel() for a in arrays.values()])
        parts = xp.split(self._vector, np.cumsum([a.size for a in arrays.values()])[:-1])
        self._views = {
            name: part.reshape(arrays[name].shape) for name, part in zip(arrays, parts, strict=True)
        }
        super().__init__(self._views)

    def vector(self):
        """The vector; None where an array has come or gone or been put in the place of another since."""
        same = self.keys() == self._views.keys() and all(self[name] is a for name, a in self._views.items())
        return self._vector if same else None


def joined(arrays):
    """{name: array} as a `Flat` where that pays, on a GPU and of small arrays; else as they are."""
    first = next(iter(arrays.values()), None)
    if first is None or xp_of(first) is np or sum(a.nbytes for a in arrays.values()) > MOST_BYTES:
        return arrays
    return Flat(arrays)


def pieces(*dicts):
    """Of dicts with the same names, (name, the array in each); where all are joined, (None, the vectors)."""
    vectors = [d.vector() if isinstance(d, Flat) else None for d in dicts]
    if all(v is not None and d.keys() == dicts[0].keys() for v, d in zip(vectors, dicts, strict=True)):
        return [(None, *vectors)]
    return [(name, *(d[name] for d in dicts)) for name in dicts[0]]


def clip_grads(grads, max_norm, count):
    """See `optim.clip_grads`. -> the norm, a 0-d array."""
    arrays = [a for _, a in pieces(grads)]
    squares = [kernels.sum_squares(a.ravel()) for a in arrays]
    square = squares[0] if len(squares) == 1 else xp_of(arrays[0]).concatenate(squares).sum(keepdims=True)
    norm, factor = kernels.clip_factor(square, float(count), float(max_norm))
    for a in arrays:
        a *= factor.astype(a.dtype)
    return norm[0]


def adamw_step(optimizer, params, grads, apply):
    """See `optim.AdamW.step`. apply: a bool, or a 0-d array of one."""
    o, (b1, b2) = optimizer, optimizer.betas
    corrections = 1 - b1**o.t, math.sqrt(1 - b2**o.t)
    for name, g, p, m, v in pieces(grads, params, o.m, o.v):
        scale, decay = factors(o, grads, params) if name is None else (o.lr_scale(name), o.decay_of(p))
        kernels.adamw(g, scale, decay, o.learning_rate, b1, b2, *corrections, o.eps, apply, p, m, v)


def factors(optimizer, grads, params):
    """The factor on the rate, and the decay, of each number of a `Flat`; made at the first step."""
    if optimizer.factors is None:
        of = lambda f: np.concatenate([np.full(params[n].size, f(n), g.dtype) for n, g in grads.items()])
        each = optimizer.lr_scale, lambda name: optimizer.decay_of(params[name])
        optimizer.factors = [like(grads.vector(), of(f)) for f in each]
    return optimizer.factors
