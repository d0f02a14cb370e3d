"""A gradient check that finds the bug."""

from minipeft import GPT2, GPT2Config, PeftModel, PrefixTuning

CONFIG = GPT2Config(vocab_size=23, n_positions=24, n_embd=12, n_layer=2, n_head=3)


def model():
    """A prefix out of a network with tanh."""
    return PeftModel(
        GPT2.random(CONFIG, dtype="float64"), PrefixTuning(3, prefix_projection=True, encoder_hidden_size=5)
    )
