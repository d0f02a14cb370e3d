"""Write adapters as `peft` writes them, of every kind that no other script here makes.

    PYTHONPATH=. python tests/reference/make_formats.py          after the other scripts, whose files it reads

Made with torch 2.13, transformers 5.23, peft 0.21, on gpt2-tiny; takes ten seconds. Writes, beside itself:

    formats/*/      the adapters, in float32
    formats.npz     by folder: the first columns of the first batch's logits in float64, of the adapter as
                    `peft` loads it; of the prompts and prefixes of make_virtual.py, too
"""

import os
import warnings
from pathlib import Path

import make_reference
import numpy as np
import torch
import transformers
from make_reference import HERE, fresh, load, logits_of, trainable
from make_virtual import METHODS, logits_and_loss
from peft import (
    IA3Config,
    LNTuningConfig,
    LoraConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    VeraConfig,
    get_peft_model,
)

from minipeft.files.json_files import read_json

COLUMNS = 40
LORA = {"r": 2, "lora_alpha": 3, "fan_in_fan_out": True}
CASES = {
    "lora-all-linear": LoraConfig(**LORA, target_modules="all-linear"),
    "lora-expression": LoraConfig(**LORA, target_modules=r"transformer\.h\.\d\.(attn\.c_attn|mlp\.c_fc)"),
    "lora-one-layer": LoraConfig(
        **LORA, layers_to_transform=1, layers_pattern="h", init_lora_weights="gaussian"
    ),
    "lora-orthogonal": LoraConfig(**LORA, init_lora_weights="orthogonal", task_type=None),
    "lora-excluded": LoraConfig(
        **LORA, target_modules=["c_attn", "c_proj"], exclude_modules=["h.0.mlp.c_proj"]
    ),
    "lora-bias-all": LoraConfig(**LORA, bias="all"),
    "lora-bias-only": LoraConfig(**LORA, bias="lora_only", layers_to_transform=[0]),
    "lora-ln_f": LoraConfig(**LORA, modules_to_save=["ln_f"]),
    "lora-c_proj": LoraConfig(**LORA, target_modules="all-linear", modules_to_save=["attn.c_proj"]),
    "lora-wte": LoraConfig(**LORA, modules_to_save=["wte"]),
    "lora-lm_head": LoraConfig(**LORA, modules_to_save=["lm_head"]),
    "lora-tied": LoraConfig(**LORA, modules_to_save=["wte", "lm_head"], ensure_weight_tying=True),
    "lora-bias-and-ln_f": LoraConfig(**LORA, bias="all", modules_to_save=["ln_f"]),
    "dora-rslora": LoraConfig(**LORA, use_dora=True, use_rslora=True, bias="lora_only"),
    "vera-bias": VeraConfig(r=4, bias="vera_only", modules_to_save=["ln_f"], fan_in_fan_out=True),
    "ia3-modules": IA3Config(
        target_modules=["c_attn"], feedforward_modules=[], modules_to_save=["ln_2"], fan_in_fan_out=True
    ),
    "ia3-inputs": IA3Config(
        target_modules=["attn.c_proj", "mlp.c_proj"], feedforward_modules=["attn.c_proj", "mlp.c_proj"],
        fan_in_fan_out=True,
    ),
    "ln_tuning-modules": LNTuningConfig(target_modules=r".*\.ln_[12]", modules_to_save=["ln_f"]),
    "prompt-modules": PromptTuningConfig(
        num_virtual_tokens=2, prompt_tuning_init="SAMPLE_VOCAB", modules_to_save=["ln_f"]
    ),
    "p-modules": PromptEncoderConfig(num_virtual_tokens=2, modules_to_save=["h.1.ln_2"]),
    "prefix-modules": PrefixTuningConfig(num_virtual_tokens=2, init_weights="zero", modules_to_save=["ln_f"]),
}  # fmt: skip


def main():
    """Write everything."""
    os.chdir(HERE)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    make_reference.logits_and_loss = logits_and_loss  # which knows of virtual tokens
    pairs = read_json("batches.json")[0]
    values = {}
    for name, config in CASES.items():
        write(f"formats/{name}", config)
    for folder in [f"formats/{name}" for name in CASES] + list(METHODS):
        model = PeftModel.from_pretrained(load("gpt2-tiny"), folder).to(torch.float64).eval()
        values[folder] = logits_of(model, pairs)[:, :COLUMNS]
    np.savez_compressed("formats.npz", **values)


def write(folder, config):
    """One adapter, all that trains in it away from where it began."""
    if folder != "formats/lora-orthogonal":  # this one as `peft` writes it for a model that is not its own
        config.task_type = "CAUSAL_LM"
    torch.manual_seed(4)
    model = get_peft_model(load("gpt2-tiny", torch.float32), config)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for _, p in trainable(model):
            p += torch.empty_like(p).normal_(0, 0.3, generator=generator)
    model.save_pretrained(fresh(folder))
    Path(folder, "README.md").unlink()  # an empty model card


if __name__ == "__main__":
    main()
