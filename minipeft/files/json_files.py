"""JSON in and out; files that are written whole or not at all."""

import json
import math
import os
import stat
import tempfile
from contextlib import contextmanager
from errno import ENOENT
from pathlib import Path

from ..errors import InputError, shortened
from ..settings import plain


def write_json(path, value):
    """A value -> a JSON file, sorted and indented, all of it or nothing."""
    with atomic(path) as temporary:
        Path(temporary).write_text(as_json(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def as_json(value, **options):
    """A value as JSON, which has no NaN and no infinity: they become null. NumPy's numbers are numbers."""
    return json.dumps(in_json(value), allow_nan=False, **options)


def in_json(value):
    """The value with None for every float that is not finite, and with Python's numbers for NumPy's."""
    if isinstance(value, dict):
        return {key: in_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [in_json(each) for each in value]
    value = plain(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
        if not stat.S_ISREG(Path(path).stat().st_mode):  # a pipe would keep us waiting
            raise InputError(f"{path}: not a file")
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: {'no such file' if error.errno == ENOENT else error.strerror}") from None


def read_json(path):
    """A JSON file -> its value. Raises InputError where it is none, with the line to blame."""
    return parse_json(read_text(path), path)


def read_object(path):
    """A JSON file as a dict. Raises InputError where it is none."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: want an object of settings, not {type(value).__name__}")
    return value


def parse_json(text, where):
    """A text -> its value as JSON. Raises InputError, which begins with `where`, for what is none.

    NaN and Infinity are Python's and not JSON's, and a number such as 1e999 is none that a float holds.
    Python itself gives up at whole numbers of thousands of digits, and at brackets in thousands of brackets.
    """
    try:
        value = json.loads(text, parse_constant=finite, parse_float=finite)
        check_depth(value)
        return value
    except json.JSONDecodeError as error:
        line = f", line {error.lineno}" if "\n" in text.strip() else ""
        raise InputError(f"{where}{line}: not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise InputError(f"{where}: no JSON that can be read: brackets in brackets, too deep") from None
    except ValueError as error:
        raise InputError(f"{where}: no JSON that can be read: {str(error).partition(';')[0]}") from None


def check_depth(value, left=100):
    """Raise RecursionError at brackets in more than `left` brackets: whoever works with it recurses, too."""
    if not left:
        raise RecursionError
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        check_depth(each, left - 1)


def finite(text):
    """A number of JSON. Raises ValueError where it is not finite."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{shortened(text)} is no finite number")
    return number
