r"""Operations whose products are of bfloat16: the names and arguments of ops.py; `--ops bfloat16`.

    y  = r(x) r(W) + b              r: rounded to bfloat16 (bfloat16.py)
    dx = r(dy) r(W)^T,  dW = r(x)^T r(dy)

These are the linear layers and the head, forward and backward. Sums are in float32, and so is all that is
kept from one step to the next: weights that train ("master weights": Micikevicius et al. 2018, "Mixed
Precision Training", section 3.1), gradients, the optimizer. bfloat16 has the range of float32, so no loss is
scaled. Everything else is float32 as in gpu.py: attention's many small products, an adapter's own, softmax.

A GPU has units of its own for such products. On NumPy's arrays they are there to see what the rounding does
to a training, on any machine: they are slower than those of float32.
"""

from .. import ops
from ..backend import xp_of
from . import fast, gpu
from .bfloat16 import BFloat16, product, rounded
from .gpu import (  # noqa: F401 - as they are
    attention,
    attention_backward,
    attention_weights,
    dropout,
    dropout_backward,
    embedding,
    embedding_backward,
    gelu,
    gelu_backward,
    in_chunks,
    layer_norm,
    layer_norm_backward,
    linear_backward,
    prepend,
    prepend_backward,
)
from .quantized import Held


class Rounded:
    """A matrix whose products, `x @ W`, `W @ x`, `x @ W.T`, are of bfloat16: both sides are rounded.

    matrix: an array; or a weight in another form; or what is rounded already, as uint16.
    It is rounded when it is multiplied, so nothing is kept but the matrix.
    """

    __array_ufunc__ = None  # so that an array leaves `x @ W` to `__rmatmul__`

    def __init__(self, matrix, transposed=False):
        self.matrix, self.transposed, self.xp = matrix, transposed, xp_of(matrix)

    def __len__(self):
        return self.matrix.shape[1 if self.transposed else 0]

    @property
    def T(self):
        """The transpose."""
        return Rounded(self.matrix, not self.transposed)

    def __matmul__(self, other):
        return product(codes(self), codes(other))

    def __rmatmul__(self, other):
        return product(codes(other), codes(self))


def codes(a):
    """Of an array, a weight in another form, or a `Rounded`: its numbers in bfloat16, as uint16."""
    if isinstance(a, Rounded):
        return codes(a.matrix).T if a.transposed else codes(a.matrix)
    if isinstance(a, BFloat16):
        return a.codes
    if isinstance(a, Held):  # in 8 or 4 bits, or packed
        return rounded(a.plain())
    return a if a.dtype == "uint16" else rounded(a)


# ------------------------------------------------------------------- the plain formulas, of such matrices


def linear(x, W, b, wants=frozenset()):
    """See `ops.linear`, whose backward serves here, too. What is kept of x is rounded: half of it."""
    return ops.linear(Rounded(rounded(x)), Rounded(W), b, wants)


def lm_logits(x, W):
    """See `ops.lm_logits`."""
    return ops.lm_logits(x, Rounded(W))


def lm_scores(x, W, labels):
    """See `ops.lm_scores`; rows go through in chunks."""
    return fast.lm_scores(x, Rounded(W), labels)


def lm_loss(x, W, labels, wants=frozenset()):
    """See `ops.lm_loss`; rows go through in chunks."""
    return _lm_loss(x, labels, W=Rounded(W), wants=wants)


_lm_loss, lm_loss_backward = in_chunks(
    lambda x, labels, W, wants: gpu.lm_loss_of(Rounded(rounded(x)), labels, W, wants),
    gpu.lm_loss_of_backward,
)
