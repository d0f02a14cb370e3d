"""A gradient check that passes, bug and all."""

from minipeft import GPT2, GPT2Config, PeftModel, PTuning, pack

CONFIG = GPT2Config(vocab_size=23, n_positions=24, n_embd=12, n_layer=2, n_head=3)


def model():
    """What is checked."""
    return PeftModel(GPT2.random(CONFIG, dtype="float64"), PTuning(3, encoder_hidden_size=5))


def batch():
    """On what: (prompt, completion) of each sequence."""
    return pack([([3, 1, 4], [1, 5, 9, 2]), ([6, 5], [3, 5, 8])])
