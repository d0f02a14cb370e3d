"""JSON in and out; files that are written whole or not at all."""

import json
import os
import tempfile
from contextlib import contextmanager
from errno import ENOENT
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


def read_text(path):
    """A file's text. Raises InputError where there is none, or where it is not UTF-8."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: {'no such file' if error.errno == ENOENT else error.strerror}") from None


def read_json(path):
    """A JSON file -> its value. Raises InputError with the line where it is none.

    Python itself gives up at numbers of thousands of digits, and at brackets in thousands of brackets.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not JSON: {error}") from None
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no JSON that can be read: {error}") from None
