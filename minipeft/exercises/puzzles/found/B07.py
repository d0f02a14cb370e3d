"""A gradient check that finds the bug."""

from minipeft import GPT2, BitFit, DoRA, GPT2Config, PeftModel

CONFIG = GPT2Config(vocab_size=23, n_positions=24, n_embd=12, n_layer=2, n_head=3)


def model():
    """The biases train, too."""
    return PeftModel(GPT2.random(CONFIG, dtype="float64"), [DoRA(r=3, lora_alpha=6), BitFit()])
