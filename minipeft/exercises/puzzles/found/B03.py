"""A gradient check that finds the bug."""

from minipeft import GPT2, GPT2Config, LoRA, PeftModel

CONFIG = GPT2Config(vocab_size=23, n_positions=24, n_embd=12, n_layer=2, n_head=3)


def model():
    """In both layers: the lower one hears of the upper one's dx."""
    return PeftModel(
        GPT2.random(CONFIG, dtype="float64"), LoRA(r=3, lora_alpha=6, target_modules=("attn.c_attn",))
    )
