"""A method by its name and its settings in words, as the command line has them."""

import json
import re
import sys
from dataclasses import fields
from importlib import import_module
from typing import get_type_hints

from ..errors import InputError, choose_from
from ..settings import fits
from . import METHODS, Method, register
from .about import is_registered


def method_class(name):
    """The class of a method by its name, or by "module:Class", which is imported from the working folder.

    Raises InputError for a name that is not known, a module that cannot be imported or has no such class.
    """
    if name in METHODS:
        return METHODS[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        raise InputError(f"no method is called {name!r}: {choose_from(name, METHODS)}, or module:Class")
    if "" not in sys.path:
        sys.path.insert(0, "")  # the working folder, where a script's own would stand
    try:
        found = getattr(import_module(module), attribute, None)
    except Exception as error:
        raise InputError(f"{name}: cannot import {module}: {type(error).__name__}: {error}") from None
    if found is None:
        raise InputError(f"{name}: there is no {attribute} in {module}")
    known = isinstance(found, type) and issubclass(found, Method) and is_registered(found)
    return found if known else register(found)


def make_method(name, settings=()):
    """The method `name` with settings ("r=8", "target_modules=attn.c_attn,mlp.c_fc").

    Raises InputError, with what there is, for a name or setting that is not known.
    """
    cls, values = method_class(name), {}
    kinds = get_type_hints(cls)
    for setting in settings:
        key, equals, text = setting.partition("=")
        defaults = {f.name: f.default for f in fields(cls)}
        if not equals or key not in defaults:
            known = choose_from(key, defaults) if defaults else "it has none"
            raise InputError(f"{name} has no setting {setting!r}: write name=value; {known}")
        if key in values:
            raise InputError(f"{name}'s {key} is given twice")
        values[key] = parse_value(text, defaults[key], kinds[key], f"{name}'s {key}")
    return cls(**values)


def parse_value(text, default, kind, what):
    r"""`text` as a value of a field with this default and type.

    JSON is read as JSON ({"c_fc": 4}, ["c_fc"]), none as None. Where the default is a list of names, "a,b"
    and "a" are such lists, and text with signs that no name has (h\.[01]\..*) is a regular expression. "0,1"
    is a list wherever one of numbers may stand. All else is text.
    """
    if isinstance(default, tuple) and not text.startswith("["):
        one = text == "all-linear" or re.search(r"[][\\^$*+?(){}|]", text)
        return text if one else tuple(part.strip() for part in text.split(","))
    try:
        value = json.loads(text.lower() if text.lower() in ("true", "false") else text)
    except json.JSONDecodeError:
        value = None if text.lower() == "none" else numbers_in(text, kind)
    if isinstance(default, int | float) and not isinstance(default, bool):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{what} must be a number, not {text!r}")
        return type(default)(value) if isinstance(default, float) else value
    return value


def numbers_in(text, kind):
    """ "0,1" as [0, 1] where a field's type allows a list of numbers; else the text."""
    try:
        numbers = json.loads(f"[{text}]")
    except json.JSONDecodeError:
        return text
    return numbers if fits(numbers, kind) else text
