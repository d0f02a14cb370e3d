"""A gradient check that passes, bug and all."""

from minipeft import GPT2, GPT2Config, LoRA, PeftModel, pack

CONFIG = GPT2Config(vocab_size=23, n_positions=24, n_embd=12, n_layer=2, n_head=12)


def model():
    """What is checked."""
    return PeftModel(
        GPT2.random(CONFIG, dtype="float64"), LoRA(r=3, lora_alpha=6, target_modules="all-linear")
    )


def batch():
    """On what: (prompt, completion) of each sequence."""
    return pack([([3, 1, 4], [1, 5, 9, 2]), ([6, 5], [3, 5, 8])])
