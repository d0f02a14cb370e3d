r"""Packed weights: a frozen W (I, O) brought into the order of the processor once, not in every product.

An operation multiplies by such a W as by an array: `x @ W`, `dy @ W.T`.

    float32     W as it is, packed by MKL (mkl.py). Without MKL a weight stays the array that it was.
    bfloat16    half of each float32 (bfloat16.py), so half the memory.
                Where the processor multiplies bfloat16 itself, and MKL is there, packed; x is rounded in the
                same way, products are exact, sums are in float32. Elsewhere a block of W at a time is made
                into floats, as in quantized.py, and x is not rounded.

A packing is made when it is first asked for, one for x W and another for dy W^T: what only generates has one,
and a layer below all that trains, too. From then on W itself is let go. Who asks for it gets it back from a
packing, as the product 1 W: exactly, for 1 w + 0 + ... + 0 is w (only -0 comes back as 0).

A wte that is the head, too, is also looked up in, `W[ids]`: it stays an array in float32, and in bfloat16 its
codes stay beside the packing. What trains is given W, and is an array.
"""

import sys
from functools import lru_cache, partial
from threading import Lock

import numpy as np

from ..backend import xp_of
from ..errors import InputError, check_choice
from . import mkl
from .bfloat16 import BFloat16, floats, rounded, rounded_weight
from .parallel import num_threads
from .quantized import Held

KINDS = ("float32", "bfloat16")

# ------------------------------------------------------------------------------------------ packed by MKL


class Packed(Held):
    """W (I, O) in float32, packed at the first product."""

    kind, itemsize, stays = "float32", 4, False

    def __init__(self, W):
        super().__init__(W)
        self.W = W
        self.packings, self.lock = {}, Lock()  # {is it that of W^T?: Packing}; shards ask at the same time

    @property
    def nbytes(self):
        """Bytes of the numbers that are in memory, in whatever order; MKL fills up some rows besides."""
        copies = len(self.packings) + (self.W is not None)
        return copies * self.size * self.itemsize

    def times(self, x):
        """x W.  x (N, I) -> y (N, O)."""
        return self._product(x, transposed=False)

    def times_transposed(self, dy):
        """dy W^T.  dy (N, O) -> dx (N, I)."""
        return self._product(dy, transposed=True)

    def plain(self):
        """W as an array (I, O): as it was kept, or as the product of 1 with a packing."""
        W = self.W
        if W is not None:
            return self._as_floats(W)
        transposed = next(iter(self.packings))
        one = np.eye(self.shape[transposed], dtype=self.dtype)
        product = self._product(one, transposed)  # W, or W^T
        return np.ascontiguousarray(product.T) if transposed else product

    def content(self):
        """W, whatever of it is packed by now: what comes out of a packing has no -0, so +0 stands for it."""
        return {"W": self.plain() + 0}

    def _product(self, x, transposed):
        if transposed not in self.packings:
            self._pack(transposed)
        return mkl.library().product(self._stored(x), self.packings[transposed])

    def _pack(self, transposed):
        with self.lock:
            if transposed in self.packings:  # another thread was here first
                return
            W = self._stored(self.plain()) if self.W is None else self.W
            self.packings[transposed] = mkl.library().pack(W, transposed)
            if not self.stays:
                self.W = None

    def _stored(self, a):
        """An array of floats as it is packed and multiplied."""
        return a

    def _as_floats(self, a):
        return a


class PackedBFloat16(Packed):
    """The same in bfloat16, as uint16.  lookup: are rows of W asked for, `W[ids]`? Then it stays."""

    kind, itemsize = "bfloat16", 2

    def __init__(self, W, lookup=False):
        super().__init__(W)
        self.W, self.stays = rounded_weight(W), lookup

    def __getitem__(self, rows):
        return floats(self.W[rows])

    def _stored(self, a):
        return rounded(a)

    def _as_floats(self, a):
        return floats(a)


# ------------------------------------------------------------------------------------------------ in general


def packer(kind, like_array):
    """The class that makes a weight like this array into one of that kind.

    None where arrays are to stay as they are: float32 without MKL, or on a GPU. Raises InputError for a kind
    that is not known, and for arrays of another type than float32.
    """
    check_choice("base", kind, KINDS)
    if like_array.dtype != np.float32:
        raise InputError(
            f"a base of {like_array.dtype} is not packed as {kind}: gradient checks need all of its digits; "
            "load the model in float32"
        )
    if xp_of(like_array) is not np:
        return BFloat16 if kind == "bfloat16" else None
    if kind == "bfloat16" and not mkl.processor_multiplies_bfloat16():
        return BFloat16
    if mkl.library() is None:
        say_what_is_missing(kind)
        return BFloat16 if kind == "bfloat16" else None
    mkl.use_threads(num_threads(), everywhere=True)
    return Packed if kind == "float32" else PackedBFloat16


def table_packer(make):
    """What packs a wte that is the head, too, where `make` packs the others; None: it stays an array."""
    return {Packed: None, PackedBFloat16: partial(PackedBFloat16, lookup=True)}.get(make, make)


@lru_cache
def say_what_is_missing(kind):
    """One line on stderr, once a process."""
    now = {
        "float32": "the weights stay as they are, and each product packs them anew",
        "bfloat16": "the weights are made into float32 for every product, although the processor need not",
    }[kind]
    print(f"minipeft: {now}: `pip install 'minipeft[mkl]'` has them packed once", file=sys.stderr)
