"""Full fine-tuning on disk: the plain GPT-2 that it is, as `transformers` has it."""

from ...backend import like
from ...errors import InputError
from ...methods import Full
from ..checkpoint import read_gpt2, write_gpt2
from ..tensors import check_shapes, read_metadata
from .config import CONFIG

FILES = ("config.json", "model.safetensors")
MARK = {"minipeft_adapter": "full"}  # in the metadata: a base has none, and is no adapter's to remove


def writes(method):
    """Full fine-tuning."""
    return type(method) is Full


def reads(folder):
    """A config.json, and no adapter's."""
    return (folder / "config.json").is_file() and not (folder / CONFIG).is_file()


def is_adapter(folder):
    """Is the model in the folder one that was written as an adapter?"""
    try:
        return read_metadata(folder / "model.safetensors").items() >= MARK.items()
    except InputError:
        return False


def save(peft, folder):
    """Write the whole model."""
    write_gpt2(folder, peft.config, peft.weights, peft.tokenizer, beside=peft.model.beside, metadata=MARK)


def load(model, folder, attach):
    """All weights of the folder. Raises InputError where one does not fit."""
    attached = attach(model, Full())
    config, trained, *_ = read_gpt2(folder, dtype=str(model.dtype))
    for name in ("n_head", "layer_norm_epsilon"):  # that no shape shows
        there, here = getattr(config, name), getattr(model.config, name)
        if there != here:
            raise InputError(f"{folder}: {name} is {there}, and the base's is {here}")
    check_shapes(trained, {name: w.shape for name, w in attached.trainable.items()}, folder)
    for name, weight in attached.trainable.items():
        weight[...] = like(weight, trained[name])
    return attached
