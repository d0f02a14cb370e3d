"""NumPy or CuPy, decided by the array itself; moves between host and device; nothing else."""

import os
import sys
from functools import cache, cached_property

import numpy as np

from .errors import InputError

INSTALL = "pip install 'minipeft[gpu12]' for CUDA 12, 'minipeft[gpu13]' for CUDA 13"


def xp_of(array):
    """The module whose functions work on `array`: `numpy`, or `cupy` for an array on a GPU.

    A weight that is held in another form than an array (speed/quantized.py) says itself where it is: `xp`.
    """
    if type(array).__module__ == "numpy":
        return np
    if hasattr(array, "xp"):
        return array.xp
    import cupy

    return cupy


def xp_for(device):
    """The array module for `device`: "cpu" or "cuda".

    Raises InputError for another name, and where CuPy, a part of it, or a GPU is missing.
    """
    if device == "cpu":
        return np
    if device != "cuda":
        raise InputError(f"device {device!r} is not known: use 'cpu' or 'cuda'")
    try:
        import cupy
    except ImportError:
        raise InputError(f"device 'cuda' needs CuPy: {INSTALL}") from None
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise InputError(f"device 'cuda' needs an NVIDIA GPU and its driver: {error}") from None
    if said := computes_not(cupy):
        raise InputError(f"device 'cuda': CuPy is there and cannot compute ({said}); {INSTALL}")
    return cupy


def use_tf32(device):
    """Let products of float32 be made of numbers rounded to TF32, 10 bits of mantissa; sums stay float32.

    Attention's products, of many small matrices at once, stay float32: CuPy asks for them by another call.

    CuPy reads CUPY_TF32 when it is imported, and hands it to cuBLAS. Processes that are started here have it,
    too. Raises InputError on a CPU, and where CuPy was imported without it.
    """
    if device != "cuda":
        raise InputError("--tf32 is for a GPU: give --device cuda, too")
    if "cupy" in sys.modules and not uses_tf32():
        raise InputError("CuPy is at work without TF32: set CUPY_TF32=1 before Python starts")
    os.environ["CUPY_TF32"] = "1"


def uses_tf32():
    """Does the environment say so?"""
    return os.environ.get("CUPY_TF32") == "1"


@cache
def computes_not(cupy):
    """What a small product and a small kernel raise; "" where they do not.

    `import cupy` works without cuBLAS and without the compiler of its kernels; the first use does not.
    """
    try:
        a = cupy.ones((2, 2), dtype="float32")
        return "" if float((a @ a + a).sum()) == 12 else "a product of ones is not right"
    except Exception as error:  # ImportError, RuntimeError, CuPy's own: whatever is missing
        return f"{type(error).__name__}: {error}".splitlines()[0]


def to_host(array):
    """`array` as a NumPy array, without a copy where it is one already."""
    return array if xp_of(array) is np else array.get()


def like(array, host):
    """`host`, a NumPy array of indices or flags, moved to where `array` lives."""
    return xp_of(array).asarray(host)


def synchronize(device):
    """Wait until the GPU has done what it was given, so that a clock can be read; nothing on a CPU."""
    if device == "cuda":
        xp_for(device).cuda.get_current_stream().synchronize()


class Generator:
    """Random numbers for arrays that live where `array` does; `seeds`: a list of integers.

    NumPy's or CuPy's generator is made when the first number is drawn: where nothing drops there is none. On
    a GPU it is Philox (Salmon et al. 2011), which begins at a seed without work.
    """

    def __init__(self, seeds, array):
        self.seeds, self.xp = seeds, xp_of(array)

    @cached_property
    def _rng(self):
        seed = int(np.random.SeedSequence(self.seeds).generate_state(1)[0])
        random = self.xp.random
        return random.default_rng(seed if self.xp is np else random.Philox4x3210(seed))

    def random(self, size=None, dtype=np.float64):
        """Uniform in [0, 1)."""
        return self._rng.random(size, dtype=dtype)
