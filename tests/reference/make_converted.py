"""Write adapters of `peft` with parts that no method here has: LoRA's biases, rows of wte, LoRA on wte.

    PYTHONPATH=. python tests/reference/make_converted.py

Made with torch 2.13, transformers 5.23, peft 0.21, on gpt2-tiny; takes ten seconds. Writes, beside itself:

    converted/*/      the adapters, in float32
    converted.npz     by folder: the first columns of the first batch's logits in float64, as `peft` has them
"""

import os
import warnings

import make_formats
import numpy as np
import torch
import transformers
from make_reference import HERE, load, logits_of
from make_virtual import logits_and_loss  # noqa: F401  its module makes `load` know of virtual tokens
from peft import LoraConfig, PeftModel

from minipeft.files.json_files import read_json

LORA = make_formats.LORA
CASES = {
    "lora-bias": LoraConfig(**LORA, lora_bias=True),
    "lora-bias-rslora": LoraConfig(**LORA, lora_bias=True, use_rslora=True, target_modules="all-linear"),
    "tokens": LoraConfig(**LORA, trainable_token_indices=[7, 3, 200]),
    "tokens-wte": LoraConfig(**LORA, trainable_token_indices={"wte": [0, 22]}),
    "wte": LoraConfig(**LORA, target_modules=["wte", "c_attn"]),
}


def main():
    """Write everything."""
    os.chdir(HERE)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    pairs, values = read_json("batches.json")[0], {}
    for name, config in CASES.items():
        folder = f"converted/{name}"
        make_formats.write(folder, config)
        model = PeftModel.from_pretrained(load("gpt2-tiny"), folder).to(torch.float64).eval()
        values[name] = logits_of(model, pairs)[:, : make_formats.COLUMNS]
    np.savez_compressed("converted.npz", **values)


if __name__ == "__main__":
    main()
