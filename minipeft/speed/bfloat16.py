r"""bfloat16: the upper half of a float32, 8 bits of precision in place of 24; here it is held as a uint16.

    r(a)    the nearest such number, of two that are as near the even one
    a b     the product of two is exact in a float32, and sums are made in float32

packed.py holds weights in it, and mixed_precision.py multiplies in it.
"""

from ..backend import xp_of
from . import cublas, kernels
from .fast import row_blocks
from .quantized import BLOCK_BYTES, Quantized


def rounded(a):
    """float32 -> bfloat16, as uint16: r(a)."""
    return kernels.upper_half(a.view("uint32"))


def rounded_weight(W):
    """`rounded`, some rows at a time: what it makes on the way is larger than W."""
    codes = xp_of(W).empty(W.shape, "uint16")
    for r in row_blocks(W, BLOCK_BYTES):
        codes[r] = rounded(W[r])
    return codes


def floats(codes):
    """bfloat16, as uint16 -> float32; exact."""
    return (codes.astype("uint32") << 16).view("float32")


def product(a, b):
    """a b of bfloat16, as uint16.  a (M, K), b (K, N) -> (M, N) float32. On a GPU by cuBLAS.

    NumPy has no such product: there the numbers become floats again, so nothing is gained but to see them.
    """
    return floats(a) @ floats(b) if xp_of(a).__name__ == "numpy" else cublas.product(a, b)


class BFloat16(Quantized):
    """A weight W (I, O) as codes (I, O), which lie as W: there is no scale to share."""

    kind, can_train = "bfloat16", True

    def __init__(self, W):
        super().__init__(W)
        self.codes = rounded_weight(W)

    def __getitem__(self, rows):
        return floats(self.codes[rows])

    @property
    def nbytes(self):
        """Bytes of the codes."""
        return self.codes.nbytes

    def scales(self):
        """There are none."""

    def _part(self, scales, outputs, inputs):
        return floats(self.codes[inputs, outputs]).T
