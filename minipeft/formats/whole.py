"""Full fine-tuning on disk: the plain GPT-2 that it is, as `transformers` has it."""

from ..backend import like
from ..files import check_tensors, load_gpt2, save_gpt2
from ..gpt2 import GPT2
from ..methods import Full
from ..peft_model import PeftModel
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
    save_gpt2(GPT2(peft.config, peft.weights, peft.tokenizer), folder)


def load(model, folder):
    """`model` with all weights of the folder. Raises InputError where one does not fit."""
    peft = PeftModel(model, Full())
    trained = load_gpt2(folder, dtype=str(model.dtype)).weights
    check_tensors(trained, {name: w.shape for name, w in peft.trainable.items()}, folder)
    for name, weight in peft.trainable.items():
        weight[...] = like(weight, trained[name])
    return peft
