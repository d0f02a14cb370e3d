"""Adapters on disk: adapter_config.json and adapter_model.safetensors, as Hugging Face PEFT has them.

LoRA is written in PEFT's own format: its keys, and its matrices, which are torch.nn.Linear's (out, in),
where this package has GPT-2's (in, out). The transposes are here and nowhere else. The other methods are
written under the names and in the shapes that they have here, with a `peft_type` of this package's own.
"""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from . import __version__
from .backend import like
from .errors import InputError
from .files import (
    check_tensors,
    load_gpt2,
    read_json,
    read_safetensors,
    save_gpt2,
    write_json,
    write_safetensors,
)
from .gpt2 import GPT2
from .methods import METHODS, Chain, Full, LoRA
from .peft_model import PeftModel


@dataclass
class Format:
    """How a method is written.

    peft_type  its name in adapter_config.json
    suffixes   {end of a tensor's name here: end of its key there}; matrices are transposed
    extra      keys of adapter_config.json that are no fields of the method, with the value they must have
    """

    method: type
    peft_type: str
    suffixes: dict
    extra: dict


PREFIX = "base_model.model."  # PEFT's name for the model inside its own
OWN = "MINIPEFT_"  # begins the peft_type of what is written in this package's own way

FORMATS = (
    Format(
        LoRA,
        "LORA",
        {".lora_A": ".lora_A.weight", ".lora_B": ".lora_B.weight"},
        {"fan_in_fan_out": True, "bias": "none", "use_dora": False, "lora_bias": False,
         "layers_pattern": None, "modules_to_save": None},
    ),
)  # fmt: skip
UNREAD = {  # keys that say nothing about the function the adapter computes, on this model
    "auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version", "revision",
    "task_type", "fan_in_fan_out", "megatron_core", "qalora_group_size",
}  # fmt: skip


def save_adapter(peft, folder):
    """Write `peft`'s adapter; full fine-tuning is written as the plain GPT-2 that it is.

    Raises InputError for a chain of several methods.
    """
    folder, method = Path(folder), single(peft.method)
    if isinstance(method, Full):
        save_gpt2(GPT2(peft.config, peft.weights, peft.tokenizer), folder)
        return
    form = next((f for f in FORMATS if type(method) is f.method), None)
    config = asdict(method) | {
        "peft_type": form.peft_type if form else own_peft_type(method),
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        "base_model_name_or_path": peft.model.name,
        "auto_mapping": None,
        "revision": None,
    }
    if form:
        config |= form.extra
        prefix = PREFIX + "transformer."
        stored = {prefix + key_in_peft(name, form): value.T for name, value in peft.tensors.items()}
    else:
        stored = peft.tensors | peft.trainable
    write_safetensors(folder / "adapter_model.safetensors", stored, {"minipeft": __version__})
    write_json(folder / "adapter_config.json", config)


def load_adapter(model, folder):
    """`model` with the adapter of a folder, ready to use or to train on.

    Raises InputError for a setting that is not implemented, and for a tensor that is missing, not known,
    or of a shape that does not fit `model`.
    """
    folder = Path(folder)
    if not (folder / "adapter_config.json").is_file():
        if (folder / "config.json").is_file():
            return load_full(model, folder)
        raise InputError(f"{folder}: no adapter_config.json there, and no config.json of a whole model")
    path = folder / "adapter_model.safetensors"
    cls, settings, form = read_adapter_config(folder / "adapter_config.json")
    stored, _ = read_safetensors(path)
    peft = PeftModel(model, cls.restored(settings, stored))
    if form is None:
        tensors = peft.tensors | peft.trainable
        check_tensors(stored, {name: t.shape for name, t in tensors.items()}, path)
        for name, tensor in tensors.items():
            tensor[...] = like(tensor, stored[name])
        return peft
    stored = {key.removeprefix(PREFIX).removeprefix("transformer."): value for key, value in stored.items()}
    keys = {name: key_in_peft(name, form) for name in peft.tensors}
    check_tensors(stored, {keys[name]: t.T.shape for name, t in peft.tensors.items()}, path)
    for name, tensor in peft.tensors.items():
        tensor[...] = like(tensor, stored[keys[name]].T)
    return peft


def load_full(model, folder):
    """`model` with the weights of a whole GPT-2, as full fine-tuning writes it."""
    peft = PeftModel(model, Full())
    trained = load_gpt2(folder, dtype=str(model.dtype)).weights
    check_tensors(trained, {name: w.shape for name, w in peft.trainable.items()}, folder)
    for name, weight in peft.trainable.items():
        weight[...] = like(weight, trained[name])
    return peft


def read_adapter_config(path):
    """adapter_config.json -> the class of its method, its settings, and its format; None for our own.

    Raises InputError for a key that is not implemented here, unless its value switches it off.
    """
    config = read_json(path)
    peft_type = config.get("peft_type")
    form = next((f for f in FORMATS if f.peft_type == peft_type), None)
    own = {OWN + name.upper(): cls for name, cls in METHODS.items() if cls is not Full}
    if form is None and peft_type not in own:
        known = ", ".join([*(f.peft_type for f in FORMATS), *own])
        raise InputError(f"{path}: peft_type {peft_type!r} is not one of {known}")
    cls, extra = (form.method, form.extra) if form else (own[peft_type], {})
    names = {f.name for f in fields(cls)}
    for key, value in config.items():
        if key not in names | UNREAD and value and value != extra.get(key):
            raise InputError(f"{path}: {key} = {value!r} is not implemented")
    return cls, {key: with_tuples(value) for key, value in config.items() if key in names}, form


def with_tuples(value):
    """Tuples in place of lists, however deep: JSON does not know them."""
    if isinstance(value, dict):
        return {key: with_tuples(v) for key, v in value.items()}
    return tuple(with_tuples(v) for v in value) if isinstance(value, list) else value


def own_peft_type(method):
    """The `peft_type` of a method that is written in this package's own way: MINIPEFT_DORA."""
    return next(OWN + name.upper() for name, cls in METHODS.items() if type(method) is cls)


def key_in_peft(name, form):
    """ "h.0.attn.c_attn.lora_A" -> "h.0.attn.c_attn.lora_A.weight"."""
    return next(
        name.removesuffix(here) + there for here, there in form.suffixes.items() if name.endswith(here)
    )


def single(method):
    """The one method of a model. Raises InputError for a chain of several, which no format describes."""
    if type(method) is not Chain:  # MAM is a Chain, and one method
        return method
    if len(method.methods) != 1:
        raise InputError(f"an adapter folder holds one method, and this model has {len(method.methods)}")
    return method.methods[0]
