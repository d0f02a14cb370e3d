"""This package's own format, for what no library has: the tensors under the names and in the shapes of here.

adapter_config.json has a `peft_type` of our own, "MINIPEFT_BITFIT", and the method's fields. Of several
methods at once it is "MINIPEFT_CHAIN", and "methods" lists their configurations in order.
adapter_model.safetensors has what the methods own and what they train of the base.
"""

from dataclasses import asdict, fields, is_dataclass

from ...backend import like
from ...errors import InputError
from ...methods import METHODS, Chain, Sparse
from ...methods.about import about
from ...version import __version__
from ..json_files import as_json, parse_json, write_json
from ..tensors import as_stored, check_tensors, read_safetensors, write_safetensors
from .config import CONFIG, TENSORS, peft_type, read_config, refuse_others, settings

OWN = "MINIPEFT_"
COMMON = {"peft_type", "task_type", "inference_mode", "base_model_name_or_path", "auto_mapping", "revision"}
FROM_THE_BASE = "_start"  # what `Sparse` takes from any base it is put on, and not stored


def writes(method):
    """Every method, and every chain."""
    return True


def reads(folder):
    """A peft_type of our own."""
    return str(peft_type(folder)).startswith(OWN)


def save(peft, folder):
    """Write the adapter. Raises InputError for a setting or a tensor that a file would not give back."""
    for method in parts(peft.method):
        check_settings(method, folder / CONFIG)
    config = configuration(peft.method) | {
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        "base_model_name_or_path": peft.model.name,
        "auto_mapping": None,
        "revision": None,
    }
    tensors = {name: as_stored(name, t, folder / TENSORS) for name, t in stored(peft).items()}
    write_safetensors(folder / TENSORS, tensors, {"minipeft": __version__})
    write_json(folder / CONFIG, config)


def load(model, folder, attach):
    """The adapter on `model`. Raises InputError for an unknown setting, or a tensor that does not fit."""
    path = folder / TENSORS
    tensors, _ = read_safetensors(path)
    attached = attach(model, restored(read_config(folder), tensors, folder / CONFIG))
    check_tensors(tensors, {name: t.shape for name, t in stored(attached).items()}, path)
    for name, tensor in stored(attached).items():
        tensor[...] = like(tensor, tensors[name])
    return attached


def stored(peft):
    """{name: tensor} of what the file holds."""
    selected = {n: w for n, w in peft.selected.items() if peft.method.optimizer_changes(n)}
    everything = peft.tensors | selected  # not peft.trainable, which is empty where nothing may train
    sparse = Chain([m for m in parts(peft.method) if isinstance(m, Sparse)])
    of_sparse = {n + FROM_THE_BASE for n in peft.weights if sparse.trains_base(n, peft.model.config)}
    return {name: t for name, t in everything.items() if name not in of_sparse}


def parts(method):
    """The methods of a chain, or the one."""
    return method.methods if type(method) is Chain else [method]


def check_settings(method, path):
    """Raise InputError for a setting that the file would not give back: a set, or a dict by numbers."""
    own = {f.name: getattr(method, f.name) for f in fields(method)}
    for name, value in own.items():
        try:
            said = parse_json(as_json(in_dicts({name: value})), path)
            same = in_dicts(settings(type(method), said, path).get(name)) == in_dicts(value)
        except (TypeError, InputError):
            same = False
        if not same:
            raise InputError(
                f"{path}: {type(method).__name__}'s {name} = {value!r} is nothing that JSON holds"
            )


def in_dicts(value):
    """A setting with dicts for dataclasses, and tuples for lists, however deep: to compare."""
    if is_dataclass(value):
        value = asdict(value)
    if isinstance(value, dict):
        return {key: in_dicts(each) for key, each in value.items()}
    return tuple(map(in_dicts, value)) if isinstance(value, list | tuple) else value


def configuration(method):
    """A method or chain -> what adapter_config.json says of it."""
    if type(method) is Chain:  # MAM and UniPELT are chains, too, and each one method
        if len(method.methods) == 1:
            return configuration(method.methods[0])
        return {"peft_type": OWN + "CHAIN", "methods": [configuration(m) for m in method.methods]}
    return asdict(method) | {"peft_type": OWN + about(method).name.upper()}


def restored(config, tensors, path):
    """What adapter_config.json says -> the method or chain. Raises InputError for what is not known."""
    kind = config.get("peft_type")
    if kind == OWN + "CHAIN":
        refuse_others(config, COMMON | {"methods"}, path)
        parts = config.get("methods")
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise InputError(f"{path}: methods must be a list of configurations, not {parts!r}")
        return Chain([restored(part, tensors, path) for part in parts])
    classes = {OWN + name.upper(): cls for name, cls in METHODS.items()}
    if not isinstance(kind, str) or kind not in classes:
        raise InputError(
            f"{path}: peft_type {kind!r} is not one of {', '.join([*classes, OWN + 'CHAIN'])}; "
            "if it is a method of your own, call minipeft.register first, or give --register module:Class"
        )
    cls = classes[kind]
    refuse_others(config, COMMON | {f.name for f in fields(cls)}, path)
    return cls.from_saved(settings(cls, config, path), tensors)
