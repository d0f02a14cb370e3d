"""What a result depends on besides its settings: versions of what computes, and the machine."""

import os
import platform
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..backend import xp_for
from ..speed.parallel import num_threads
from ..version import __version__


def versions():
    """{"minipeft": ..., "python": ..., "numpy": ..., "blas": ...}."""
    from threadpoolctl import threadpool_info

    blas = [
        f"{lib['internal_api']} {lib['version']}" for lib in threadpool_info() if lib["user_api"] == "blas"
    ]
    return {
        "minipeft": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": ", ".join(blas) or "unknown",
    }


def this_machine(device):
    """{"system", "cpu", "cores", "threads"}, and "gpu" where the comparison ran on one."""
    about = {
        "system": platform.platform(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": num_threads(),
    }
    if device == "cuda":
        about["gpu"] = xp_for(device).cuda.runtime.getDeviceProperties(0)["name"].decode()
    return about


def cpu_name():
    """The processor's name, as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def peak_memory_mb():
    """The most memory this process has held, in MB (10^6 bytes)."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux: ru_maxrss would count the parent's memory before exec, too
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource  # there is none on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


@contextmanager
def gpu_memory(device):
    """Gives a function that says the most bytes that arrays have held on the GPU at once since it began.

    Those that were there before count, what CuPy only keeps for later does not: allocations are counted, not
    the pool. On a CPU it says 0.
    """
    if device == "cpu":
        yield lambda: 0
        return
    cupy = xp_for(device)

    class Count(cupy.cuda.MemoryHook):
        """Adds what is handed out, takes off what comes back."""

        name = "minipeft"
        held = peak = cupy.get_default_memory_pool().used_bytes()

        def malloc_postprocess(self, **about):
            """An array has got its memory."""
            self.held += about["mem_size"]
            self.peak = max(self.peak, self.held)

        def free_postprocess(self, **about):
            """An array has given it back."""
            self.held -= about["mem_size"]

    with Count() as count:
        yield lambda: count.peak
