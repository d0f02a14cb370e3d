r"""Kernels for a GPU, each with its NumPy twin: elementwise steps, or a sum over rows, in one launch.

    @elementwise("T u", "T y, T slope", "...what one thread computes, in CUDA's C++...")
    def gelu_and_slope(u): ...the same for whole arrays, in NumPy...

What is called with NumPy's arrays runs the function; with CuPy's, the kernel. So each can be tested without a
GPU, and the two can be compared where there is one. (CuPy would run each step by itself: a launch each, and
each reads and writes all of its arrays.) T is the floating-point type of the arrays.

Letters as in ops.py; shapes of what is reduced are (..., n) -> (..., 1).
"""

from functools import cache, partial, wraps

import numpy as np

from ..backend import xp_of
from ..ops import GELU_A, GELU_K

LOWEST = -1e38  # below any score, and a float32
TWINS = {}  # {name of a kernel: its NumPy twin}

# --------------------------------------------------------------------- a kernel and its twin, one function


def elementwise(takes, gives, operation):
    """Give the function below a kernel: `operation` computes one number of each array it `gives`.

    Arrays of different shapes are broadcast. Given more arrays than it `takes`, it writes into these.
    """
    return partial(with_kernel, "ElementwiseKernel", (takes, gives, operation), {})


def over_rows(takes, gives, each, joined, result, first, kept_in="T"):
    """Give the function below a kernel over the last axis: `each` number, two `joined`, and their `result`.

    first: what joins with any number and changes nothing; kept_in: the type in which it adds up.
    """
    text = (takes, gives, each, joined, result, first)
    return partial(with_kernel, "ReductionKernel", (*text, kept_in), {"axis": -1, "keepdims": True})


def with_kernel(kind, text, options, twin):
    """`twin` for NumPy's arrays, the kernel for CuPy's; the first argument decides."""
    TWINS[twin.__name__] = twin

    @wraps(twin)
    def run(*arrays):
        xp = xp_of(arrays[0])
        return twin(*arrays) if xp is np else compiled(xp, kind, text, twin.__name__)(*arrays, **options)

    return run


@cache
def compiled(xp, kind, text, name):
    """CuPy's kernel, made once; it is compiled for each type when that is first seen."""
    if kind == "ReductionKernel":
        *text, kept_in = text
        return xp.ReductionKernel(*text, name=name, reduce_type=kept_in)
    return xp.ElementwiseKernel(*text, name=name)


# ------------------------------------------------------------------------------------- rows and columns


@elementwise(
    "raw T x, int64 row, int64 col", "T y", "ptrdiff_t at[] = {row, col}; y = row < 0 ? T(0) : x[at];"
)
def pick(x, row, col):
    """y = x[row, col], and 0 where row is -1.  x (N, C); row and col of any shapes that go together."""
    return np.where(row < 0, x.dtype.type(0), x[np.maximum(row, 0), col])


@elementwise(
    "raw int64 ids, int64 n", "bool first, int64 next",
    """first = true;
       for (ptrdiff_t m = 0; m < n && first; ++m) first = ids[m] != ids[n];
       next = -1;
       for (ptrdiff_t m = n + 1; m < _ind.size() && next < 0; ++m) if (ids[m] == ids[n]) next = m;""",
)  # fmt: skip
def same_ids(ids, n):
    """Of each row: is it the first with its id, and which is the next one with it, -1: none.

    ids and n (N,), n: 0, 1, ... A thread looks through all rows: N^2 comparisons, no sort, no waiting.
    """
    order = np.argsort(ids, kind="stable")
    before, after = order[:-1], order[1:]
    same = ids[before] == ids[after]
    first, following = np.ones(len(ids), dtype=bool), np.full(len(ids), -1)
    first[after[same]], following[before[same]] = False, after[same]
    return first, following


@elementwise(
    "raw T dy, raw int64 next, bool first, int64 id, int64 n, int64 col", "raw T total",
    """if (first) {
           T sum = 0;
           for (ptrdiff_t m = n; m >= 0; m = next[m]) { ptrdiff_t at[] = {m, col}; sum += dy[at]; }
           ptrdiff_t at[] = {id, col};
           total[at] = sum;
       }""",
)  # fmt: skip
def add_same(dy, next, first, id, n, col, total):
    """total[id] = the rows of dy with this id, added up from the first to the last.

    dy (N, C), next (N,), first, id and n (N, 1), col (C,) -> into total (V, C).
    """
    total[id[:, 0]] = 0
    np.add.at(total, id[:, 0], dy)  # on a host in their order


# ------------------------------------------------------------------------------------------- bfloat16


@elementwise(
    "uint32 bits", "uint16 code",
    "code = (bits & 0x7FFFFFFF) > 0x7F800000 ? 0x7FC0 : (bits + 0x7FFF + (bits >> 16 & 1)) >> 16",
)  # fmt: skip
def upper_half(bits):
    """The bits of float32 -> those of the nearest bfloat16, of two as near the even one.

    Of NaN it is NaN: the sum would run over from a GPU's, 0x7FFFFFFF, and be -0.
    """
    code = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("uint16")
    code[(bits & 0x7FFFFFFF) > 0x7F800000] = 0x7FC0
    return code


# ----------------------------------------------------------------------------------------- layer norm


@over_rows(
    "T x, T mu", "T var", "(x - mu) * (x - mu)", "a + b", "var = a / (_in_ind.size() / _out_ind.size())", "0"
)
def variance(x, mu):
    r"""$\sigma^2 = \overline{(x - \mu)^2}$.  x (N, C), mu (N, 1) -> (N, 1)."""
    return ((x - mu) ** 2).mean(-1, keepdims=True)


@elementwise("T x, T mu, T var, T w, T b, T eps", "T y", "y = (x - mu) * rsqrt(var + eps) * w + b")
def normed(x, mu, var, w, b, eps):
    r"""$y = \hat x\,w + b$.  x (N, C), mu and var (N, 1), w and b (C,) -> (N, C)."""
    return (x - mu) / np.sqrt(var + eps) * w + b


@over_rows("T dy, T w", "T mean", "dy * w", "a + b", "mean = a / (_in_ind.size() / _out_ind.size())", "0")
def mean_g(dy, w):
    r"""$\bar g$, $g = dy\,w$.  dy (N, C), w (C,) -> (N, 1)."""
    return (dy * w).mean(-1, keepdims=True)


@over_rows(
    "T dy, T w, T x, T mu", "T mean", "dy * w * (x - mu)", "a + b",
    "mean = a / (_in_ind.size() / _out_ind.size())", "0",
)  # fmt: skip
def mean_g_centred(dy, w, x, mu):
    r"""$\overline{g\,(x - \mu)}$, which is $\sigma\,\overline{g \hat x}$.  -> (N, 1)."""
    return (dy * w * (x - mu)).mean(-1, keepdims=True)


@elementwise(
    "T dy, T w, T x, T mu, T var, T g, T along, T eps", "T dx",
    "T rstd = rsqrt(var + eps); dx = rstd * (dy * w - g - (x - mu) * rstd * rstd * along)",
)  # fmt: skip
def normed_backward(dy, w, x, mu, var, g, along, eps):
    r"""$dx = \frac{1}{\sigma} (dy\,w - \bar g - \hat x\,\overline{g \hat x})$; g and along: the two means."""
    rstd = 1 / np.sqrt(var + eps)
    return rstd * (dy * w - g - (x - mu) * rstd * rstd * along)


# --------------------------------------------------------------------------------------------- gelu


@elementwise("T u", "T y", f"y = u * (1 / (1 + exp(T({-2 * GELU_K}) * u * (1 + T({GELU_A}) * u * u))))")
def gelu(u):
    r"""$y = u\,\sigma(w)$, $w = 2 k\,(u + a u^3)$: see `fast.gelu`."""
    with np.errstate(over="ignore"):  # e^-w may be inf: y is 0 then, as it should be
        return u * (1 / (1 + np.exp(-2 * GELU_K * u * (1 + GELU_A * u * u))))


@elementwise(
    "T u", "T y, T slope",
    f"""T s = 1 / (1 + exp(T({-2 * GELU_K}) * u * (1 + T({GELU_A}) * u * u)));
        y = u * s;
        slope = s + y * (1 - s) * T({2 * GELU_K}) * (1 + T({3 * GELU_A}) * u * u)""",
)  # fmt: skip
def gelu_and_slope(u):
    r"""$y = u\,s$, $s = \sigma(w)$, and its slope $s + y\,(1 - s)\,w'$, $w' = 2 k\,(1 + 3 a u^2)$."""
    with np.errstate(over="ignore"):
        s = 1 / (1 + np.exp(-2 * GELU_K * u * (1 + GELU_A * u * u)))
    y = u * s
    return y, s + y * (1 - s) * 2 * GELU_K * (1 + 3 * GELU_A * u * u)


# ------------------------------------------------------------------------------------ softmax of what is seen


@over_rows(
    "T s, int64 last, int64 key, T scale", "T top", f"key <= last ? s * scale : T({LOWEST})", "max(a, b)",
    "top = a", f"{LOWEST}",
)  # fmt: skip
def top_seen(s, last, key, scale):
    """The highest of the scores s * scale that a query sees: of the keys up to its last.

    s (S, H, T, K), last (S, 1, T, 1), key (K,): 0, 1, ... -> (S, H, T, 1).
    """
    return np.where(key <= last, s * scale, s.dtype.type(LOWEST)).max(-1, keepdims=True)


@elementwise(
    "T s, int64 last, int64 key, T top, T scale", "T e", "e = key <= last ? exp(s * scale - top) : T(0)"
)
def exp_seen(s, last, key, top, scale):
    """e^(s * scale - top), 0 where the query does not see the key.  -> (S, H, T, K)."""
    return np.exp(np.where(key <= last, s * scale - top, -np.inf), dtype=s.dtype)


@over_rows("T a0, T b0", "T dot", "a0 * b0", "a + b", "dot = a", "0")
def row_dot(a0, b0):
    """The sum of a0 * b0 over each row.  -> (..., 1)."""
    return (a0 * b0).sum(-1, keepdims=True)


@elementwise("T dp, T p, T dot, T scale", "T ds", "ds = p * (dp - dot) * scale")
def softmax_backward(dp, p, dot, scale):
    r"""$ds = p\,(dp - \sum_j dp_j\,p_j)$ times the scale of the scores."""
    return p * (dp - dot) * scale


# ------------------------------------------------------------------------------------------ dropout


@elementwise(
    "T x, float32 u, float64 p", "T y, T mask", "mask = u >= (float)p ? T(1 / (1 - p)) : T(0); y = x * mask"
)
def drop(x, u, p):
    """y = x m, and m: 0 where u, uniform in [0, 1), is below p, else 1 / (1 - p)."""
    mask = (u >= np.float32(p)).astype(x.dtype) / (1 - p)
    return x * mask, mask


# ------------------------------------------------------------------------------- language-model head and loss


@over_rows("T z, T top", "T total", "exp(z - top)", "a + b", "total = a", "0")
def sum_exp(z, top):
    r"""$\sum_v e^{z_v - top}$.  z (M, V), top (M, 1) -> (M, 1)."""
    return np.exp(z - top).sum(-1, keepdims=True)


@over_rows(
    "T top, T total, T at_label", "float64 loss", "(double)(log(total) + top - at_label)", "a + b",
    "loss = a", "0", "double",
)  # fmt: skip
def sum_losses(top, total, at_label):
    """The sum of log(total) + top - z[label] over the rows, in float64.  (M,) each -> (1,)."""
    return (np.log(total) + top - at_label).sum(-1, keepdims=True, dtype=np.float64)


@elementwise(
    "T z, T top, T total, int64 label, int64 token", "T dz",
    "dz = exp(z - top) / total - (token == label ? T(1) : T(0))",
)  # fmt: skip
def d_logits(z, top, total, label, token):
    r"""$dz = p - onehot(label)$.  z (M, V), top, total, label (M, 1), token (V,): 0, 1, ... -> (M, V)."""
    return np.exp(z - top) / total - (token == label)


# --------------------------------------------------------------------------------------------- the optimiser


@over_rows("T g", "float64 square", "(double)g * (double)g", "a + b", "square = a", "0", "double")
def sum_squares(g):
    """The sum of g^2, in float64.  g (n,) -> (1,)."""
    return (g.astype(np.float64) ** 2).sum(-1, keepdims=True)


@elementwise(
    "float64 square, float64 count, float64 max_norm", "float64 norm, float64 factor",
    """norm = sqrt(square) / count;
       factor = (norm > max_norm && max_norm > 0 ? max_norm / (norm + 1e-6) : 1.0) / count""",
)  # fmt: skip
def clip_factor(square, count, max_norm):
    """Of gradients that are sums over count tokens: the means' norm, and what to multiply the sums by."""
    norm = np.sqrt(square) / count
    clipped = (norm > max_norm) & (max_norm > 0)
    return norm, np.where(clipped, max_norm / (norm + 1e-6), 1.0) / count


@elementwise(
    """T g, T scale, T decay, float64 rate, float64 b1, float64 b2, float64 correction_m, float64 root_v,
       T eps, bool apply""",
    "T p, T m, T v",
    """if (apply) {
           m = T(b1) * m + T(1 - b1) * g;
           v = T(b2) * v + T(1 - b2) * g * g;
           p = p * (1 - T(rate) * scale * decay)
               - T(rate / correction_m) * scale * m / (sqrt(v) * T(1 / root_v) + eps);
       }""",
)  # fmt: skip
def adamw(g, scale, decay, rate, b1, b2, correction_m, root_v, eps, apply, p, m, v):
    r"""One step of `optim.AdamW`; p, m, v change in place, and stay as they are where apply is false.

    scale: the factor on the rate;  correction_m $= 1 - \beta_1^t$;  root_v $= \sqrt{1 - \beta_2^t}$.
    """
    if not apply:
        return
    m[...] = b1 * m + (1 - b1) * g
    v[...] = b2 * v + (1 - b2) * g * g
    p[...] = p * (1 - rate * scale * decay) - rate / correction_m * scale * m / (np.sqrt(v) / root_v + eps)
