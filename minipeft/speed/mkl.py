r"""Intel's MKL, as far as it is used here: a matrix is packed once, and multiplied by ever after.

Before BLAS multiplies by a matrix it copies it into an order in which its innermost loop reads straight on.
NumPy's BLAS does so in every product; MKL lets a caller keep the copy:

    p = mkl.pack(W)             the copy, in an order that only MKL knows
    y = mkl.product(x, p)       x W

The library comes with `pip install 'minipeft[mkl]'`, and nothing is compiled: ctypes calls its C functions.
float32 is multiplied as it is. Numbers in bfloat16, which are handed over as uint16, are multiplied exactly
and added up in float32, by the tiles of AMX where the processor has them.
"""

import ctypes
import mmap
import os
import platform
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import numpy as np

ROW_MAJOR, AS_IT_IS, TRANSPOSED, PACKED, B_MATRIX = 101, 111, 112, 151, 162  # of mkl_cblas.h
LP64 = 0  # of mkl_service.h: integers have 32 bits
OLDEST = 2024  # the year of the version


@lru_cache(maxsize=1)
def library():
    """The MKL of this environment; None where there is none, it is too old, or it does not compute right."""
    path = find()
    try:
        mkl = MKL(path) if path else None
    except (OSError, AttributeError):  # a library that it needs in turn is missing, or a function
        return None
    return mkl if mkl and mkl.year >= OLDEST and mkl.multiplies() else None


def find():
    """The path of libmkl_rt in this environment, where pip or conda put it, or None."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    start = "mkl_rt" if sys.platform == "win32" else "libmkl_rt.so"
    try:
        files = [Path(file.locate()) for file in metadata.files("mkl") or ()]
    except metadata.PackageNotFoundError:
        files = []
    for folder in ("lib", "Library/bin"):
        files += sorted(Path(sys.prefix, folder).glob(f"{start}*"))
    found = (file.resolve() for file in files if file.name.startswith(start) and file.suffix != ".lib")
    return next((file for file in found if file.is_file()), None)


@lru_cache(maxsize=1)
def processor_multiplies_bfloat16():
    """Has the processor instructions for products in bfloat16, AMX's or AVX-512's? Linux alone says so.

    MKL does without, but then it is no faster than making floats of them: see docs/packed.md.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    words = {word for line in lines if line.startswith("flags") for word in line.split()}
    return bool(words & {"amx_bf16", "avx512_bf16"})


def use_threads(number, everywhere=False):
    """Let MKL have so many threads in this thread's products; everywhere: where nothing else was said.

    A library that nobody has asked for is not loaded for it.
    """
    if library.cache_info().currsize and (mkl := library()):
        (mkl.lib.MKL_Set_Num_Threads if everywhere else mkl.lib.MKL_Set_Num_Threads_Local)(number)


@dataclass
class Packing:
    """W (K, N) in MKL's order, in a buffer that must not move: a mapping, which begins at a page.

    MKL asks for more than it fills, and pages become memory only when they are written to.
    """

    buffer: np.ndarray
    K: int
    N: int
    dtype: np.dtype


class MKL:
    """The library.  year: of its version."""

    def __init__(self, path):
        """Raises OSError where it cannot be loaded, AttributeError where it lacks a function."""
        if sys.platform == "win32":
            os.add_dll_directory(str(path.parent))  # where the libraries lie that it loads in turn
        self.lib = lib = ctypes.CDLL(str(path))
        whole, number, address = ctypes.c_int, ctypes.c_float, ctypes.c_void_p
        lib.MKL_Set_Interface_Layer(LP64)  # before anything is computed
        self.sgemm, self.bf16gemm = (
            [getattr(lib, f"cblas_{name}_{end}") for end in ("pack_get_size", "pack", "compute")]
            for name in ("sgemm", "gemm_bf16bf16f32")
        )
        for (size, pack, compute), scales in ((self.sgemm, "pack"), (self.bf16gemm, "compute")):
            own = {"pack": [], "compute": []} | {scales: [number]}  # the one that takes alpha
            size.argtypes, size.restype = [whole] * 4, ctypes.c_size_t
            pack.argtypes = [whole] * 6 + own["pack"] + [address, whole, address]
            compute.argtypes = [whole] * 6 + own["compute"] + [address, whole] * 2 + [number, address, whole]
        text = ctypes.create_string_buffer(200)
        lib.MKL_Get_Version_String(text, len(text))
        self.year = int(text.value.decode("ascii").partition("Version ")[2][:4] or 0)

    def pack(self, W, transposed=False):
        """W (I, O), float32 or uint16 -> the Packing of W (I, O) or, if transposed, of W^T (O, I)."""
        W, floats = np.ascontiguousarray(W), W.dtype == np.float32
        K, N = W.shape[::-1] if transposed else W.shape
        M = 1  # of x's rows; the order does not depend on it
        get_size, pack, _ = self.sgemm if floats else self.bf16gemm
        buffer = np.frombuffer(mmap.mmap(-1, get_size(B_MATRIX, M, N, K)), np.uint8)
        alpha = (1.0,) if floats else ()
        order = TRANSPOSED if transposed else AS_IT_IS
        from_to = W.ctypes.data, W.shape[1], buffer.ctypes.data
        pack(ROW_MAJOR, B_MATRIX, order, M, N, K, *alpha, *from_to)
        return Packing(buffer, K, N, W.dtype)

    def product(self, x, W):
        """x W.  x (M, K), of the type that W was packed from; W a Packing (K, N) -> (M, N) float32."""
        x, y = np.ascontiguousarray(x, W.dtype), np.empty((len(x), W.N), np.float32)
        floats = W.dtype == np.float32
        _, _, compute = self.sgemm if floats else self.bf16gemm
        alpha, beta = () if floats else (1.0,), 0.0  # y = x W + 0 y
        operands = x.ctypes.data, W.K, W.buffer.ctypes.data, W.N
        compute(ROW_MAJOR, AS_IT_IS, PACKED, len(x), W.N, W.K, *alpha, *operands, beta, y.ctypes.data, W.N)
        return y

    def multiplies(self):
        """Is a small product of each type what NumPy says? With small whole numbers all of it is exact."""
        x, W = (np.arange(size).reshape(-1, 5) % 7 - 3 for size in (15, 30))  # (3, 5), (6, 5)
        upper = lambda a: (a.astype("float32").view("uint32") >> 16).astype("uint16")  # exact for these
        return all(
            np.array_equal(self.product(kind(x), self.pack(kind(W), transposed=True)), x @ W.T)
            for kind in (lambda a: a.astype("float32"), upper)
        )
