"""GPT-2 checkpoints, folders as on the Hugging Face hub: config.json, model.safetensors, tokenizer.json."""

from contextlib import ExitStack
from dataclasses import asdict
from os.path import realpath
from pathlib import Path

import numpy as np

from ..backend import to_host, xp_for
from ..config import GPT2Config
from ..errors import InputError
from .hub import find_folder
from .json_files import atomic, read_object, read_text, write_json
from .tensors import check_finite, check_shapes, open_safetensors, write_safetensors
from .tokenizer import SETTINGS, load_tokenizer, settings_of

FLOATS = ("float16", "float32", "float64")  # that a model is stored as; NumPy has no bfloat16

REQUIRED = {  # what `transformers` can vary and this GPT-2 does not: value that must be there, if any is
    "model_type": ("gpt2",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
}
PUBLISHED_EOS = (
    50256  # where config.json names no end token, `transformers` takes that of the published sizes
)
BESIDE = (  # what `transformers` reads from such a folder, too, and a GPT-2 here keeps for it
    "generation_config.json", SETTINGS, "special_tokens_map.json", "chat_template.jinja",
)  # fmt: skip
MASK_BUFFERS = (".attn.bias", ".attn.masked_bias")  # of old checkpoints; c_attn.bias is another thing


def read_config(path):
    """config.json -> GPT2Config. Raises InputError for a model that is no GPT-2 of this form."""
    values = read_object(path)
    for key, allowed in REQUIRED.items():
        if key in values and values[key] not in allowed:
            raise InputError(f"{path}: {key} is {values[key]!r}; only {allowed[0]!r} is implemented")
    if isinstance(values.get("eos_token_id"), list):
        raise InputError(f"{path}: eos_token_id is a list; a GPT-2 has one end token")
    values.setdefault("eos_token_id", PUBLISHED_EOS)
    known = {key: values[key] for key in GPT2Config.__dataclass_fields__ if key in values}
    try:
        return GPT2Config(**known)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_gpt2(name, dtype="float32", device="cpu", forms=None):
    """A GPT-2 -> its configuration, weights by name, tokenizer or None, and {file: text} of BESIDE.

    Of a folder with config.json and model.safetensors, or shards and their index.

    name: a folder, a name under `weights/`, or a published size, downloaded once ("gpt2", "gpt2-medium",
    "gpt2-large", "gpt2-xl", "distilgpt2"; "openai-community/gpt2" and so on are the same). Names may start
    with "transformer."; attention-mask buffers of old checkpoints are skipped; every other name and shape
    must be as the configuration says.
    forms(config): what brings a weight into the form in which it is held, (name, W) -> W. Each is in it
    before the next one is read, so that one weight at a time is in memory as an array.
    Raises InputError naming file and tensor.
    """
    if dtype not in ("float32", "float64"):
        raise InputError(f"dtype must be 'float32' or 'float64', not {dtype!r}")
    xp = xp_for(device)
    folder = find_folder(name)
    config = read_config(folder / "config.json")
    into_form = forms(config) if forms else lambda _, W: W
    weights = {}
    with ExitStack() as files:
        stored = {}
        for path in weight_files(folder):
            tensors, _ = files.enter_context(open_safetensors(path, MASK_BUFFERS))
            named = {key.removeprefix("transformer."): tensor for key, tensor in tensors.items()}
            if len(named) < len(tensors) or stored.keys() & named.keys():
                raise InputError(f"{path}: a tensor is there twice, here or in another shard")
            stored |= named
        head = stored.pop("lm_head.weight", None) if config.tie_word_embeddings else None
        check_shapes(stored, config.shapes(), folder)
        if head is not None and not are_equal(head, stored["wte.weight"]):
            raise InputError(f"{folder}: lm_head.weight differs from wte.weight, but config.json ties them")
        for key in config.shapes():
            weights[key] = into_form(key, xp.asarray(read_weight(key, stored[key], dtype, folder)))
    beside = {file: read_text(folder / file) for file in BESIDE if (folder / file).is_file()}
    return config, weights, load_tokenizer(folder), beside


def read_weight(key, stored, dtype, folder):
    """-> a stored tensor in this type, read-only. Raises InputError where a number is not finite."""
    with np.errstate(over="ignore"):  # it is looked for in the next line
        value = np.asarray(stored.read(), dtype=dtype)
    check_finite(key, value, folder)
    value.flags.writeable = False
    return value


def are_equal(a, b):
    """Do two stored tensors have the same numbers?"""
    return a.shape == b.shape and np.array_equal(a.read(), b.read())


def weight_files(folder):
    """The safetensors files of a folder: model.safetensors, or the shards that its index names."""
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return shards(index)
    if pickles := sorted(folder.glob("pytorch_model*.bin")):
        raise InputError(
            f"{folder}: only safetensors are read, and no pickle such as {pickles[0].name}; `transformers` "
            "converts it: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(FOLDER, "
            "safe_serialization=True)"
        )
    raise InputError(f"{folder}: neither model.safetensors nor model.safetensors.index.json is there")


def shards(index):
    """The files that an index names, all of them its neighbours.

    They may be links, as the hub's cache has them: from snapshots/REVISION into blobs. Raises InputError for
    a path to anywhere else.
    """
    places, folder = read_object(index).get("weight_map"), index.parent
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise InputError(f"{index}: want weight_map, an object of file names, not {places!r}")
    real = folder.resolve()
    allowed = {real, real.parent.parent / "blobs"} if real.parent.name == "snapshots" else {real}
    files = [folder / name for name in sorted(set(places.values()))]
    for file in files:
        if file.parent != folder or not file.name.isprintable() or Path(realpath(file)).parent not in allowed:
            raise InputError(f"{index}: {file.name!r} is not in this folder")
    return files


def write_gpt2(folder, config, weights, tokenizer=None, dtype=None, beside=None, metadata=None):
    """Write a folder that `transformers` and `read_gpt2` load. dtype: to store in; None: as it is.

    beside: {file: text}, see `read_gpt2`. metadata: {word: text}, for the file of the weights.
    """
    folder = Path(folder)
    stored_as = dtype or weights["wte.weight"].dtype
    stored_as = stored_as if isinstance(stored_as, str) else np.dtype(stored_as).name
    if stored_as not in FLOATS:
        raise InputError(f"{folder}: a model is not stored as {stored_as}: choose from {', '.join(FLOATS)}")
    settings = asdict(config) | {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "torch_dtype": stored_as,
    }
    tensors = {}
    for name, value in weights.items():
        full = name if name.startswith("lm_head.") else f"transformer.{name}"
        with np.errstate(over="ignore"):  # it is said in the next line
            tensors[full] = to_host(value).astype(stored_as, copy=False)
        check_finite(full, tensors[full], f"{folder}, as {stored_as}")
    write_safetensors(folder / "model.safetensors", tensors, metadata)
    write_json(folder / "config.json", settings)
    beside = dict(beside or {})
    if tokenizer is not None:
        with atomic(folder / "tokenizer.json") as temporary:
            Path(temporary).write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
        if text := settings_of(tokenizer, beside.get(SETTINGS)):
            beside[SETTINGS] = text
    for file, text in beside.items():
        with atomic(folder / file) as temporary:
            Path(temporary).write_text(text, encoding="utf-8")
