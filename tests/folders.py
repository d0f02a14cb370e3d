"""A small model with a tokenizer, and adapters on it, in folders: for the programs that read them."""

from small import scramble

from minipeft import GPT2, BitFit, GPT2Config, LoRA, PeftModel, PrefixTuning
from minipeft.app.pretrain import train_tokenizer

ROWS = [{"prompt": f"name : {n} | food : {f} ||", "completion": f" {n} serves {f} food."}
        for n in ("The Eagle", "Blue Fish", "Old Inn") for f in ("French", "Thai")]  # fmt: skip

ADAPTERS = {  # one that writes into the base, one with virtual tokens, one that merges and shares a batch
    "bias": BitFit(),
    "prefix": PrefixTuning(3),
    "low_rank": LoRA(r=2, target_modules=("c_attn", "c_fc")),
}


def write_model(folder):
    """A GPT-2 of random weights. -> the model."""
    tokenizer = train_tokenizer([r["prompt"] + r["completion"] for r in ROWS], 300)
    # a tied head tends to repeat the last token, whatever came before
    shape = {"vocab_size": 300, "n_positions": 320, "n_embd": 16, "n_layer": 2, "n_head": 2}
    model = GPT2.random(GPT2Config(**shape, tie_word_embeddings=False), tokenizer=tokenizer)
    scramble(model.weights, scale=0.2)
    model.save_pretrained(folder)
    return model


def write_adapters(model, folder):
    """ADAPTERS, far from where they began, each in a folder of its name. -> {name: folder}."""
    for i, (name, method) in enumerate(ADAPTERS.items()):
        peft = PeftModel(model, method)
        scramble(peft.trainable, seed=i, scale=0.5)
        peft.save_pretrained(folder / name)
    return {name: folder / name for name in ADAPTERS}
