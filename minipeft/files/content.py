"""Fingerprints: is this the same as before, by content and not by name or date?"""

import json
from dataclasses import asdict, is_dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import numpy as np

from ..backend import to_host
from ..speed.quantized import Held


def content_of(value):
    """A fingerprint of numbers, words, arrays, and lists, dicts and objects of them: 32 hexadecimal digits.

    The order in a dict does not matter; types, shapes and every bit of an array do.
    """
    digest = blake2b(digest_size=16)
    for piece in pieces(value):
        digest.update(piece)
    return digest.hexdigest()


def pieces(value):
    """What is to be hashed of a value, with lengths and types, so that no two values read alike."""
    if isinstance(value, dict):
        yield f"dict {len(value)}".encode()
        for key in sorted(value, key=str):
            yield from pieces(str(key))
            yield from pieces(value[key])
    elif isinstance(value, list | tuple):
        yield f"list {len(value)}".encode()
        for each in value:
            yield from pieces(each)
    elif isinstance(value, Held):
        yield type(value).__name__.encode()
        yield from pieces(value.content())
    elif hasattr(value, "__dict__") and not hasattr(value, "nbytes"):
        yield type(value).__name__.encode()
        yield from pieces(vars(value))
    elif hasattr(value, "nbytes"):
        array = np.ascontiguousarray(to_host(value))
        yield f"array {array.dtype} {value.shape}".encode()
        yield array.reshape(-1).view(np.uint8).data
    else:
        text = repr(value)
        yield f"{type(value).__name__} {len(text)} {text}".encode()


def content_of_files(paths):
    """A fingerprint of the files' names and bytes; a folder stands for the files that lie in it."""
    files = []
    for path in map(Path, paths):
        files += sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    stats = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    return content_of([[Path(name).name, content_of_file(name, *stat)] for name, *stat in stats])


@lru_cache(maxsize=4096)
def content_of_file(path, size, changed):
    """The fingerprint of one file. It is read again where its size or date is another."""
    digest = blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def configuration_of(method):
    """A method's name and fields, as JSON has them; of a chain, those of its parts."""
    fields = asdict(method) if is_dataclass(method) else {}
    parts = [configuration_of(part) for part in getattr(method, "methods", ())]
    about = {"method": type(method).__name__} | fields | ({"parts": parts} if parts else {})
    return json.loads(json.dumps(about, default=str))
