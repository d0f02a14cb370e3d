"""Threads: parts of the work side by side, each in its own thread, BLAS with one thread in each.

NumPy lets go of the interpreter lock inside its functions, so not only the matmuls but GELU, softmax and
layer norm run side by side too; threads inside BLAS would speed up the matmuls alone. Starting and joining
threads costs some tenths of a millisecond: the parts should be large, a layer or more.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache


def num_threads():
    """MINIPEFT_THREADS if set, else the cores this process may use."""
    if given := os.environ.get("MINIPEFT_THREADS"):
        return max(1, int(given))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shares(n):
    """0 ... n as slices of like length, one for each thread."""
    threads = min(num_threads(), n)
    return [slice(n * i // threads, n * (i + 1) // threads) for i in range(threads)]


@lru_cache(maxsize=1)
def _pool(n):
    return ThreadPoolExecutor(n)


@lru_cache(maxsize=1)
def _blas():
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def parallel(f, *parts):
    """[f(a, b, ...), ...] as `map` has it, in the order of the parts whichever thread is first.

    Not to be called within itself: the threads would wait for one another.
    """
    if len(parts[0]) == 1:
        return [f(*(each[0] for each in parts))]
    with _blas().limit(limits=1, user_api="blas"):
        return list(_pool(num_threads()).map(f, *parts))
