"""What the formats share: reading adapter_config.json into a method's settings."""

from dataclasses import fields
from numbers import Real

from ...errors import InputError
from ..json_files import read_json

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"


def read_config(folder):
    """The folder's adapter_config.json as a dict. Raises InputError where it is none."""
    return read_object(folder / CONFIG)


def read_object(path):
    """A JSON file as a dict. Raises InputError where it is none."""
    config = read_json(path)
    if not isinstance(config, dict):
        raise InputError(f"{path}: not a JSON object of settings")
    return config


def peft_type(folder):
    """The folder's `peft_type`, or None."""
    return read_config(folder).get("peft_type") if (folder / CONFIG).is_file() else None


def settings(cls, config, path):
    """Of a configuration, the fields of the method `cls`; a null stands for the field's default.

    Raises InputError for anything but a number where a number is expected, or but true or false for a switch.
    """
    values = {}
    for f in fields(cls):
        value = config.get(f.name)
        if value is None:
            continue
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if f.type is bool and not isinstance(value, bool):
            raise InputError(f"{path}: {f.name} must be true or false, not {value!r}")
        if f.type in (int, float) and not is_number:
            raise InputError(f"{path}: {f.name} must be a number, not {value!r}")
        values[f.name] = with_tuples(value)
    return values


def with_tuples(value):
    """Tuples in place of lists, however deep: JSON does not know them."""
    if isinstance(value, dict):
        return {key: with_tuples(v) for key, v in value.items()}
    return tuple(with_tuples(v) for v in value) if isinstance(value, list) else value
