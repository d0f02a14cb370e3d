"""Threads over the batch: each shard's forward and backward in its own thread, BLAS with one thread each.

NumPy lets go of the interpreter lock inside its functions, so not only the matmuls but GELU, softmax and
layer norm run side by side too; threads inside BLAS would speed up the matmuls alone.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache


def num_threads():
    """MINIPEFT_THREADS if set, else the cores this process may use."""
    if given := os.environ.get("MINIPEFT_THREADS"):
        return max(1, int(given))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=1)
def _pool(n):
    return ThreadPoolExecutor(n)


@lru_cache(maxsize=1)
def _blas():
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def map_shards(f, shards):
    """[f(shard), ...], in the shards' order whichever thread is first."""
    if len(shards) == 1:
        return [f(shards[0])]
    with _blas().limit(limits=1, user_api="blas"):
        return list(_pool(num_threads()).map(f, shards))
