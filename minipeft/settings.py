"""Settings have the type that their class says, are finite and in their range, wherever they come from."""

from dataclasses import fields
from math import isfinite
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Union, get_args, get_origin, get_type_hints

import numpy as np

from .errors import SettingError

WORDS = {
    int: "a whole number", float: "a finite number", bool: "true or false", str: "text", NoneType: "none",
    tuple: "a list", dict: "a dict",
}  # fmt: skip


LARGEST = 1e300


def check_fields(settings):
    """Raise SettingError for the first field of a dataclass whose value is not of the field's type.

    NumPy's numbers become Python's: s = np.float64(2) would make of a float32 array one of float64.
    """
    kinds = get_type_hints(type(settings))
    for f in fields(settings):
        value = getattr(settings, f.name)
        if not fits(value, kinds[f.name]):
            raise SettingError(f.name, f"{{}} must be {in_words(kinds[f.name])}, not {value!r}")
        setattr(settings, f.name, plain(value))


def fits(value, kind):
    """Is the value of this type? An integer is a float, too, but true is no number; a float is finite.

    So is an integer here: one of hundreds of digits would overflow in the first formula.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(fits(value, each) for each in inner)
    if origin is tuple:
        return isinstance(value, (tuple, list)) and all(fits(v, inner[0]) for v in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(v, inner[1]) for v in value.values())
    if kind in (int, float):
        number, value = Integral if kind is int else Real, plain(value)
        return isinstance(value, number) and not isinstance(value, bool) and abs(value) < LARGEST
    return isinstance(value, kind) if isinstance(kind, type) else True


def plain(value):
    """Python's number for one of NumPy's, in a list or dict, too; anything else as it is."""
    if isinstance(value, tuple | list):
        return type(value)(map(plain, value))
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def in_words(kind):
    """A type as a reader says it: "a whole number or none"."""
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(in_words(each) for each in get_args(kind))
    kind = get_origin(kind) or kind
    return WORDS.get(kind, getattr(kind, "__name__", str(kind)))


def seeded(seed):
    """NumPy's random generator of this seed. Raises SettingError unless it is a whole number, 0 or more."""
    if not fits(seed, int) or seed < 0:
        raise SettingError("seed", f"{{}} must be a whole number, 0 or more, not {seed!r}")
    return np.random.default_rng(seed)


def check_range(setting, value, least=None, above=None, below=None):
    """Raise SettingError unless value >= least, > above and < below, as far as they are given."""
    wanted = []
    if least is not None:
        wanted.append((value >= least, f"{least} or more"))
    if above is not None:
        wanted.append((value > above, f"above {above}"))
    if below is not None:
        wanted.append((value < below, f"below {below}"))
    if not (isfinite(value) and all(holds for holds, _ in wanted)):
        raise SettingError(setting, f"{{}} must be {' and '.join(words for _, words in wanted)}, not {value}")
