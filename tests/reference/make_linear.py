"""Write the stored references of the methods beside a weight matrix: what `peft` computes on gpt2-tiny.

    PYTHONPATH=. python tests/reference/make_linear.py           after make_reference.py, whose files it reads

Made with torch 2.13, transformers 5.23, peft 0.21; takes ten seconds. Writes, beside itself:

    linear-*/        adapters written by `peft`: rsLoRA, patterns, PiSSA, DoRA, IA3, VeRA
    linear-*.npz     of each, on the first batch: loss, every gradient, the first columns of the logits, with
                     the adapter and merged; ten AdamW steps over all batches, in which vectors do not decay.
                     "dropout ...": loss and gradients where inputs are dropped by a fixed `Mask`
    linear-init.npz  what `peft` begins with: PiSSA's factors and base; VeRA's projections, by key
    linear-lora-plus.npz    ten steps of tiny-lora-all with the optimizer of `create_loraplus_optimizer`

Numbers are float64. PEFT makes PiSSA's factors in float32 only; here it believes that float64 is float32, so
that they can be compared to more than seven digits.
"""

import os
from itertools import cycle, islice
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import transformers
from make_reference import HERE, fresh, load, load_lora, logits_and_loss, logits_of, numbers, trainable
from peft import IA3Config, LoraConfig, VeraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from peft.tuners.lora.layer import LoraLayer

from minipeft.files.json_files import read_json

COLUMNS = 40  # of the logits: enough to tell, and small
BOTH = ["attn.c_attn", "mlp.c_proj"]  # a wide layer and a tall one
ALL = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]
CASES = {
    "linear-rslora": LoraConfig(
        r=4, lora_alpha=6, target_modules=BOTH, use_rslora=True, layers_to_transform=[1]
    ),
    "linear-patterns": LoraConfig(
        r=4, lora_alpha=6, target_modules=ALL,
        rank_pattern={"mlp.c_proj": 2, r"h\.1\.attn\.c_attn": 3, r"h\.0\.attn.*": 5},
        alpha_pattern={r"h\.1\..*": 3},
    ),
    "linear-pissa": LoraConfig(r=4, lora_alpha=6, target_modules=BOTH, init_lora_weights="pissa"),
    "linear-dora": LoraConfig(r=4, lora_alpha=6, target_modules=BOTH, use_dora=True, lora_dropout=0.25),
    "linear-ia3": IA3Config(target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"]),
    "linear-vera": VeraConfig(r=6, target_modules=BOTH, vera_dropout=0.25),
    "linear-vera-key": VeraConfig(
        r=6, target_modules=BOTH, projection_prng_key=5, save_projection=False, layers_to_transform=[1]
    ),
}  # fmt: skip


def pissa_in_float64(layer, *args, pissa_init=LoraLayer.pissa_init):
    """`pissa_init` of `peft`, for which "float32" is float64."""
    with mock.patch.object(torch, "float32", torch.float64):
        pissa_init(layer, *args)


class Mask(torch.nn.Module):
    """Dropout that always drops the same columns: every fourth; the others grow as in dropout."""

    def forward(self, x):
        """x (..., I) -> x with a quarter of its columns zero."""
        keep = torch.arange(x.shape[-1]) % 4 != 0
        return x * keep / 0.75


def main():
    """Write everything."""
    os.chdir(HERE)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    batches = read_json("batches.json")
    LoraLayer.pissa_init = pissa_in_float64
    begin = {}
    for folder, config in CASES.items():
        begin |= write_case(folder, config, batches)
    np.savez_compressed("linear-init.npz", **begin)
    model = load_lora("gpt2-tiny", "tiny-lora-all")
    optimizer = create_loraplus_optimizer(
        model, torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=16, loraplus_weight_decay=0.01
    )
    np.savez_compressed("linear-lora-plus.npz", curve=steps(model, optimizer, batches))


def write_case(folder, config, batches):
    """One adapter, all that trains in it random, and its numbers. -> what it began with."""
    config.fan_in_fan_out, config.task_type = True, "CAUSAL_LM"
    model = get_peft_model(load("gpt2-tiny"), config)
    begin = beginning(folder, model)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, p in trainable(model):
            noise = torch.empty_like(p).normal_(0, 0.3, generator=generator)
            p.copy_(noise if "lora_A" in name or "lora_B" in name else p + noise)
    model.to(torch.float32).save_pretrained(fresh(folder))
    Path(folder, "README.md").unlink()  # an empty model card

    pairs = batches[0]
    values = numbers(load_lora("gpt2-tiny", folder), pairs)
    values["logits"] = values["logits"][:, :COLUMNS]
    values["merged"] = logits_of(load_lora("gpt2-tiny", folder).merge_and_unload(), pairs)[:, :COLUMNS]
    if getattr(config, "lora_dropout", 0) or getattr(config, "vera_dropout", 0):
        dropped = numbers(with_mask(load_lora("gpt2-tiny", folder)), pairs)
        values |= {f"dropout {key}": value for key, value in dropped.items() if key != "logits"}
    model = load_lora("gpt2-tiny", folder)
    decays = lambda p: p.squeeze().ndim > 1  # PEFT's IA3 vectors are matrices of one row or one column
    groups = [
        {"params": [p for _, p in trainable(model) if decays(p)], "weight_decay": 0.01},
        {"params": [p for _, p in trainable(model) if not decays(p)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=1e-3)
    values["curve"] = steps(model, optimizer, batches)
    np.savez_compressed(f"{folder}.npz", **values)
    return begin


def beginning(folder, model):
    """What no other test sees: PiSSA's update and base, VeRA's projections."""
    layer = model.base_model.model.transformer.h[1].attn.c_attn
    if folder == "linear-pissa":
        update = layer.get_delta_weight("default")
        return {
            "pissa update": update.detach().numpy(),
            "pissa base": layer.base_layer.weight.numpy(force=True),
        }
    if folder.startswith("linear-vera"):
        return {f"{folder} {m}": getattr(layer, f"vera_{m}")["default"].numpy() for m in "AB"}
    return {}


def with_mask(model):
    """The model in training, its dropout replaced by `Mask`."""
    for module in model.modules():
        for name in ("lora_dropout", "vera_dropout"):
            if hasattr(module, name):
                getattr(module, name)["default"] = Mask()
    return model.train()


def steps(model, optimizer, batches):
    """The loss before each of ten steps with clipped gradients. Changes the model."""
    losses = []
    for pairs in islice(cycle(batches), 10):
        optimizer.zero_grad()
        _, loss = logits_and_loss(model, pairs)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in trainable(model)], 1.0)
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


if __name__ == "__main__":
    main()
