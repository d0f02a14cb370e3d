"""Full fine-tuning on disk: the plain GPT-2 that it is, as `transformers` has it."""

from ...backend import like
from ...methods import Full
from ..checkpoint import read_gpt2, write_gpt2
from ..tensors import check_tensors
from .config import CONFIG


def writes(method):
    """Full fine-tuning."""
    return type(method) is Full


def reads(folder):
    """A config.json, and no adapter's."""
    return (folder / "config.json").is_file() and not (folder / CONFIG).is_file()


def save(peft, folder):
    """Write the whole model. A folder that held an adapter holds this model from now on."""
    (folder / CONFIG).unlink(missing_ok=True)
    write_gpt2(folder, peft.config, peft.weights, peft.tokenizer, beside=peft.model.beside)


def load(model, folder, attach):
    """All weights of the folder. Raises InputError where one does not fit."""
    attached = attach(model, Full())
    _, trained, *_ = read_gpt2(folder, dtype=str(model.dtype))
    check_tensors(trained, {name: w.shape for name, w in attached.trainable.items()}, folder)
    for name, weight in attached.trainable.items():
        weight[...] = like(weight, trained[name])
    return attached
