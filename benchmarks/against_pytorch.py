"""LoRA on GPT-2 small's shape: this package and PyTorch + PEFT, side by side in one run.

    python benchmarks/against_pytorch.py --data e2e.jsonl --tokenizer FOLDER

Needs the extra `bench`. Each side runs in a process of its own, in turn (A B A B ...), with the same
batches: rows of the data in a fixed random order, as users feed them. PyTorch pads each batch to its longest
row; padding never counts as tokens. Both sides: float32, random weights, no dropout, AdamW, all cores.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import numpy as np


def batches_of(args):
    """[(prompt ids, completion ids), ...] for every batch; the same on both sides."""
    from minipeft.data import load_tokenizer
    from minipeft.rows import read_rows

    tokenizer, rows = load_tokenizer(args.tokenizer), read_rows(args.data)
    order = np.random.default_rng(0).permutation(len(rows))[: args.batch * (args.steps + 1)]
    pairs = []
    for i in order:
        prompt, completion = (tokenizer.encode(rows[i][f]).ids for f in ("prompt", "completion"))
        pairs.append((prompt, [*completion, tokenizer.token_to_id("<|endoftext|>")]))
    if args.grouped:  # rows of like length together
        pairs.sort(key=lambda pair: len(pair[0]) + len(pair[1]))
    return [pairs[i : i + args.batch] for i in range(0, len(pairs), args.batch)]


def minipeft_side():
    """-> a function that takes one training step on a batch of pairs."""
    from minipeft import GPT2, AdamW, LoRA, PeftModel, pack

    peft = PeftModel(GPT2.random("gpt2"), LoRA(r=8, target_modules=("attn.c_attn",)))
    optimizer = AdamW(learning_rate=1e-3)

    def step(pairs):
        loss, grads = peft.loss_and_grads(pack(pairs))
        optimizer.step(peft.trainable, grads)
        return float(loss)

    return step


def pytorch_side():
    """The same by PyTorch, `transformers` and `peft`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    lora = LoraConfig(r=8, target_modules=["attn.c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM")
    model = get_peft_model(GPT2LMHeadModel(config), lora).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)

    def step(pairs):
        longest = max(len(p) + len(c) for p, c in pairs)
        ids, mask, labels = (torch.full((len(pairs), longest), fill) for fill in (0, 0, -100))
        for i, (p, c) in enumerate(pairs):
            n = len(p) + len(c)
            ids[i, :n] = torch.tensor(p + c)
            mask[i, :n] = 1
            labels[i, len(p) : n] = torch.tensor(c)
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


SIDES = {"minipeft": minipeft_side, "pytorch": pytorch_side}


def measure(args):
    """One side, in this process: useful tokens per second of each step after the first, peak memory."""
    from minipeft.runs import peak_memory_mb

    step, rates = SIDES[args.side](), []
    for i, pairs in enumerate(batches_of(args)):
        begin = time.perf_counter()
        loss = step(pairs)
        seconds = time.perf_counter() - begin
        if i:  # the first warms up
            rates.append(sum(len(p) + len(c) for p, c in pairs) / seconds)
    return {"side": args.side, "tokens_per_second": rates, "peak_memory_mb": peak_memory_mb(), "loss": loss}


def main():
    """Run both sides in turn, print medians and their ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="JSONL rows with prompt and completion")
    parser.add_argument("--tokenizer", required=True, help="a folder with GPT-2's vocab.json and merges.txt")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6, help="measured steps of each run")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side")
    parser.add_argument("--grouped", action="store_true", help="batches of rows of like length")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)  # a worker
    args = parser.parse_args()
    if args.side:
        print(json.dumps(measure(args)))
        return
    results = {side: [] for side in SIDES}
    for _ in range(args.repeats):
        for side in SIDES:
            command = [sys.executable, *sys.argv, "--side", side]
            result = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            results[side].append(result)
            rate = statistics.median(result["tokens_per_second"])
            print(f"{side:<9} {rate:6.0f} tokens/s, peak {result['peak_memory_mb']:5.0f} MB", flush=True)
    rate = {s: statistics.median(t for r in rs for t in r["tokens_per_second"]) for s, rs in results.items()}
    peak = {s: statistics.median(r["peak_memory_mb"] for r in rs) for s, rs in results.items()}
    print(
        f"speed {rate['minipeft'] / rate['pytorch']:.2f} x, memory {peak['minipeft'] / peak['pytorch']:.2f} x"
    )


if __name__ == "__main__":
    main()
