"""Where a model or an adapter is: a folder here, or a download from the Hugging Face hub."""

import re
from pathlib import Path

from ..config import SIZES, published, repository
from ..errors import InputError, choose_from, nearest

ADAPTER_FILES = ["*.json", "*.safetensors"]
HUB_FILES = [
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "generation_config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "chat_template.jinja",
]


def folder_here(name):
    """A model's folder: this one, or one under weights/ here or beside the package; or None.

    "openai-community/gpt2" may also be under weights/gpt2.
    """
    package = Path(__file__).parent.parent
    places = [Path(name)]
    for each in dict.fromkeys([name, published(name) or name]):
        places += [root / "weights" / each for root in (Path(), package, package.parent)]
    # "weights/tiny" also means the embedded model where the working folder has no weights/
    places += [package / name, package.parent / name]
    return next((place for place in places if (place / "config.json").is_file()), None)


def find_folder(name):
    """A folder, a name under weights/ here or beside the package, or a published size from the hub."""
    if place := folder_here(name):
        return place
    if Path(name).is_dir():
        raise InputError(f"{name}: this folder has no config.json")
    if Path(name).is_file():
        raise InputError(f"{name}: a file: give the folder that it is in, {Path(name).parent}")
    if published(name):
        return download(name)
    meant = like(name) or f"no GPT-2 under weights/, or published, is called so: {choose_from(name, SIZES)}"
    raise InputError(f"{name}: no such folder; {meant}")


def refuse_base(folder, name):
    """Raise InputError where a folder to write into is that of the base `name`."""
    base = folder_here(name) if name else None
    if base and Path(folder).resolve() == base.resolve():
        raise InputError(f"{folder}: this is the folder of the base: choose another one to write to")


def find_adapter(name):
    """A folder, or "user/name": an adapter on the Hugging Face hub, fetched into its cache.

    Where there is a folder "user" here, a folder was meant, and the hub is not asked; nor is it for any other
    form of path. Raises InputError with the nearest path there is.
    """
    path = Path(name)
    if path.is_dir():
        return path
    if path.is_file():
        raise InputError(f"{name}: a file: give the folder that it is in, {path.parent}")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)) or path.parent.is_dir():
        raise InputError(f"{name}: no such folder; {like(name) or f'nothing like it is in {path.parent}/'}")
    otherwise = like(name) or "give a folder that holds adapter_config.json"
    return fetch(str(name), ADAPTER_FILES, f"and no folder here has that name: {otherwise}")


def like(name):
    """ "did you mean PATH?", with the path that is most like this one, part by part; "" where none is."""
    path = Path(name)
    found = Path(path.anchor)
    for part in path.relative_to(path.anchor).parts:
        if not (found / part).exists():
            part = nearest(part, [each.name for each in found.iterdir()]) if found.is_dir() else None
        if part is None:
            return ""
        found /= part
    return f"did you mean {found}?"


def download(name):
    """Fetch a published GPT-2 into the cache of `huggingface_hub`. -> the folder.

    Raises InputError offline, with where to put which files instead.
    """
    size = published(name)
    if size is None:
        raise InputError(f"no published GPT-2 is called {name!r}: {choose_from(name, SIZES)}")
    files = "its config.json, model.safetensors and tokenizer.json (or vocab.json and merges.txt)"
    return fetch(repository(size), HUB_FILES, f"put {files} into weights/{size}/")


def fetch(repository, files, otherwise):
    """Files of a repository on the hub -> the folder they are in. Raises InputError, with a way round."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=files))
    except Exception as error:  # offline shows as one of many classes, of several libraries
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{repository} could not be downloaded ({type(error).__name__}: {reason}); {otherwise}"
        ) from None
