r"""NVIDIA's cuBLAS, as far as CuPy's `@` does not ask for it: a product of bfloat16 that stays in float32.

(CuPy's own product of two arrays of bfloat16 is rounded to bfloat16 again.)
"""

import numpy as np

from ..backend import xp_of

AS_IT_IS, TRANSPOSED = 0, 1  # CUBLAS_OP_N, CUBLAS_OP_T of cublas_api.h
SUMS_IN_FLOAT32, ANY_ALGORITHM = 68, -1  # CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT
TYPES = {"float32": 0, "uint16": 14}  # CUDA_R_32F, CUDA_R_16BF of library_types.h


def product(a, b):
    """a b.  a (M, K), b (K, N), both in bfloat16 as uint16, or both float32 -> (M, N) float32.

    cuBLAS reads matrices column by column. So it finds b^T where we have b, and is asked for b^T a^T, which
    we read as a b.
    """
    xp, (M, K), N = xp_of(a), a.shape, b.shape[1]
    y = xp.empty((M, N), "float32")
    if not y.size:
        return y
    kind, one, zero = TYPES[a.dtype.name], np.ones(1, "float32"), np.zeros(1, "float32")
    (a, order_a, step_a), (b, order_b, step_b) = as_it_lies(a), as_it_lies(b)
    xp.cuda.cublas.gemmEx(
        xp.cuda.device.get_cublas_handle(), order_b, order_a, N, M, K,
        one.ctypes.data, b.data.ptr, kind, step_b, a.data.ptr, kind, step_a,
        zero.ctypes.data, y.data.ptr, TYPES["float32"], N, SUMS_IN_FLOAT32, ANY_ALGORITHM,
    )  # fmt: skip
    return y


def as_it_lies(a):
    """(a, is it another array's transpose?, how far its rows, or that array's, are apart).

    What is neither in one piece, nor the transpose of what is, is copied.
    """
    if a.flags.c_contiguous:
        return a, AS_IT_IS, a.shape[1]
    if a.T.flags.c_contiguous:
        return a, TRANSPOSED, a.shape[0]
    return xp_of(a).ascontiguousarray(a), AS_IT_IS, a.shape[1]
