"""Adapters on disk. Each format is a module with the same four functions, and here one is chosen.

    writes(method)       is this method written in this format?
    reads(folder)        does the folder hold this format?
    save(peft, folder)   write the adapter
    load(model, folder, attach)  -> the adapter on `model`, as `attach(model, methods)` makes it, filled
                                    from the folder

`attach` is `Attached.on`: handed in, so that a format knows files and methods, and no model that holds them.

docs/formats.md says what goes where.
"""

from functools import partial
from pathlib import Path

from ...backend import to_host
from ...errors import InputError, visible
from ...methods import Chain
from ..hub import find_adapter, refuse_base
from ..tensors import check_finite
from . import adapterhub, huggingface, own, whole
from .replace import replace_adapter

SPARE = 1 << 20  # numbers that an adapter may draw beside those in its files
FORMATS = (adapterhub, whole, huggingface, own)  # the first that writes a method does; `own` writes every one


def save_adapter(peft, folder):
    """Write `peft`'s adapter into `folder`, in the first format that has its method: see `replace_adapter`.

    Raises InputError where it is the folder of the base, and where a number is not finite: none is read.
    """
    method = peft.method
    if type(method) is Chain and len(method.methods) == 1:  # a list of one is that one
        method = method.methods[0]
    refuse_base(folder, peft.model.name)
    for name, tensor in (peft.tensors | peft.selected).items():
        check_finite(name, to_host(tensor), folder)
    form = next(form for form in FORMATS if form.writes(method))
    with replace_adapter(Path(folder)) as new:
        form.save(peft, new)


def load_adapter(model, folder, attach):
    """The adapter of a folder, or of "user/name" on the hub, on `model`: an `Attached`, made by `attach`.

    Its `model` is another one where the file has embeddings or a head of its own.

    Raises InputError for a folder that holds none, a setting that is not implemented, and a tensor that is
    missing, not known, or of a shape that does not fit `model`.
    """
    folder = find_adapter(folder)
    form = next((form for form in FORMATS if form.reads(folder)), None)
    if form is None:
        raise InputError(f"{folder}: no adapter_config.json there, and no config.json of a whole model")
    files = [*folder.glob("*.safetensors"), *folder.glob("*/*.safetensors")]  # a fusion's are in folders
    most = SPARE + sum(file.stat().st_size for file in files if file.is_file())
    try:
        return form.load(model, folder, partial(attach, most=most))
    except InputError as error:
        if str(error).startswith(visible(folder)):
            raise
        raise InputError(f"{folder}: {error}") from None
