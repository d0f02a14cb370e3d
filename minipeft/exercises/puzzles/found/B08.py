"""A gradient check that finds the bug."""

from minipeft import GPT2, GPT2Config, Modules, PeftModel, PromptTuning

CONFIG = GPT2Config(vocab_size=23, n_positions=24, n_embd=12, n_layer=2, n_head=3)


def model():
    """The embeddings of the text train, too."""
    return PeftModel(GPT2.random(CONFIG, dtype="float64"), [PromptTuning(3), Modules(("wte",))])
