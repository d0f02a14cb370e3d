"""Where a model or an adapter is: a folder here, or a download from the Hugging Face hub."""

import re
from difflib import get_close_matches
from pathlib import Path

from ..config import SIZES
from ..errors import InputError

HUB = {name: f"distilbert/{name}" if name == "distilgpt2" else f"openai-community/{name}" for name in SIZES}
ADAPTER_FILES = ["*.json", "*.safetensors"]
HUB_FILES = [
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
]


def find_folder(name):
    """A folder, a name under weights/ here or beside the package, or a published size from the hub."""
    package = Path(__file__).parent.parent
    places = [
        Path(name),
        Path("weights") / name,
        package / "weights" / name,
        package.parent / "weights" / name,
    ]
    # "weights/tiny" also means the embedded model where the working folder has no weights/
    places += [package / name, package.parent / name]
    for place in places:
        if (place / "config.json").is_file():
            return place
    if Path(name).is_dir():
        raise InputError(f"{name}: this folder has no config.json")
    if str(name) in HUB:
        return download(str(name))
    raise InputError(
        f"{name}: no such folder, nothing of that name under weights/, and not one of {', '.join(SIZES)}"
    )


def find_adapter(name):
    """A folder, or "user/name": an adapter on the Hugging Face hub, fetched into its cache.

    Where there is a folder "user" here, a folder was meant: the hub is not asked. Raises InputError with the
    nearest name there is.
    """
    path = Path(name)
    if path.is_dir() or not re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)):
        return path
    if path.parent.is_dir():
        near = get_close_matches(path.name, [each.name for each in path.parent.iterdir()], 1, 0.4)
        meant = f"did you mean {path.parent / near[0]}?" if near else f"nothing like it is in {path.parent}/"
        raise InputError(f"{name}: no such folder; {meant}")
    otherwise = "and no folder here has that name: give one that holds adapter_config.json"
    return fetch(str(name), ADAPTER_FILES, otherwise)


def download(name):
    """Fetch a published GPT-2 into the cache of `huggingface_hub`. -> the folder.

    Raises InputError offline, with where to put which files instead.
    """
    if name not in HUB:
        raise InputError(f"no published GPT-2 is called {name!r}: choose from {', '.join(SIZES)}")
    files = "its config.json, model.safetensors and tokenizer.json (or vocab.json and merges.txt)"
    return fetch(HUB[name], HUB_FILES, f"put {files} into weights/{name}/")


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
