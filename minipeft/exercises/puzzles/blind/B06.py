"""A gradient check that passes, bug and all."""

from minipeft import GPT2, Full, GPT2Config, PeftModel, pack

CONFIG = GPT2Config(vocab_size=23, n_positions=24, n_embd=12, n_layer=2, n_head=3)


def model():
    """What is checked."""
    return PeftModel(GPT2.random(CONFIG, dtype="float64"), Full())


def batch():
    """On what: (prompt, completion) of each sequence."""
    return pack([([3, 1, 4], [7, 5, 9, 2])])
