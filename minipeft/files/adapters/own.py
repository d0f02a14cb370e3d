"""This package's own format, for what no library has: the tensors under the names and in the shapes of here.

adapter_config.json has a `peft_type` of our own, "MINIPEFT_BITFIT", and the method's fields. Of several
methods at once it is "MINIPEFT_CHAIN", and "methods" lists their configurations in order.
adapter_model.safetensors has what the methods own and what they train of the base.
"""

from dataclasses import asdict, fields

from ...backend import like
from ...errors import InputError
from ...methods import METHODS, Chain
from ...methods.about import about
from ...version import __version__
from ..json_files import write_json
from ..tensors import check_tensors, read_safetensors, write_safetensors
from .config import CONFIG, TENSORS, peft_type, read_config, refuse_others, settings

OWN = "MINIPEFT_"
COMMON = {"peft_type", "task_type", "inference_mode", "base_model_name_or_path", "auto_mapping", "revision"}
FROM_THE_BASE = "_start"  # beside "_indices": what `Sparse` takes from any base it is put on, and not stored


def writes(method):
    """Every method, and every chain."""
    return True


def reads(folder):
    """A peft_type of our own."""
    return str(peft_type(folder)).startswith(OWN)


def save(peft, folder):
    """Write the adapter."""
    config = configuration(peft.method) | {
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        "base_model_name_or_path": peft.model.name,
        "auto_mapping": None,
        "revision": None,
    }
    write_safetensors(folder / TENSORS, stored(peft), {"minipeft": __version__})
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
    of_sparse = {name.replace("_indices", FROM_THE_BASE) for name in everything if name.endswith("_indices")}
    return {name: t for name, t in everything.items() if name not in of_sparse}


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
