"""The embedded model: a small GPT-2, trained by this package on text that this package writes by rules.

The documents are one stream, numbered; how hard they are grows with the number. A sitting reads a stretch of
it and may end anywhere: `start` goes on from the folder that it wrote, at the next document. The rate warms
up, stays, and falls only where `decay` says so (WSD: warm-up, stable, decay), so a folder from before the
decay can always go on. What it leaves out are the moments of the optimizer, which a short warm-up finds
again, and what float16 rounds away. Within a sitting nothing is left out: `resume` goes on, bit for bit, with
one that was stopped.
"""

import math
import sys
import time
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from ..config import GPT2Config
from ..errors import InputError, check_choice
from ..files.content import content_of
from ..files.json_files import read_json, write_json
from ..files.run_folder import run_folder
from ..methods import Full
from ..model import GPT2
from ..muon import Muon
from ..peft_model import PeftModel
from ..resuming.state import FREE, STATE, SavedRun
from ..resuming.stopping import stop_asked
from ..tasks.corpus import document
from ..tasks.corpus import documents as corpus
from ..tasks.corpus.difficulty import RAMP
from ..tasks.corpus.probes import probe
from ..tasks.corpus.reading import marked_ids, packed, read
from ..train import Keeper, Training, optimizer_step, progress_bar, stopped_after

SHAPE = GPT2Config(vocab_size=1664, n_positions=256, n_embd=192, n_layer=4, n_head=6)
END = "<|endoftext|>"
DOCUMENTS = 600_000  # of about 100 tokens
HELD_OUT_SEED = 10**9  # the seed of the corpus's validation documents
HELD_OUT = 300
SETTINGS = {"batch_size": 32, "learning_rate": 2e-3, "warmup_steps": 100, "weight_decay": 0.1}
OTHERS = ("max_grad_norm", "dropout", "checkpointing", "save_every")  # settings with the values of `Training`


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


def pretrain(
    folder, documents=None, config=None, seed=0, progress=True, start=None, decay=0, every=8000, resume=False,
    **settings,
):  # fmt: skip
    """Train every weight on the next `documents` of the stream; write a float16 checkpoint now and then.

    folder: gets config.json, model.safetensors, tokenizer.json, and training.json: the place in the stream,
    the settings, the curve with its probes. start: a folder to go on from, of `pretrain` or any other model
    with a tokenizer; without one the weights are random and the tokenizer is learnt from the corpus.
    decay: over how many of the last documents the rate falls to zero. every: documents between checkpoints.
    settings: those of SETTINGS and OTHERS, where they differ. resume: go on with a sitting that was stopped,
    bit for bit, from the state that save_every or a signal left in the folder; one that is done is left as it
    is. -> what training.json holds.
    """
    for name in settings:
        check_choice("setting", name, (*SETTINGS, *OTHERS))
    documents = DOCUMENTS if documents is None else documents
    if not 0 <= decay <= documents or documents < 1:
        raise InputError(f"documents is {documents:,} and decay {decay:,}: decay is of the last of them")
    s = Training(seed=seed, **SETTINGS | settings)
    model, about = begin(start, config or SHAPE, seed)
    peft = PeftModel(model, Full())
    peft.give_up_base()
    steps = math.ceil(documents / s.batch_size)
    optimizer = Muon(s.learning_rate, weight_decay=s.weight_decay)
    said = {name: value for name, value in settings.items() if name not in FREE}
    about["sittings"].append(
        {"first": about["next_document"], "documents": documents, "decay": decay} | SETTINGS | said
    )
    if resume and (before := done_before(folder, about["sittings"])):
        return before
    so_far = SimpleNamespace(about=about, losses=[])
    same = {"settings": asdict(s) | dict.fromkeys(FREE), "documents": documents}
    same |= {"decay": decay, "every": every}
    same |= {"config": asdict(model.config), "tokenizer": content_of(model.tokenizer.to_str())}
    saved = SavedRun(peft, optimizer, Keeper(peft, None), so_far, folder, s.save_every, lambda: same)
    with run_folder(folder) as held, stop_asked() as stop:
        done, clock = saved.begin(resume), time.perf_counter()
        about, losses = so_far.about, so_far.losses
        first = about["sittings"][-1]["first"]
        with progress_bar(steps, progress, done) as bar:
            for step in range(done, steps):
                factor = rate(step, steps, s.warmup_steps, math.ceil(decay / s.batch_size))
                optimizer.learning_rate = s.learning_rate * factor
                n = about["next_document"]
                numbers = range(n, min(n + s.batch_size, first + documents))
                batch = packed([read(seed, number, model.tokenizer, model.config) for number in numbers])
                row = optimizer_step(peft, optimizer, [batch], s, step)
                if not math.isfinite(row["loss"] + row["grad_norm"]):
                    found = f"the loss is {row['loss']} and the gradient's norm {row['grad_norm']}"
                    raise InputError(f"documents {n} to {numbers[-1]}: {found}: try a lower learning rate")
                losses.append(row["loss"])
                about["next_document"], about["tokens"] = numbers.stop, about["tokens"] + row["tokens"]
                about["minutes"] += (time.perf_counter() - clock) / 60
                clock = time.perf_counter()
                bar(row)
                held.check()
                if (step + 1) % max(1, every // s.batch_size) == 0 or step + 1 == steps:
                    about["curve"].append(point(about, losses, optimizer.learning_rate, peft))
                    losses.clear()
                    if progress:
                        print(in_words(about["curve"][-1]), file=sys.stderr, flush=True)
                    GPT2(model.config, peft.weights, model.tokenizer).save_pretrained(folder, dtype="float16")
                    write_json(Path(folder) / "training.json", about)
                if stop.asked or saved.due(step + 1):
                    saved.save(step + 1)
                if stop.asked:
                    raise stop.asked(stopped_after(step + 1, steps, folder))
        saved.path.unlink(missing_ok=True)  # done: the checkpoint says all that the next sitting needs
    return about


def begin(start, config, seed):
    """The model to train and what is known of its training so far."""
    about = {"next_document": 0, "tokens": 0, "minutes": 0.0, "seed": seed, "sittings": [], "curve": []}
    if start is None:
        tokenizer = train_tokenizer(islice(corpus(seed), 20_000), config.vocab_size)
        if (found := tokenizer.get_vocab_size()) < config.vocab_size:
            raise InputError(f"vocab_size is {config.vocab_size}, and the corpus has only {found} tokens")
        return GPT2.random(config, seed=seed, tokenizer=tokenizer, std=config.n_embd**-0.5), about
    model = GPT2.from_pretrained(start)
    if model.tokenizer is None:
        raise InputError(f"{start}: there is no tokenizer in it, so it cannot read the corpus")
    written = Path(start) / "training.json"
    before = read_json(written) if written.is_file() else {}
    if "next_document" not in before:  # a model of another making: the stream begins
        return model, about | {"from": Path(start).name}
    if before["seed"] != seed:
        raise InputError(f"{start} has read the corpus of seed {before['seed']}, not {seed}")
    return model, before


def done_before(folder, sittings):
    """What training.json in the folder holds, where these sittings, to the end of the last, are all of it."""
    path = Path(folder) / "training.json"
    if (Path(folder) / STATE).is_file() or not path.is_file():
        return None
    written, last = read_json(path), sittings[-1]
    at_its_end = written.get("next_document") == last["first"] + last["documents"]
    return written if at_its_end and written.get("sittings") == sittings else None


def rate(step, steps, warmup, decay):
    """The factor on the rate of step 0 ... steps - 1: up in a line, one, and down over the last `decay`."""
    return min(1.0, (step + 1) / (warmup + 1), (steps - step) / (decay + 1))


def point(about, losses, rate, peft):
    """A point of the curve: where in the stream, the losses since the last one, and what the model can do."""
    where = {"document": about["next_document"], "tokens": about["tokens"]}
    return where | {"loss": float(np.mean(losses)), "rate": rate} | held_out_loss(peft) | probe(peft)


def held_out_loss(peft):
    """{"eval_loss": over all tokens of the corpus's validation documents, "eval_marked": over the marked}."""
    tokenizer, config = peft.model.tokenizer, peft.config
    logprobs, marked = [], []
    for n in range(0, HELD_OUT, 20):
        batch = [marked_ids(document(HELD_OUT_SEED, n + i + RAMP), tokenizer, config) for i in range(20)]
        logprobs.append(peft.scores(packed([(ids, [True] * len(ids)) for ids, _ in batch]))[0])
        marked += [flag for _, counts in batch for flag in counts[1:]]
    logprob = np.concatenate(logprobs)
    return {"eval_loss": -float(logprob.mean()), "eval_marked": -float(logprob[np.array(marked)].mean())}


def in_words(point):
    """A line of the curve."""
    right = ", ".join(f"{kind} {100 * share:.0f}" for kind, share in point["right"].items())
    return (
        f"document {point['document']:,}, {point['tokens']:,} tokens: loss {point['loss']:.3f}, held out "
        f"{point['eval_loss']:.3f} (marked {point['eval_marked']:.3f}); lists {100 * point['lists']:.1f} %, "
        f"binding {100 * point['binding']:.1f} %, previous token {point['previous'][0]:.2f}, "
        f"induction {point['induction'][0]:.2f}; right in %: {right}"
    )
