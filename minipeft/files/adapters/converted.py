"""Parts of PEFT's LoRA files that no method here has: they are read as others that compute the same.

    lora_bias                  s b' beside s (x A) B   the layer's own bias, b + s b'; it trains ("lora_only")
    trainable_token_indices    rows of wte             the base's embeddings; they do not train
    LoRA on wte                wte + s (B A)^T         the base's embeddings; they do not train

PEFT's LoRA on a tied wte is in the embedding alone, and not in the head: the two are parted, and a save names
both in modules_to_save, without which PEFT would make them one again. The rows of trainable tokens are in
both. A save writes what was read, and PEFT reads it.
"""

import numpy as np

from ...backend import to_host
from ...errors import InputError
from ...methods import LoRA
from ...methods.linear.targets import matches
from ...speed.quantized import dequantized
from ..tensors import check_tensors
from .config import check_kinds, settings

KINDS = {
    "lora_bias": bool | None,
    "trainable_token_indices": tuple[int, ...] | dict[str, tuple[int, ...]] | None,
}
EMBEDDINGS = ("wte.weight", "lm_head.weight")
ROWS = "wte.token_adapter.trainable_tokens_delta"  # (n, C), whole rows in spite of the name
A, B = "wte.lora_embedding_A", "wte.lora_embedding_B"  # (R, V), (C, R)


def converted(stored, config, model, path):
    """The tensors of a file and its configuration, without these parts and with what stands for them.

    Raises InputError where such a part does not fit.
    """
    if config.get("peft_type") != "LORA":
        return stored, config
    check_kinds(config, KINDS, path)
    stored = with_plain_embeddings(stored)
    if config.get("lora_bias"):
        stored, config = with_biases(stored, config, model, path)
    wte = to_host(dequantized(model.weights["wte.weight"]))
    if config.get("trainable_token_indices"):
        at, rows = token_rows(stored, config["trainable_token_indices"], wte, path)
        there = {key: stored[key].copy() for key in EMBEDDINGS if key in stored}
        there = there or {"wte.weight": wte.copy()}
        check_tensors(there, dict.fromkeys(there, wte.shape), path)
        for embedding in there.values():
            embedding[at] = rows
        stored = {key: a for key, a in stored.items() if key != ROWS} | there
        config = config | {"trainable_token_indices": None}
    if A in stored:
        change = embedding_update(stored, config, wte, path)
        parted = {"wte.weight": stored.get("wte.weight", wte) + change}
        if model.config.head == "wte":
            parted["lm_head.weight"] = stored.get("lm_head.weight", stored.get("wte.weight", wte))
        stored = {key: a for key, a in stored.items() if key not in (A, B)} | parted
        if isinstance(targets := config.get("target_modules"), list):
            config = config | {"target_modules": [t for t in targets if not matches("wte", [t])]}
    return stored, config


def with_plain_embeddings(stored):
    """A resized vocabulary is in the file, too: embedding and head, below the names of what acts on them."""
    plain = {}
    for key, a in stored.items():
        module, _, below = key.partition(".")
        if module in ("wte", "lm_head") and below in ("base_layer.weight", "token_adapter.base_layer.weight"):
            key = f"{module}.weight"
        plain[key] = a
    head = ROWS.replace("wte", "lm_head")
    if np.array_equal(plain.get(head), plain.get(ROWS)):  # a tied head's rows are the embedding's
        plain.pop(head, None)
    return plain


def scaling(config, name, path):
    """s of the layer `name`."""
    lora = LoRA(**settings(LoRA, config, path))
    if lora.rank(name) < 1:
        raise InputError(f"{path}: the rank must be 1 or more, not {lora.rank(name)} at {name}")
    return lora.scaling(name)


def with_biases(stored, config, model, path):
    """b + s b' of every layer that has a b' in the file."""
    if config.get("use_dora"):
        raise InputError(f"{path}: lora_bias = True is not implemented beside use_dora")
    stored = dict(stored)
    for key in [key for key in stored if key.endswith(".lora_B.bias")]:
        name, own = key.removesuffix(".lora_B.bias"), stored.pop(key)
        there = f"{name}.base_layer.bias"
        bias = to_host(model.weights.get(f"{name}.bias", np.zeros(0)))
        check_tensors({key: own}, {key: bias.shape}, path)
        stored[there] = stored.get(there, bias) + scaling(config, name, path) * own.astype(bias.dtype)
    bias = "lora_only" if config.get("bias", "none") == "none" else config["bias"]
    return stored, config | {"lora_bias": False, "bias": bias}


def token_rows(stored, indices, wte, path):
    """The numbers of the tokens that were trained, and their rows."""
    if isinstance(indices, dict):
        if set(indices) != {"wte"}:
            raise InputError(f"{path}: trainable_token_indices of {', '.join(indices)}: only wte has tokens")
        indices = indices["wte"]
    check_tensors({k: a for k, a in stored.items() if k == ROWS}, {ROWS: (len(indices), wte.shape[1])}, path)
    if unknown := [i for i in indices if not 0 <= i < len(wte)]:
        raise InputError(f"{path}: trainable_token_indices: {unknown[0]} is not in 0 ... {len(wte) - 1}")
    return list(indices), stored[ROWS]


def embedding_update(stored, config, wte, path):
    """s (B A)^T (V, C)."""
    lora = {key: a for key, a in stored.items() if key in (A, B)}
    R = LoRA(**settings(LoRA, config, path)).rank("wte")
    check_tensors(lora, {A: (R, wte.shape[0]), B: (wte.shape[1], R)}, path)
    return scaling(config, "wte", path) * (lora[B].astype(wte.dtype) @ lora[A]).T
