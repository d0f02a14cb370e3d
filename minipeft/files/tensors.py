"""Safetensors in and out: {name: array}."""

import json
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from ..backend import to_host
from ..errors import InputError
from .json_files import atomic, parse_json

STORED = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # NumPy has no bfloat16
INDICES = {"I32": "<i4"}  # of a choice of weights
LARGEST = np.finfo(np.float32).max
MOST_DIMENSIONS = 8  # more than any weight has, and fewer than NumPy can hold


def read_safetensors(path, skip=()):
    """A safetensors file -> {name: array}, and its metadata. See `open_safetensors` for skip and errors."""
    with open_safetensors(path, skip) as (tensors, metadata):
        return {name: tensor.read() for name, tensor in tensors.items()}, metadata


@contextmanager
def open_safetensors(path, skip=()):
    """In here a file's tensors can be read one at a time: {name: Stored}, and its metadata.

    skip: ends of names to leave out. What is called "..._indices" is of whole numbers, all else of floats.
    Raises InputError naming the file where it is missing, cut short, not safetensors, or holds a type that
    is not expected there.
    """
    path = Path(path)
    metadata = read_metadata(path)  # checks header, offsets and length
    with open(path, "rb") as file:
        body = 8 + int.from_bytes(file.read(8), "little")
        header = parse_json(file.read(body - 8).decode(), path)
        header.pop("__metadata__", None)
        tensors = {}
        for name, info in header.items():
            if name.endswith(tuple(skip)):
                continue
            kinds = INDICES if name.endswith("_indices") else STORED
            if info["dtype"] not in kinds:
                raise InputError(f"{path}: {name} is of type {info['dtype']}; want {' or '.join(kinds)}")
            if len(info["shape"]) > MOST_DIMENSIONS:
                raise InputError(f"{path}: {name} has {len(info['shape'])} dimensions, no weight's number")
            begin = body + info["data_offsets"][0]
            tensors[name] = Stored(file, begin, info["dtype"], tuple(info["shape"]))
        yield tensors, metadata


@dataclass
class Stored:
    """A tensor of an open safetensors file, whose numbers are read when they are asked for.

    file, begin  where they are, `begin` in bytes;  kind  their type, in the file's words
    shape, size, dtype  of the array that `read` gives
    """

    file: object
    begin: int
    kind: str
    shape: tuple

    @property
    def size(self):
        """How many numbers it has."""
        return prod(self.shape)

    @property
    def dtype(self):
        """A bfloat16 is the upper half of a float32, and becomes one."""
        return np.dtype("<f4" if self.kind == "BF16" else (STORED | INDICES)[self.kind])

    def read(self):
        """-> an array of its own, read-only. Raises InputError where the file has become shorter."""
        stored = np.empty(self.shape, (STORED | INDICES)[self.kind])
        try:
            self.file.seek(self.begin)
            got = self.file.readinto(stored.reshape(-1).view(np.uint8))
        except OSError as error:
            raise InputError(f"{self.file.name}: {error.strerror or error}") from None
        if got < stored.nbytes:
            raise InputError(f"{self.file.name}: not a whole safetensors file (it has just become shorter)")
        if self.kind == "BF16":
            stored = (stored.astype(np.uint32) << 16).view(np.float32)
        stored.flags.writeable = False
        return stored


def read_metadata(path):
    """{word: text} of a safetensors file. Raises InputError where it is missing, or not a whole one."""
    from safetensors import SafetensorError, safe_open

    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path}: not a file")
        with safe_open(path, framework="np") as file:
            return file.metadata() or {}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except SafetensorError as error:
        raise InputError(f"{path}: not a whole safetensors file ({error})") from None


def write_safetensors(path, tensors, metadata=None):
    """{name: array} -> a safetensors file, written beside it first and then renamed: never half a file."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    host = {name: np.ascontiguousarray(to_host(value)) for name, value in tensors.items()}
    with atomic(path) as temporary:
        try:
            save_file(host, temporary, metadata={"format": "pt"} | (metadata or {}))
        except SafetensorError as error:  # a full disk, among others
            raise InputError(f"{path}: cannot be written: {error}") from None
        put_metadata_in_order(temporary)


def as_stored(name, tensor, where):
    """A tensor of an adapter as a file holds it. Whole numbers are int32, and are called "..._indices".

    Raises InputError for what `open_safetensors` would not read.
    """
    array = to_host(tensor)
    if (array.dtype.kind in "iu") != name.endswith("_indices"):
        raise InputError(
            f"{where}: tensor {name} is of {array.dtype}: a file has whole numbers in tensors called "
            "..._indices, and nothing else in these"
        )
    if array.ndim > MOST_DIMENSIONS:
        raise InputError(f"{where}: tensor {name} has {array.ndim} dimensions, more than {MOST_DIMENSIONS}")
    if array.dtype.kind == "f":
        return tensor
    stored = array.astype(INDICES["I32"])
    if (stored != array).any():
        raise InputError(f"{where}: tensor {name} has a number that is too large for int32")
    return stored


def put_metadata_in_order(path):
    """Sort the metadata, which the library writes in an order drawn at random: the same is the same bytes."""
    with open(path, "r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        written = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(written) <= size:
            file.seek(8)
            file.write(written.ljust(size))


def check_tensors(tensors, shapes, where):
    """Raise InputError for the first tensor that is missing, not known, of another shape, or not finite."""
    check_shapes(tensors, shapes, where)
    for name in shapes:
        check_finite(name, tensors[name], where)


def check_shapes(tensors, shapes, where):
    """Raise InputError for the first tensor that is missing, not known, or of another shape."""
    for name, shape in shapes.items():
        if name not in tensors:
            raise InputError(f"{where}: tensor {name} is missing")
        if tensors[name].shape != shape:
            raise InputError(f"{where}: tensor {name} has shape {tensors[name].shape}, expected {shape}")
    if unknown := sorted(tensors.keys() - shapes.keys()):
        raise InputError(f"{where}: tensor {unknown[0]} does not belong there")


def check_finite(name, array, where):
    """Raise InputError where an array has a number that is NaN, infinite, or too large for a float32.

    A sum shows it, at 5 GB in a second and without a second array; of large numbers it may overflow, so then
    each one is asked.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(array.sum(dtype=np.float32)) and not (abs(array) <= LARGEST).all():
            raise InputError(f"{where}: tensor {name} has a number that is not finite")
