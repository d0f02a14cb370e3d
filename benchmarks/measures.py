"""What each measure of docs/performance.md brings: the same work with it and without it, in turn.

    python benchmarks/measures.py --data e2e.jsonl --tokenizer FOLDER

GPT-2 small's shape, float32, batches of 8 rows of the data; a pass is forward and backward, with LoRA r=8 on
c_attn. Each measure is undone by a few lines here, and the two are timed A B A B on the same batches in this
process. The table has the medians and their ratio, above 1 where the measure pays.
"""

import argparse
import statistics
import time
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from unittest.mock import patch

import numpy as np

from minipeft import GPT2, AdamW, Full, LoRA, PeftModel, ops, optim, pack, peft_model
from minipeft.data.batches import batches, load_pairs
from minipeft.files.tokenizer import load_tokenizer
from minipeft.speed import fast
from minipeft.step import Step


def plain(*names):
    """A context in which these fast operations are the plain ones."""
    return patch.multiple(fast, **{name: getattr(ops, name) for name in names})


def padded(batch):
    """The batch with every sequence as long as the longest: what a framework without packing computes."""
    longest, pairs = max(batch.layout.lengths), []
    for a, b in batch.layout.spans:
        ids, first = batch.ids[a:b].tolist(), int(np.flatnonzero(batch.labelled[a:b])[0])
        pairs.append((ids[:first], ids[first:] + [0] * (longest - (b - a))))
    wide = pack(pairs)
    rows = np.concatenate(
        [np.arange(n) < m for n, m in zip(wide.layout.lengths, batch.layout.lengths, strict=True)]
    )
    return replace(wide, labelled=wide.labelled & rows)


def all_labelled(batch):
    """The batch with a label for every token: the head works on every row."""
    return replace(batch, labelled=np.ones_like(batch.labelled))


MEASURES = {  # what it is: (the work, the context that undoes it, what the batch becomes without it)
    "sequences one after another, no padding": ("a pass", None, padded),
    "the head on labelled rows alone": ("a pass", None, all_labelled),
    "no gradient, and nothing kept, for what is frozen": (
        "a pass",
        lambda: patch.object(Step, "wants", lambda step, place: {"weight", "bias", "x"}),
        None,
    ),
    "a thread for each share of the batch, not threads inside BLAS": (
        "a pass",
        lambda: patch.object(peft_model, "num_shards", lambda array: 1),
        None,
    ),
    "the head in chunks of 512 rows, not 64": ("a pass", lambda: patch.object(fast, "HEAD_ROWS", 64), None),
    "GELU by a sigmoid, in place": ("a pass", lambda: plain("gelu", "gelu_backward"), None),
    "clipping and AdamW on all cores": (
        "an update of all weights",
        lambda: patch.object(optim, "THREADED_BYTES", 1 << 60),
        None,
    ),
    "few rows, row by row": ("8 tokens for 4 prompts", lambda: patch.object(fast, "FEW_ROWS", 0), None),
}


def works(model):
    """{name: a function of a batch} of what is timed."""
    peft = PeftModel(model, LoRA(r=8, target_modules=("attn.c_attn",)))
    full, optimizer = PeftModel(model, Full()), AdamW(1e-5)
    grads = {name: np.ones_like(p) for name, p in full.trainable.items()}

    def update(batch):
        optim.clip_grads(grads, 1.0)
        optimizer.step(full.trainable, grads)

    def generation(batch):
        prompts = [batch.ids[a:b].tolist() for a, b in batch.layout.spans[:4]]
        peft.generate_ids(prompts, max_new_tokens=8, eos_token_id=[])

    return {
        "a pass": peft.loss_and_grads,
        "an update of all weights": update,
        "8 tokens for 4 prompts": generation,
    }


def main():
    """Time every measure, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="rows with prompt and completion")
    parser.add_argument("--tokenizer", required=True, help="a folder with GPT-2's tokenizer")
    parser.add_argument("--model", default="gpt2", help="a published size")
    parser.add_argument("--steps", type=int, default=7, help="pairs of timings for each measure")
    args = parser.parse_args()
    model = GPT2.random(args.model, tokenizer=load_tokenizer(args.tokenizer))
    do = works(model)
    pairs, _ = load_pairs(args.data, model)
    stream = batches(pairs, 8, np.random.default_rng(0))
    print("| measure | of | without | with | ratio |\n|---|---|---:|---:|---:|")
    for name, (work, context, change) in MEASURES.items():
        seconds = {"without": [], "with": []}
        for batch in islice(stream, args.steps + 1):
            with context() if context else nullcontext():
                seconds["without"].append(timed(do[work], change(batch) if change else batch))
            seconds["with"].append(timed(do[work], batch))
        without, with_it = (statistics.median(s[1:]) for s in seconds.values())  # the first warms up
        ratio = without / with_it
        print(f"| {name} | {work} | {without:.2f} s | {with_it:.2f} s | {ratio:.2f} |", flush=True)


def timed(work, batch):
    """Seconds of work(batch)."""
    begin = time.perf_counter()
    work(batch)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
