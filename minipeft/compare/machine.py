"""What a result depends on besides its settings: versions of what computes, and the machine."""

import os
import platform
from pathlib import Path


def versions():
    """{"minipeft": ..., "python": ..., "numpy": ..., "blas": ...}."""
    import numpy as np
    from threadpoolctl import threadpool_info

    from .. import __version__

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
    from ..parallel import num_threads

    about = {
        "system": platform.platform(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": num_threads(),
    }
    if device == "cuda":
        from ..backend import xp_for

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
