"""The folder of a run: one run at a time writes into it, and sweeps out what a killed one left behind."""

import re
import shutil
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError
from .json_files import clear_errors

LOCK = ".lock"
LEFT_BEHIND = re.compile(r"\.(tmp[A-Za-z0-9]{6}|.+\.[a-z0-9_]{8}\.tmp)")  # safetensors' and `atomic`'s


class RunFolder:
    """A folder that is held: see `run_folder`."""

    def __init__(self, path):
        self.path = path

    def check(self):
        """Raise InputError where the folder was deleted or moved: it would be made anew, half empty."""
        if self.path and not (self.path / LOCK).exists():
            raise InputError(
                f"{self.path}: the folder has gone since the run began: nothing can be kept there"
            )


@contextmanager
def run_folder(path):
    """Hold a folder, made if need be, for this process alone.

    The lock ends with the process, however that ends; who holds it may do so again. None: there is no
    folder, and nothing to hold.
    Raises InputError where another run has it, or it cannot be written.
    """
    if path is None:
        yield RunFolder(None)
        return
    from filelock import FileLock, Timeout

    path = Path(path)
    with clear_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.resolve() / LOCK, timeout=0, is_singleton=True)
        try:
            lock.acquire()
        except Timeout:
            raise InputError(
                f"{path}: another run is writing there: choose another folder, or wait"
            ) from None
    try:
        sweep(path)
        yield RunFolder(path)
    finally:
        lock.release()


def sweep(folder):
    """Remove what a killed writer had begun, in the folder and in those within that no run holds."""
    within = [f for f in folder.iterdir() if f.is_dir() and not f.is_symlink() and not (f / LOCK).exists()]
    for place in (folder, *within):
        for file in place.glob(".*"):
            if LEFT_BEHIND.fullmatch(file.name):
                if file.is_dir() and not file.is_symlink():  # `replace_adapter`'s
                    shutil.rmtree(file, ignore_errors=True)
                else:
                    file.unlink(missing_ok=True)
