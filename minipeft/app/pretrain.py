"""The embedded model: a small GPT-2, trained by this package on text that this package writes by rules."""

from itertools import islice
from pathlib import Path

from ..config import GPT2Config
from ..files.json_files import write_json
from ..methods import Full
from ..model import GPT2
from ..peft_model import PeftModel
from ..tasks.corpus import documents as corpus
from ..train import train

SHAPE = GPT2Config(vocab_size=1664, n_positions=256, n_embd=192, n_layer=4, n_head=6)
END = "<|endoftext|>"
DOCUMENTS = 120_000
HELD_OUT_SEED = 10**9  # the seed of the corpus's validation documents; training counts up from `seed`


def train_tokenizer(texts, vocab_size):
    """A byte-level BPE tokenizer, as GPT-2's, learnt from the texts; END is its last id."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size - 1, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([END])
    return tokenizer


def pretrain(folder, documents=None, config=None, seed=0, progress=True, resume=False, **settings):
    """Write the corpus, learn the tokenizer, train every weight from random ones, save in float16.

    folder: gets config.json, model.safetensors, tokenizer.json, and training.json with the loss curve.
    settings: of `Training`, where they differ from these. resume: as `train` has it; the state is in
    folder/training. -> History.
    """
    config, documents = config or SHAPE, documents or DOCUMENTS
    texts = list(islice(corpus(seed), documents))
    held_out = [{"text": text} for text in islice(corpus(HELD_OUT_SEED), 300)]
    tokenizer = train_tokenizer(texts[:20_000], config.vocab_size)
    model = PeftModel(GPT2.random(config, seed=seed, tokenizer=tokenizer), Full())
    settings = {
        "epochs": 1, "batch_size": 8, "learning_rate": 2e-3, "warmup_steps": 200, "schedule": "cosine",
        "eval_every": 500,
        "weight_decay": 0.1, "on_long": "cut", "seed": seed,
    } | settings  # fmt: skip
    state = Path(folder) / "training" if resume or settings.get("save_every") else None
    history = train(model, [{"text": t} for t in texts], held_out, state, progress, resume, **settings)
    GPT2(config, model.weights, tokenizer).save_pretrained(folder, dtype="float16")
    write_json(Path(folder) / "training.json", {
        "documents": documents, "settings": settings, "tokens": sum(s["tokens"] for s in history.steps),
        "minutes": round(history.seconds / 60, 1), "validation": history.evals,
    })  # fmt: skip
    return history
