"""Write the stored references of sums of LoRA adapters: `add_weighted_adapter` of `peft`.

    PYTHONPATH=. python tests/reference/make_combine.py          after make_reference.py, whose files it reads

Made with torch 2.13, transformers 5.23, peft 0.21; takes ten seconds. Writes, beside itself:

    combine.json    {"adapters": {name: settings}, "cases": {name: arguments of `add_weighted_adapter`}}
    combine.npz     "ADAPTER LAYER lora_A" (R, I), "ADAPTER LAYER lora_B" (O, R): of the adapters, all random
                    "case NAME LAYER lora_A", ... lora_B: what `peft` makes of them, B times what `peft`
                    scales the result by, so that B A is the whole change

Numbers are float64, and so are the weights here: `peft` rounds them to torch's default type, in general
float32. What DARE keeps is drawn by `Draws`, here and in the tests.
"""

import os

import numpy as np
import torch
import transformers
from draws import Draws
from make_reference import HERE, load
from peft import LoraConfig, get_peft_model

from minipeft.files.json_files import write_json

LAYER = "h.1.attn.c_proj"
ADAPTERS = {
    "a": {"r": 2, "lora_alpha": 3, "target_modules": [LAYER]},
    "b": {"r": 2, "lora_alpha": 4, "target_modules": [LAYER]},
    "c": {"r": 2, "lora_alpha": 2, "target_modules": [LAYER]},
    "wide": {"r": 3, "lora_alpha": 6, "target_modules": ["attn.c_proj"]},  # in h.0 it is alone
    "rslora": {"r": 2, "lora_alpha": 3, "target_modules": [LAYER], "use_rslora": True},
}
ABC = {"adapters": ["a", "b", "c"], "weights": [0.7, -0.4, 1.3]}
PRUNED = {"density": 0.6}
CASES = {
    "one": {"adapters": ["a"], "weights": [-0.6], "combination_type": "linear"},
    "linear": {**ABC, "combination_type": "linear"},
    "cat": {"adapters": ["a", "wide", "b"], "weights": [0.7, -0.4, 1.3], "combination_type": "cat"},
    "svd": {"adapters": ["a", "wide", "b"], "weights": [0.7, -0.4, 1.3], "combination_type": "svd"},
    "svd of rank 1": {**ABC, "combination_type": "svd", "svd_rank": 1},
    "magnitude_prune": {**ABC, "combination_type": "magnitude_prune", **PRUNED},
    "magnitude_prune_svd": {**ABC, "combination_type": "magnitude_prune_svd", **PRUNED},
    "ties": {**ABC, "combination_type": "ties", **PRUNED},
    "ties by frequency": {
        **ABC, "combination_type": "ties", "density": 0.9, "majority_sign_method": "frequency"
    },
    "ties_svd": {**ABC, "combination_type": "ties_svd", **PRUNED},
    "dare_linear": {**ABC, "combination_type": "dare_linear", **PRUNED},
    "dare_linear_svd": {**ABC, "combination_type": "dare_linear_svd", **PRUNED},
    "dare_ties": {**ABC, "combination_type": "dare_ties", **PRUNED},
    "dare_ties_svd": {
        **ABC, "combination_type": "dare_ties_svd", **PRUNED, "majority_sign_method": "frequency"
    },
    "rslora": {"adapters": ["rslora", "a"], "weights": [0.7, -0.4], "combination_type": "cat"},
}  # fmt: skip


def main():
    """Write both files."""
    os.chdir(HERE)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_default_dtype(torch.float64)
    model = with_adapters()
    values = {}
    for name in ADAPTERS:
        values |= factors(model, name, name, scaled=False)
    for name, arguments in CASES.items():
        draws = Draws()
        torch.bernoulli = lambda p, draws=draws: torch.tensor(draws.random(p.shape) < p.numpy()).to(p.dtype)
        case = f"case {name}"
        model.add_weighted_adapter(**arguments, adapter_name=case.replace(" ", "_"))
        values |= factors(model, case.replace(" ", "_"), case)
    write_json("combine.json", {"adapters": ADAPTERS, "cases": CASES})
    np.savez_compressed("combine.npz", **values)


def with_adapters():
    """The tiny model under all of them, each random."""
    model = None
    for name, settings in ADAPTERS.items():
        config = LoraConfig(**settings, fan_in_fan_out=True, task_type="CAUSAL_LM")
        if model is None:
            model = get_peft_model(load("gpt2-tiny"), config, adapter_name=name)
        else:
            model.add_adapter(name, config)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name:
                p.normal_(0, 0.3, generator=generator)
    return model


def factors(model, adapter, key, scaled=True):
    """{key, layer and factor: array} of an adapter; B times its scale, or as it is."""
    values = {}
    for i, block in enumerate(model.base_model.model.transformer.h):
        layer = block.attn.c_proj
        if adapter in getattr(layer, "lora_A", {}):
            A, B = (m[adapter].weight.numpy(force=True) for m in (layer.lora_A, layer.lora_B))
            scale = layer.scaling[adapter] if scaled else 1
            name = f"{key} h.{i}.attn.c_proj"
            values |= {f"{name} lora_A": A, f"{name} lora_B": B * scale}
    return values


if __name__ == "__main__":
    main()
