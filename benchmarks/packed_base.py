"""What a packed base costs and brings: plain arrays, float32 and bfloat16, side by side in one run.

    python benchmarks/packed_base.py numbers     the embedded model: how far off are products, losses, ...?
    python benchmarks/packed_base.py speed --data e2e.jsonl --tokenizer FOLDER     GPT-2 small's shape

Forms: `plain`; `float32` and `bfloat16` packed by MKL (extra `mkl`), whatever the processor has for bfloat16;
`bfloat16, stored`: made into floats in every product; `--ops bfloat16`: plain arrays, rounded for each
product, those of what trains, too. Times are taken in turn (A B C A B C ...): medians, and the median of the
ratios to the plain base in the same turn. Memory is that of a process of its own, `minipeft
bench`; there `bfloat16` is what `--base` makes of it on this machine.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from batches import batches_of, prompts_of

from minipeft import GPT2, AdamW, BitFit, Full, LoRA, PeftModel, PrefixTuning, pack, train
from minipeft.files.tokenizer import load_tokenizer
from minipeft.model import load_model
from minipeft.speed import mkl
from minipeft.speed.bfloat16 import BFloat16
from minipeft.speed.packed import Packed, PackedBFloat16, table_packer
from minipeft.tasks import data_to_text

FORMS = ("plain", "float32", "bfloat16", "bfloat16, stored", "--ops bfloat16")
METHODS = {
    "LoRA, all linear layers": LoRA(r=4, target_modules="all-linear"),
    "prefix, 8": PrefixTuning(8),
    "BitFit": BitFit(),
    "full fine-tuning": Full(),
}


def in_form(model, form):
    """The model with its base held in that form."""
    if form == "plain":
        return model
    if form == "--ops bfloat16":
        return GPT2(model.config, model.weights, model.tokenizer, ops="bfloat16")
    held = {"float32": Packed, "bfloat16": PackedBFloat16, "bfloat16, stored": BFloat16}[form]
    names = {f"{name}.weight": held for name in model.config.linear_layers()}
    names["wte.weight"] = table_packer(held)  # the head, too
    packed = {name: make(model.weights[name]) for name, make in names.items() if make}
    return model.with_weights(model.weights | packed)


# ------------------------------------------------------------------------------------------------- numbers


def numbers(args):
    """Relative errors of one product; of the first loss and gradient; losses over the steps of a training."""
    model, rows = GPT2.from_pretrained("weights/tiny"), data_to_text.rows("train", 2000)
    rng = np.random.default_rng(0)
    W = model.weights["h.0.mlp.c_fc.weight"]
    x = rng.standard_normal((256, len(W)), dtype="float32")
    print("| base | method | product | first loss | first gradient | mean loss, last 20 | largest gap |")
    print("|---|---|---|---|---|---|---|")
    forms = [form for form in FORMS if mkl.library() or form not in ("float32", "bfloat16")]
    for title, method in METHODS.items():
        true = None
        for form in forms:
            base = in_form(model, form)
            y, _ = base.step().ops.linear(x, base.weights["h.0.mlp.c_fc.weight"], 0)
            product = relative(y, x.astype("float64") @ W)
            peft = PeftModel(base, method)
            pairs = [(r["prompt"], r["completion"]) for r in rows[:8]]
            ids = [tuple(model.tokenizer.encode(text).ids for text in pair) for pair in pairs]
            loss, grads = peft.loss_and_grads(pack(ids))
            grads = np.concatenate([grads[name].ravel() for name in sorted(grads)])
            settings = {"steps": args.steps, "learning_rate": 5e-3, "warmup_steps": 5}
            steps = train(PeftModel(base, method), rows, progress=False, **settings).steps
            losses = np.array([step["loss"] for step in steps])
            true = true or (float(loss), grads, losses)
            first = abs(float(loss) - true[0]) / true[0]
            gap = abs(smoothed(losses) - smoothed(true[2])).max()
            print(
                f"| {form} | {title} | {product:.1e} | {first:.1e} | {relative(grads, true[1]):.1e} | "
                f"{losses[-20:].mean():.4f} | {gap:.4f} |",
                flush=True,
            )


def relative(a, true):
    """|a - true| / |true|, Euclidean."""
    return np.linalg.norm(a - true) / np.linalg.norm(true)


def smoothed(losses):
    """Means over 20 steps."""
    return np.convolve(losses, np.full(20, 1 / 20), "valid")


# --------------------------------------------------------------------------------------------------- speed


def speed(args):
    """Tokens a second of training steps and of greedy decoding, and the memory of training."""
    with tempfile.TemporaryDirectory() as folder:
        small = load_model("random:gpt2")
        small.tokenizer = load_tokenizer(args.tokenizer)
        small.save_pretrained(folder)
        del small
        plain = load_model(folder)
        forms = args.forms.split("/")
        forms = [form for form in forms if mkl.library() or form not in ("float32", "bfloat16")]
        models = {form: PeftModel(in_form(plain, form), LoRA(r=8)) for form in forms}
        batches = [pack(pairs) for pairs in batches_of("e2e", 1 + args.rounds, plain, args.data)]
        table("training", models, batches, lambda peft, batch: one_step(peft, batch))
        for number in (1, 8):
            prompts = prompts_of(number, plain, args.data)
            turns = [prompts] * (1 + args.rounds)
            table(f"greedy, B = {number}", models, turns, lambda peft, p: decode(peft, p, args.new_tokens))
        del models
        for form in forms:
            if form != "bfloat16, stored":
                print(f"peak of training, {form}: {peak_memory(folder, form, args):,.0f} MB", flush=True)


def table(title, models, turns, work):
    """Print tokens a second of every form and how it compares. work(peft, turn) -> how many tokens.

    By the clock, and by the CPU time of all threads, which moves less on a machine that is shared.
    """
    clock, cpu = ({form: [] for form in models} for _ in range(2))
    for turn in turns:
        for form, peft in models.items():
            begin = time.perf_counter(), time.process_time()
            tokens = work(peft, turn)
            clock[form].append(tokens / (time.perf_counter() - begin[0]))
            cpu[form].append(tokens / (time.process_time() - begin[1]))
    for form in models:
        parts = [f"{statistics.median(clock[form][1:]):.1f} tokens/s"]  # the first turn warms up
        for name, rates in (("clock", clock), ("CPU", cpu)):
            ratios = sorted(a / b for a, b in zip(rates[form][1:], rates["plain"][1:], strict=True))
            parts.append(f"{name} x {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
        print(f"{title}, {form}: {', '.join(parts)}", flush=True)


def one_step(peft, batch):
    """Loss, gradients, AdamW. -> the batch's tokens."""
    _, grads = peft.loss_and_grads(batch)
    AdamW(learning_rate=1e-3).step(peft.trainable, grads)
    return len(batch.ids)


def decode(peft, prompts, n):
    """n new tokens for each prompt. -> how many in all."""
    return sum(map(len, peft.generate_ids(prompts, max_new_tokens=n, eos_token_id=[])))


def peak_memory(folder, form, args):
    """Of `minipeft bench`, in MB."""
    words = ["bench", "--model", folder, "--data", args.data, "--method", "lora", "--steps", "2"]
    words += [] if form == "plain" else ["--base", form]
    command = [sys.executable, "-m", "minipeft", *words, "--json", "--quiet"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)["peak_memory_mb"]


def main():
    """Read the arguments, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("numbers", "speed"))
    parser.add_argument("--steps", type=int, default=200, help="of each training")
    parser.add_argument("--rounds", type=int, default=7, help="turns that count")
    parser.add_argument("--new-tokens", type=int, default=16, help="of each prompt")
    parser.add_argument("--forms", default="/".join(FORMS[:-1]), help="with / between them, plain first")
    parser.add_argument("--data", help="JSONL rows with prompt and completion")
    parser.add_argument("--tokenizer", help="a folder with GPT-2's tokenizer")
    args = parser.parse_args()
    {"numbers": numbers, "speed": speed}[args.what](args)


if __name__ == "__main__":
    main()
