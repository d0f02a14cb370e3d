"""Adapters as the command line names them: "runs/food", "food=runs/food", or "none", the base."""

import sys
from pathlib import Path

from ..errors import InputError, shortened
from ..files.json_files import read_object
from ..mixed_model import changes_base
from ..peft_model import PeftModel

NONE = "none"  # the name of the base without an adapter


def named_folders(given):
    """["runs/food", "people=runs/lora", "none"] -> {"food": folder, "people": folder, "none": None}.

    A folder without a name is called by its last part; the second that would be "lora" is "lora-2".
    Raises InputError for a name that is given twice, or is not the caller's to give.
    """
    pairs = [split_name(text) for text in given]
    names = [name for name, _ in pairs if name]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two adapters are called {twice[0]!r}: give each a name of its own, name=folder")
    folders = {}
    for name, folder in pairs:
        folders[name or unused_name(Path(folder).resolve().name, {NONE, *names, *folders})] = folder
    return folders


def split_name(text):
    """What `named_folders` takes -> (name or None, folder); the base has a name and no folder."""
    if text == NONE:
        return NONE, None
    name, equals, folder = text.partition("=")
    if not equals or Path(text).is_dir():  # a folder's name may have a "=" in it
        return None, text
    if not name or not folder or name == NONE:
        raise InputError(f"--adapter {text}: write name=folder; {NONE} is the base and has no folder")
    return name, folder


def unused_name(name, used):
    """`name`, or the first of name-2, name-3, ... that is not used."""
    n, unused = 1, name
    while unused in used:
        n += 1
        unused = f"{name}-{n}"
    return unused


def load_named(model, folders, base_name=NONE):
    """`model` with the adapters of {name: folder}; the base alone is the adapter `base_name`, and active."""
    peft = PeftModel(model, adapter_name=base_name)  # no methods: the base as it is
    for name, folder in folders.items():
        if folder is not None:
            peft.load_adapter(folder, name)
            note_another_base(model, folder)
    return peft


def note_another_base(model, folder):
    """Say on standard error where the adapter's folder names another base than this one."""
    path = Path(folder) / "adapter_config.json"
    stated = read_object(path).get("base_model_name_or_path") if path.is_file() else None
    last = lambda name: (str(name).startswith("random:"), Path(str(name)).name)
    if stated and model.name and last(stated) != last(model.name):
        print(
            f"minipeft: {folder} was trained on {shortened(stated)}, and this base is {model.name}: is it "
            "the same? --model says which to take",
            file=sys.stderr,
        )


def generate_under(peft, names, prompts, **options):
    """[prompt, ...] continued under each of these adapters. -> {name: [continuation, ...]}.

    Those that may share a batch do, and the base runs once for all of them; then the others, one by one.
    """
    sharing = [name for name in names if not changes_base(peft.adapter(name), peft.model)]
    outputs = {}
    if sharing:
        rows = [name for name in sharing for _ in prompts]
        texts = peft.mixed(rows).generate(prompts * len(sharing), **options)
        for i, name in enumerate(sharing):
            outputs[name] = texts[i * len(prompts) : (i + 1) * len(prompts)]
    for name in names:
        if name not in outputs:
            peft.set_adapter(name)
            outputs[name] = peft.generate(prompts, **options)
    return {name: outputs[name] for name in names}
