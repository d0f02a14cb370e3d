"""NumPy or CuPy, decided by the array itself; moves between host and device; nothing else."""

import numpy as np

from .errors import InputError


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

    Raises InputError for another name, or where CuPy or a GPU is missing.
    """
    if device == "cpu":
        return np
    if device != "cuda":
        raise InputError(f"device {device!r} is not known: use 'cpu' or 'cuda'")
    try:
        import cupy
    except ImportError:
        raise InputError("device 'cuda' needs CuPy: pip install 'minipeft[gpu]'") from None
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise InputError(f"device 'cuda' needs an NVIDIA GPU and its driver: {error}") from None
    return cupy


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


def generator(seeds, array):
    """A random generator for arrays that live where `array` does; `seeds`: a list of integers."""
    seed = int(np.random.SeedSequence(seeds).generate_state(1)[0])
    return xp_of(array).random.default_rng(seed)
