"""Threads over the batch: each shard's forward and backward in its own thread, BLAS with one thread each.

NumPy lets go of the interpreter lock inside its functions, so not only the matmuls but GELU, softmax and
layer norm run side by side too; threads inside BLAS would speed up the matmuls alone.
"""

import ctypes
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import Lock

import numpy as np

from ..backend import xp_of
from ..errors import InputError
from . import mkl

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc
KEPT, KEPT_BEFORE_GLIBC_2_35 = 1 << 30, 1 << 25  # bytes; what is larger goes back to the system


def num_threads():
    """MINIPEFT_THREADS if set, else the cores this process may use."""
    if given := os.environ.get("MINIPEFT_THREADS"):
        if not given.isdecimal() or int(given) == 0:
            raise InputError(f"MINIPEFT_THREADS must be a whole number, 1 or more, not {given!r}")
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_shards(array):
    """Into how many parts work on arrays like this one is split: one for each core, one in all on a GPU."""
    return num_threads() if xp_of(array) is np else 1


@lru_cache(maxsize=1)
def _pool(n):
    return ThreadPoolExecutor(n)


@lru_cache(maxsize=1)
def one_heap():
    """Let all threads to come allocate from one heap, and keep what they free, where the C library is glibc.

    One heap: else each thread has its own, and what one frees no other can use. Kept: else a step's arrays go
    back to the system at its end, and each of their pages is asked for again, and zeroed, in the next.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_ARENA_MAX, 1)
        if libc.mallopt(M_MMAP_THRESHOLD, KEPT) or libc.mallopt(M_MMAP_THRESHOLD, KEPT_BEFORE_GLIBC_2_35):
            libc.mallopt(M_TRIM_THRESHOLD, KEPT)


@lru_cache(maxsize=1)
def _blas():
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def limited(number):
    """BLAS has so many threads from now on. -> a function that puts back as many as there were.

    To threadpoolctl the first thread that limits OpenBLAS is its owner, and what others ask for is not done.
    Here nobody keeps it: whoever is the last puts back.
    """
    from threadpoolctl import OpenBLASController

    limit = _blas().limit(limits=number, user_api="blas")
    OpenBLASController.clear_controlling_thread()

    def put_back():
        limit.restore_original_limits()
        OpenBLASController.clear_controlling_thread()

    return put_back


def limit_blas():
    """Let BLAS have as many threads as MINIPEFT_THREADS says, where it says a number."""
    if os.environ.get("MINIPEFT_THREADS"):
        limited(num_threads())


class _OneBlasThread:
    """BLAS has one thread while any thread of the program is inside; after the last, as many as before."""

    def __init__(self):
        self.lock, self.inside, self.put_back = Lock(), 0, None

    def __enter__(self):
        with self.lock:
            if not self.inside:
                self.put_back = limited(1)
            self.inside += 1

    def __exit__(self, *error):
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.put_back()


_one_blas_thread = _OneBlasThread()


def map_shards(f, shards):
    """[f(shard), ...], in the shards' order whichever thread is first."""
    one_heap()
    if len(shards) == 1:
        return [f(shards[0])]

    def alone(shard):
        mkl.use_threads(1)  # MKL's number is each thread's own; these threads do nothing but shards
        return f(shard)

    with _one_blas_thread:
        return list(_pool(num_threads()).map(alone, shards))
