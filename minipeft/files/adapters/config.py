"""What the formats share: reading adapter_config.json into a method's settings."""

from dataclasses import fields, is_dataclass
from typing import get_args, get_origin, get_type_hints

from ...errors import InputError
from ...settings import fits, in_words
from ..json_files import read_object

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"


def read_config(folder):
    """The folder's adapter_config.json as a dict. Raises InputError where it is none."""
    return read_object(folder / CONFIG)


def peft_type(folder):
    """The folder's `peft_type`, or None."""
    if not (folder / CONFIG).is_file():
        return None
    config = read_config(folder)
    check_kinds(config, {"peft_type": str | None}, folder / CONFIG)
    return config.get("peft_type")


def check_kinds(config, kinds, path):
    """Raise InputError for the first key of a configuration that is there and not of its kind, a type."""
    for key, kind in kinds.items():
        if key in config and not fits(config[key], kind):
            raise InputError(f"{path}: {key} must be {in_words(kind)}, not {config[key]!r}")


def settings(cls, config, path):
    """Of a configuration, the fields of the method `cls`. A null is the default, where None is no value.

    Raises InputError for a value that is not of the field's type.
    """
    kinds = get_type_hints(cls)
    given = {f.name: config[f.name] for f in fields(cls) if f.name in config}
    values = {name: value for name, value in given.items() if value is not None or fits(None, kinds[name])}
    values = {name: with_parts(in_field(v, kinds[name]), kinds[name], path) for name, v in values.items()}
    check_kinds(values, kinds, path)
    return values


def in_field(value, kind):
    """A value with tuples for JSON's lists, unless a field of this kind takes a list and no tuple."""
    tuples = with_tuples(value)
    return value if fits(value, kind) and not fits(tuples, kind) else tuples


def with_parts(value, kind, path):
    """The value of a field; where it holds a method, or several by name, these are made of their dicts."""
    if not isinstance(value, dict):
        return value
    if is_dataclass(kind):
        refuse_others(value, {f.name for f in fields(kind)}, path)
        return kind(**settings(kind, value, path))
    if get_origin(kind) is dict:
        return {key: with_parts(each, get_args(kind)[1], path) for key, each in value.items()}
    return value


def refuse_others(config, known, path):
    """Raise InputError for a setting that is not `known`, unless its value switches it off."""
    for key, value in config.items():
        if key not in known and value:
            raise InputError(f"{path}: {key} = {value!r} is not implemented")


def with_tuples(value):
    """Tuples in place of lists, however deep: JSON does not know them."""
    if isinstance(value, dict):
        return {key: with_tuples(v) for key, v in value.items()}
    return tuple(with_tuples(v) for v in value) if isinstance(value, list) else value
