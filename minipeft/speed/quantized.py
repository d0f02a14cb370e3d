r"""Quantised weights: a frozen W (I, O) in 8 or 4 bits a number, made into floats a block at a time.

An operation multiplies by such a W as by an array: `x @ W`, `dy @ W.T`.

    int8   W[i, j] ~ s[j] q[i, j]           q = round(W / s) in -127 ... 127;  s[j] = max_i |W[i, j]| / 127
    nf4    W[i, j] ~ a[b, j] v[q[i, j]]     q in 0 ... 15, v[q] the value of `nf4_values` nearest to W / a;
                                            a[b, j] = max |W[i, j]| over a block of 64 inputs, b = i // 64

In int8 a column has one scale: Dettmers et al. 2022, "LLM.int8()", section 2.1, "vector-wise". NF4 is that of
QLoRA: Dettmers et al. 2023, section 3. There a is quantised as well ("double quantisation"):

    a ~ m + t[g] p        m the mean of W's a;  p in -127 ... 127;  t[g] = max |a - m| / 127 over 256 of them

so that a weight takes 4 + 8/64 + 32/(64 256) = 4.13 bits. QLoRA's p is an 8-bit float, here it is an integer.

What trains beside such a W has W's own type, and its gradient is exact: the derivative of the loss that the
model with the dequantised weights has. W itself cannot train: a code does not move by a little.
"""

from functools import lru_cache

import numpy as np

from ..backend import xp_of
from ..errors import InputError

BLOCK_BYTES = 1 << 21  # of floats at a time: more costs memory, less keeps BLAS from its full rate
NF4_BLOCK = 64  # weights that share an a
ABSMAX_GROUP = 256  # a's that share a t

# --------------------------------------------------------------------------------------------- the two kinds


class Held:
    """A frozen matrix W (I, O) in another form than an array: here, and in packed.py.

    shape, size, ndim, dtype  of the array that it stands for;  nbytes  what it takes itself
    kind  how it is held, in a word;  xp  `numpy`, or `cupy` on a GPU
    can_train  is W given back to what trains it?
    """

    kind, can_train = None, True
    __array_ufunc__ = None  # so that an array leaves `x @ W` to `__rmatmul__`

    def __init__(self, W):
        self.shape, self.size, self.ndim, self.dtype = W.shape, W.size, W.ndim, W.dtype
        self.xp = xp_of(W)

    def __len__(self):
        return self.shape[0]

    def __rmatmul__(self, x):
        return self.times(x)

    @property
    def T(self):
        """W^T, to multiply by: forward x W, so dx = dy W^T."""
        return Transposed(self)

    def times(self, x):
        """x W.  x (N, I) -> y (N, O)."""
        raise NotImplementedError

    def times_transposed(self, dy):
        """dy W^T.  dy (N, O) -> dx (N, I)."""
        raise NotImplementedError

    def plain(self):
        """W as an array (I, O)."""
        raise NotImplementedError

    def content(self):
        """What makes it this weight and no other, for a fingerprint."""
        return {name: value for name, value in vars(self).items() if name != "xp"}


class Transposed:
    """W^T (O, I) of a W (I, O) that is held in another form."""

    __array_ufunc__ = None

    def __init__(self, W):
        self.W = W

    def __rmatmul__(self, dy):
        return self.W.times_transposed(dy)


class Quantized(Held):
    """A matrix W (I, O) as codes and scales, which lie as those of W^T: what shares a scale lies together."""

    align, can_train = 1, False  # a block of rows begins at a multiple of `align`

    def times(self, x):
        """x W.  x (N, I) -> y (N, O). Each block of W's columns gives columns of y."""
        y = self.xp.empty((len(x), self.shape[1]), x.dtype)
        for s, columns in self.columns():
            self.xp.matmul(x, columns, out=y[:, s])
        return y

    def times_transposed(self, dy):
        """dy W^T.  dy (N, O) -> dx (N, I). Each block of W's rows gives columns of dx."""
        dx = self.xp.empty((len(dy), self.shape[0]), dy.dtype)
        for s, rows in self.rows():
            self.xp.matmul(dy, rows.T, out=dx[:, s])
        return dx

    def plain(self):
        """W as an array (I, O)."""
        plain = self.xp.empty(self.shape, self.dtype)
        for s, columns in self.columns():
            plain[:, s] = columns
        return plain

    def columns(self):
        """(slice s, W[:, s] in floats), one after another; on a GPU all columns at once."""
        scales = self.scales()
        for s in self._blocks(self.shape[1], self.shape[0]):
            yield s, self._part(scales, s, slice(0, self.shape[0])).T

    def rows(self):
        """(slice s, W[s] in floats), the same."""
        scales = self.scales()
        for s in self._blocks(self.shape[0], self.shape[1], self.align):
            yield s, self._part(scales, slice(0, self.shape[1]), s).T

    def _blocks(self, n, across, align=1):
        fit = BLOCK_BYTES // (across * self.dtype.itemsize) // align * align
        step = max(fit, align) if self.xp is np else n
        return [slice(i, min(i + step, n)) for i in range(0, n, step)]

    def scales(self):
        """What each part of W is multiplied by, as floats."""
        raise NotImplementedError

    def _part(self, scales, outputs, inputs):
        """W^T[outputs, inputs] in floats; the slice `inputs` begins at a multiple of `align`."""
        raise NotImplementedError


class Int8(Quantized):
    """codes (O, I) int8;  scale (O, 1) float32."""

    kind = "int8"

    def __init__(self, W):
        super().__init__(W)
        xp, (I, O) = xp_of(W), W.shape
        self.codes, self.scale = xp.empty((O, I), "int8"), xp.empty((O, 1), "float32")
        for s in self._blocks(O, I):
            columns = W[:, s].T
            self.scale[s] = no_zeros(abs(columns).max(1, keepdims=True) / 127)
            self.codes[s] = xp.rint(columns / self.scale[s])

    @property
    def nbytes(self):
        """Bytes of codes and scales."""
        return self.codes.nbytes + self.scale.nbytes

    def scales(self):
        """s (O, 1)."""
        return self.scale

    def _part(self, scales, outputs, inputs):
        W = self.codes[outputs, inputs].astype(self.dtype)
        W *= scales[outputs]
        return W


class NF4(Quantized):
    """codes (O, 32 B) uint8, 16 q + the next q; B = I / 64 blocks in a column, the last filled up with zeros.

    p (G, 256) int8, t (G, 1) float32 and m, a float32: the double quantisation of a (O, B), laid out flat.
    """

    kind = "nf4"
    align = NF4_BLOCK

    def __init__(self, W):
        super().__init__(W)
        xp, (I, O) = xp_of(W), W.shape
        B = -(-I // NF4_BLOCK)
        self.codes, a = xp.empty((O, B * NF4_BLOCK // 2), "uint8"), xp.empty((O, B), "float32")
        for s in self._blocks(O, I):
            columns = xp.zeros((s.stop - s.start, B, NF4_BLOCK), W.dtype)
            columns.reshape(len(columns), -1)[:, :I] = W[:, s].T
            a[s] = abs(columns).max(2)
            columns /= no_zeros(a[s])[:, :, None]
            q = nearest(columns).reshape(len(columns), -1, 2)
            self.codes[s] = 16 * q[:, :, 0] + q[:, :, 1]
        self.m = a.mean()
        groups = xp.zeros((-(-a.size // ABSMAX_GROUP), ABSMAX_GROUP), "float32")
        groups.reshape(-1)[: a.size] = a.reshape(-1) - self.m
        self.t = no_zeros(abs(groups).max(1, keepdims=True) / 127)
        self.p = xp.rint(groups / self.t).astype("int8")

    @property
    def nbytes(self):
        """Bytes of codes, p, t and m."""
        return sum(part.nbytes for part in (self.codes, self.p, self.t, self.m))

    def scales(self):
        """a (O, B) = m + t p: a 64th as many as there are weights, so all at once."""
        a, O = self.p * self.t, self.shape[1]
        a += self.m
        blocks = self.codes.shape[1] * 2 // NF4_BLOCK
        return a.reshape(-1)[: O * blocks].reshape(O, blocks)

    def _part(self, scales, outputs, inputs):
        begin, end = inputs.start // NF4_BLOCK, -(-inputs.stop // NF4_BLOCK)
        codes = self.codes[outputs, begin * NF4_BLOCK // 2 : end * NF4_BLOCK // 2]
        W = xp_of(codes).take(pairs(xp_of(codes), self.dtype), codes, axis=0)  # a byte -> two values
        W = W.reshape(len(codes), end - begin, NF4_BLOCK)
        W *= scales[outputs, begin:end, None]
        return W.reshape(len(codes), -1)[:, : inputs.stop - inputs.start]


KINDS = {"int8": Int8, "nf4": NF4}

# ------------------------------------------------------------------------------------------- NF4's 16 values


@lru_cache(maxsize=1)
def nf4_values():
    """The 16 values of a 4-bit NormalFloat, from -1 to 1 (QLoRA, section 3 and appendix E), in float64.

    They are quantiles of a normal distribution, so that normal weights use all codes about equally often:
    8 above zero and 7 below, each side evenly spaced in probability, and zero itself, which must be exact.
    """
    from statistics import NormalDist

    last = 0.9677083  # 1 - (1/30 + 1/32) / 2, to the digits of the authors' code: the end of both sides
    quantiles = lambda n: [NormalDist().inv_cdf(p) for p in np.linspace(0.5, last, n + 1)[1:]]
    values = np.array([*(-q for q in reversed(quantiles(7))), 0, *quantiles(8)])
    return values / values[-1]


@lru_cache(maxsize=4)
def pairs(xp, dtype):
    """(256, 2): the two values that a byte of codes stands for."""
    values, byte = xp.asarray(nf4_values(), dtype=dtype), xp.arange(256)
    return xp.stack([values[byte // 16], values[byte % 16]], axis=1)


def nearest(x):
    """The code of the value nearest to each x, uint8."""
    values = nf4_values()
    between = xp_of(x).asarray((values[1:] + values[:-1]) / 2, dtype=x.dtype)
    return xp_of(x).searchsorted(between, x).astype("uint8")


# ------------------------------------------------------------------------------------------------ in general


def dequantized(W):
    """W as a plain array (I, O), whatever form it is held in; an array as it is."""
    return W.plain() if isinstance(W, Held) else W


def requantized(new, W):
    """The plain array `new` in the form that W has: quantised in the same way, or as it is."""
    return type(W)(new) if isinstance(W, Held) else new


def check_can_train(weights, names):
    """Raise InputError for the first of these weights that is in 8 or 4 bits."""
    for name in names:
        if isinstance(weights[name], Held) and not weights[name].can_train:
            raise InputError(
                f"{name} is {weights[name].kind} and cannot train: take the base without quantisation, or a "
                "method that trains what is beside the linear layers' weights (LoRA, adapters, biases, ...)"
            )


def no_zeros(scale):
    """1 where a scale is 0, for there is nothing to scale."""
    return scale + (scale == 0)
