"""JSON in and out; files that are written whole or not at all."""

import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError


def write_json(path, value):
    """A value -> a JSON file, sorted and indented, all of it or nothing."""
    with atomic(path) as temporary:
        Path(temporary).write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@contextmanager
def atomic(path):
    """A temporary file in the same folder, which takes the place of `path` once it is whole and on disk.

    Raises InputError where the disk is full or the folder cannot be written: what was there before stays.
    """
    path = Path(path)
    with clear_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        try:
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)


@contextmanager
def clear_errors(path):
    """Inside, what keeps `path` from being written is an InputError of one line that names it."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None


def read_json(path):
    """A JSON file -> its value. Raises InputError with the line where it is none."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", 1)
        raise InputError(f"{path}, line {line}: not JSON: {error}") from None
