"""A training step and decoding on a GPU: this package beside PyTorch eager + `transformers` + `peft`.

    python benchmarks/on_gpu.py OUT [--sizes gpt2,gpt2-medium] [--batches 8,64] [--steps 10]

LoRA r=8 on c_attn, random weights, sequences of 32 to 96 random tokens of which the second half is labelled,
greedy decoding of 32 tokens. Forms: float32; tf32; bfloat16, here by `--ops bfloat16` with the base held in
bfloat16, in PyTorch by autocast.
Each measurement is a process of its own. Medians go to OUT/on_gpu.json and OUT/on_gpu.md, as they come; where
one fails, its traceback is there in place of numbers, and the others go on. Without PyTorch its side is left
out, and the table says so.
"""

import argparse
import importlib.util
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SIDES, FORMS = ("minipeft", "pytorch"), ("float32", "tf32", "bfloat16")
NEW_TOKENS = 32


def main():
    """Every measurement, each in a process; or, told which, that one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--sizes", default="gpt2,gpt2-medium")
    parser.add_argument("--batches", default="8,64")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60, help="the most that one measurement may take")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measured(*args.one.split(","), args.steps)))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for size in args.sizes.split(","):
        for S in args.batches.split(","):
            for side, form in itertools.product(SIDES, FORMS):
                rows.append({"size": size, "batch": int(S), "side": side, "form": form})
                rows[-1] |= in_a_process(args, f"{side},{form},{size},{S}")
                write(args.out, rows)
    if all("error" in row for row in rows):
        sys.exit(f"on_gpu.py: nothing could be measured: {rows[0]['error'].splitlines()[-1]}")


def in_a_process(args, one):
    """The numbers of one measurement, or {"error": its traceback}."""
    side, form, *_ = one.split(",")
    if side == "pytorch" and missing():
        return {"error": f"not measured: {missing()} is not installed"}
    command = [sys.executable, __file__, args.out, "--one", one, "--steps", str(args.steps)]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": paths, "CUPY_TF32": "1" if form == "tf32" else "0"}
    try:
        done = subprocess.run(
            list(map(str, command)), env=env, capture_output=True, text=True, timeout=args.seconds
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {args.seconds:.0f} seconds"}
    if done.returncode:
        return {"error": done.stderr.strip() or f"ended with code {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def missing():
    """The first library of PyTorch's side that is not there, or None."""
    return next((n for n in ("torch", "transformers", "peft") if not importlib.util.find_spec(n)), None)


def measured(side, form, size, S, steps):
    """Tokens per second of training and of decoding, medians; the loss of the first step."""
    rng = np.random.default_rng(0)
    draw = lambda n: rng.integers(0, 50257, n).tolist()
    lengths = rng.integers(32, 97, int(S))
    pairs = [(draw(n // 2), draw(n - n // 2)) for n in lengths]
    step, generate = {"minipeft": minipeft_side, "pytorch": pytorch_side}[side](size, form)
    loss = step(pairs)  # warms up, as the first generation does
    prompts = [p[:16] for p, _ in pairs]
    generate(prompts, NEW_TOKENS)
    return {
        "train_tokens_per_second": int(lengths.sum()) / median_of(lambda: step(pairs), steps),
        "decode_tokens_per_second": int(S) * NEW_TOKENS / median_of(lambda: generate(prompts, NEW_TOKENS), 3),
        "first_loss": loss,
    }


def median_of(f, times):
    """The median of the seconds of f()."""
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        f()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def minipeft_side(size, form):
    """-> a training step on pairs, which gives the loss; a greedy generation. The environment says TF32."""
    from minipeft import GPT2, AdamW, LoRA, PeftModel, pack
    from minipeft.train import Training, optimizer_step

    model = GPT2.random(size, device="cuda", ops="bfloat16" if form == "bfloat16" else "fast")
    model = model.packed("bfloat16") if form == "bfloat16" else model
    peft = PeftModel(model, LoRA(r=8, target_modules=("attn.c_attn",)))
    optimizer, settings = AdamW(1e-3), Training()
    step = lambda pairs: optimizer_step(peft, optimizer, [pack(pairs)], settings, 0)["loss"]
    return step, lambda prompts, n: peft.generate_ids(prompts, max_new_tokens=n, eos_token_id=[])


def pytorch_side(size, form):
    """The same by PyTorch."""
    import torch
    from peft import LoraConfig, get_peft_model
    from pytorch_side import NO_DROPOUT, padded
    from transformers import GPT2Config, GPT2LMHeadModel

    from minipeft.config import config_of_size

    torch.backends.cuda.matmul.allow_tf32 = form == "tf32"
    shape = config_of_size(size)
    config = GPT2Config(n_embd=shape.n_embd, n_layer=shape.n_layer, n_head=shape.n_head, **NO_DROPOUT)
    lora = LoraConfig(r=8, target_modules=["attn.c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM")
    model = get_peft_model(GPT2LMHeadModel(config), lora).to("cuda")
    model.generation_config.eos_token_id = None  # no token ends a text
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-3, weight_decay=0.01)
    products = torch.autocast("cuda", torch.bfloat16, enabled=form == "bfloat16")

    def step(pairs):
        model.train()
        with products:
            loss = model(**padded(pairs, "cuda")).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    def generate(prompts, n):
        model.eval()
        ids = torch.tensor(prompts, device="cuda")
        with products:
            out = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=n, do_sample=False,
                pad_token_id=0,
            )  # fmt: skip
        return out.tolist()

    return step, generate


def write(out, rows):
    """on_gpu.json, and the table."""
    (out / "on_gpu.json").write_text(json.dumps(rows, indent=1))
    lines = [
        "| model | batch | side | form | training, tokens/s | decoding, tokens/s |",
        "|---|---:|---|---|---:|---:|",
    ]
    for row in rows:
        numbers = [f"{row[k]:,.0f}" for k in row if k.endswith("per_second")]
        numbers = numbers or [row["error"].splitlines()[-1], ""]
        about = [row["size"], str(row["batch"]), row["side"], row["form"]]
        lines.append("| " + " | ".join([*about, *numbers]) + " |")
    (out / "on_gpu.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
