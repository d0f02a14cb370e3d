"""Checkpoints: safetensors in and out, GPT-2 folders as on the Hugging Face hub, and downloading them."""

import json
import mmap
import os
import re
import tempfile
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from .backend import to_host, xp_for
from .errors import InputError
from .gpt2 import GPT2, SIZES, GPT2Config

# ---------------------------------------------------------------------------------------- safetensors

STORED = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I32": "<i4"}  # NumPy has no bfloat16


def read_safetensors(path, skip=()):
    """A safetensors file -> {name: array}, and its metadata. The arrays are mapped from the file, read-only.

    skip: ends of names to leave out.
    A bfloat16 is the upper half of a float32, so those become float32 copies. Raises InputError naming
    the file where it is missing, cut short, not safetensors, or holds a type that is not in STORED.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with safe_open(path, framework="np") as file:  # checks header, offsets and length
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise InputError(f"{path}: not a whole safetensors file ({error})") from None
    data = np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)
    body = 8 + int(data[:8].view("<u8")[0])
    header = json.loads(data[8:body].tobytes())
    header.pop("__metadata__", None)
    tensors = {}
    for name, info in header.items():
        if name.endswith(tuple(skip)):
            continue
        if info["dtype"] not in STORED:
            raise InputError(f"{path}: {name} is of type {info['dtype']}; want one of {', '.join(STORED)}")
        begin, end = (body + offset for offset in info["data_offsets"])
        stored = data[begin:end].view(STORED[info["dtype"]])
        if info["dtype"] == "BF16":
            stored = (stored.astype(np.uint32) << 16).view(np.float32)
        tensors[name] = stored.reshape(info["shape"])
    return tensors, metadata


def unload(array):
    """Give back the memory that a mapped array's file takes by now; it is read again if asked for."""
    while isinstance(array, np.ndarray):
        array = array.base
    if isinstance(array, mmap.mmap):
        array.madvise(mmap.MADV_DONTNEED)


def write_safetensors(path, tensors, metadata=None):
    """{name: array} -> a safetensors file, written beside it first and then renamed: never half a file."""
    from safetensors.numpy import save_file

    host = {name: np.ascontiguousarray(to_host(value)) for name, value in tensors.items()}
    with atomic(path) as temporary:
        save_file(host, temporary, metadata={"format": "pt"} | (metadata or {}))


def write_json(path, value):
    """A value -> a JSON file, sorted and indented, all of it or nothing."""
    with atomic(path) as temporary:
        Path(temporary).write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@contextmanager
def atomic(path):
    """A temporary file in the same folder, which takes the place of `path` once it is whole and on disk."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def read_json(path):
    """A JSON file -> its value. Raises InputError with the line where it is none."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", 1)
        raise InputError(f"{path}, line {line}: not JSON: {error}") from None


# -------------------------------------------------------------------------------------- GPT-2 folders

REQUIRED = {  # what `transformers` can vary and this GPT-2 does not: value that must be there, if any is
    "model_type": ("gpt2",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
}
MASK_BUFFERS = (".attn.bias", ".attn.masked_bias")  # of old checkpoints; c_attn.bias is another thing


def read_config(path):
    """config.json -> GPT2Config. Raises InputError for a model that is no GPT-2 of this form."""
    values = read_json(path)
    for key, allowed in REQUIRED.items():
        if key in values and values[key] not in allowed:
            raise InputError(f"{path}: {key} is {values[key]!r}; only {allowed[0]!r} is implemented")
    if isinstance(values.get("eos_token_id"), list):
        raise InputError(f"{path}: eos_token_id is a list; a GPT-2 has one end token")
    known = {key: values[key] for key in GPT2Config.__dataclass_fields__ if key in values}
    return GPT2Config(**known)


def load_gpt2(name, dtype="float32", device="cpu"):
    """Load a GPT-2 from a folder with config.json and model.safetensors (or shards and their index).

    name: a folder, a name under `weights/`, or a published size, downloaded once ("gpt2", "gpt2-medium",
    "gpt2-large", "gpt2-xl", "distilgpt2"). Names may start with "transformer."; attention-mask buffers of
    old checkpoints are skipped; every other name and shape must be as the configuration says.
    Where dtype and device allow, the arrays are the file itself, mapped: float32 weights are not held twice.
    Raises InputError naming file and tensor.
    """
    from .data import load_tokenizer

    if dtype not in ("float32", "float64"):
        raise InputError(f"dtype must be 'float32' or 'float64', not {dtype!r}")
    xp = xp_for(device)
    folder = find_folder(name)
    config = read_config(folder / "config.json")
    stored = {}
    for path in weight_files(folder):
        tensors, _ = read_safetensors(path, MASK_BUFFERS)
        stored |= {key.removeprefix("transformer."): value for key, value in tensors.items()}
    head = stored.pop("lm_head.weight", None) if config.tie_word_embeddings else None
    if head is not None and not np.array_equal(head, stored.get("wte.weight")):
        raise InputError(f"{folder}: lm_head.weight differs from wte.weight, but config.json ties them")
    check_tensors(stored, config.shapes(), folder)
    weights = {key: xp.asarray(stored[key], dtype=dtype) for key in config.shapes()}
    return GPT2(config, weights, load_tokenizer(folder), name=str(name))


def check_tensors(tensors, shapes, where):
    """Raise InputError for the first tensor that is missing, not known, or of another shape."""
    for name, shape in shapes.items():
        if name not in tensors:
            raise InputError(f"{where}: tensor {name} is missing")
        if tensors[name].shape != shape:
            raise InputError(f"{where}: tensor {name} has shape {tensors[name].shape}, expected {shape}")
    if unknown := sorted(tensors.keys() - shapes.keys()):
        raise InputError(f"{where}: tensor {unknown[0]} does not belong there")


def weight_files(folder):
    """The safetensors files of a folder: model.safetensors, or the shards that its index names."""
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return [folder / name for name in sorted(set(read_json(index)["weight_map"].values()))]
    raise InputError(f"{folder}: neither model.safetensors nor model.safetensors.index.json is there")


def save_gpt2(model, folder, dtype=None):
    """Write a folder that `transformers` and `load_gpt2` load. dtype: to store in, else as it is.

    Raises InputError for a quantised model: the format has no place for its codes.
    """
    if model.quantization:
        raise InputError(
            f"{folder}: the weights are {model.quantization} and the file holds floats: save the model that "
            "this one was made from, or model.dequantized()"
        )
    folder = Path(folder)
    config = asdict(model.config) | {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "bos_token_id": model.config.eos_token_id,
        "torch_dtype": str(np.dtype(dtype or model.dtype)),
    }
    tensors = {}
    for name, value in model.weights.items():
        full = name if name.startswith("lm_head.") else f"transformer.{name}"
        tensors[full] = to_host(value).astype(dtype or value.dtype, copy=False)
    write_safetensors(folder / "model.safetensors", tensors)
    write_json(folder / "config.json", config)
    if model.tokenizer is not None:
        with atomic(folder / "tokenizer.json") as temporary:
            model.tokenizer.save(temporary)


# -------------------------------------------------------------------------------- finding, downloading

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
    package = Path(__file__).parent
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
    """A folder, or "user/name": an adapter on the Hugging Face hub, fetched into its cache."""
    if Path(name).is_dir() or not re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)):
        return Path(name)
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
