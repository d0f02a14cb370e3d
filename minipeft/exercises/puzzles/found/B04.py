"""A gradient check that finds the bug."""

import numpy as np

from minipeft import GPT2, GPT2Config, LoRA, PeftModel

CONFIG = GPT2Config(vocab_size=23, n_positions=24, n_embd=12, n_layer=2, n_head=3)


def model():
    """The frozen weights are not those of a fresh model: norms are no ones, biases no zeros."""
    base, rng = GPT2.random(CONFIG, dtype="float64"), np.random.default_rng(0)
    for weight in base.weights.values():
        weight += 0.2 * rng.standard_normal(weight.shape)
    return PeftModel(base, LoRA(r=3, lora_alpha=6, target_modules="all-linear"))
