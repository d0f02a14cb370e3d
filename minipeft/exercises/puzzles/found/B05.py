"""A gradient check that finds the bug."""

from minipeft import GPT2, GPT2Config, LoRA, PeftModel

CONFIG = GPT2Config(vocab_size=23, n_positions=24, n_embd=12, n_layer=2, n_head=3)


class WithDropout(PeftModel):
    """The masks are those of the seed 3, every time."""

    def loss_and_grads(self, batch):
        """With dropout."""
        return super().loss_and_grads(batch, seed=3)

    def loss(self, batch):
        """With the same masks."""
        return self.loss_and_grads(batch)[0]


def model():
    """LoRA with dropout of its own."""
    method = LoRA(r=3, lora_alpha=6, target_modules="all-linear", lora_dropout=0.3)
    return WithDropout(GPT2.random(CONFIG, dtype="float64"), method)
