"""A method by its name and its settings in words, as the command line has them."""

import json
from dataclasses import fields

from ..errors import InputError
from . import METHODS


def make_method(name, settings=()):
    """The method `name` with settings ("r=8", "target_modules=attn.c_attn,mlp.c_fc").

    Raises InputError, with what there is, for a name or setting that is not known.
    """
    if name not in METHODS:
        raise InputError(f"no method is called {name!r}: choose from {', '.join(METHODS)}")
    cls, values = METHODS[name], {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        defaults = {f.name: f.default for f in fields(cls)}
        if not equals or key not in defaults:
            known = ", ".join(defaults) or "none"
            raise InputError(f"{name} has no setting {setting!r}: write name=value, with one of: {known}")
        values[key] = parse_value(text, defaults[key], f"{name}'s {key}")
    return cls(**values)


def parse_value(text, default, what):
    """`text` as a value of the kind that `default` is; "a,b" and "a" are both a tuple where it is one.

    Where there is no number to go by, JSON is read as JSON ({"c_fc": 4}), none as None, all else as text.
    """
    if isinstance(default, tuple):
        return text if text == "all-linear" else tuple(text.split(","))
    try:
        value = json.loads(text.lower() if text.lower() in ("true", "false") else text)
    except json.JSONDecodeError:
        value = None if text.lower() == "none" else text
    if isinstance(default, int | float) and not isinstance(default, bool):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{what} must be a number, not {text!r}")
        return type(default)(value) if isinstance(default, float) else value
    return value
