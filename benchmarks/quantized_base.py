"""What a quantised base costs and saves: float32, int8 and nf4, side by side in one run.

    python benchmarks/quantized_base.py loss     the embedded model: on texts, and on data-to-text with LoRA
    python benchmarks/quantized_base.py steps    GPT-2 small's shape, random weights: a step's time and memory

Memory is that of all arrays: `nbytes` of the base, and the most that Python's tracemalloc sees in a step, the
base among it. Times of steps are taken in turn (A B C A B C ...); what is printed are medians. The CPU time
is that of all threads together, and moves less than the clock on a machine that is shared.
"""

import argparse
import statistics
import time
import tracemalloc
from itertools import islice

import numpy as np

from minipeft import GPT2, AdamW, LoRA, PeftModel, evaluate, pack, train
from minipeft.app.pretrain import HELD_OUT_SEED
from minipeft.tasks import data_to_text
from minipeft.tasks.corpus import documents

KINDS = ("float32", "int8", "nf4")


def on_base(model, kind):
    """The model as it is, or quantised."""
    return model if kind == "float32" else model.quantized(kind)


def megabytes(model, names):
    """What these weights take, in MB (10^6 bytes)."""
    return sum(model.weights[name].nbytes for name in names) / 1e6


def losses(args):
    """Loss of the base on texts it has not seen and on 100 validation rows, and with LoRA trained on it."""
    rows, held_out = data_to_text.rows("train", 2000), data_to_text.rows("validation", 100)
    unseen = [{"text": text} for text in islice(documents(HELD_OUT_SEED), 100)]
    true = GPT2.from_pretrained("weights/tiny")
    print("| base | linear layers, MB | logits off by | texts | data-to-text | with LoRA trained on it |")
    print("|---|---|---|---|---|---|")
    for kind in KINDS:
        base = on_base(true, kind)
        off = logits_error(base, true, unseen[:20])
        size = megabytes(base, [f"{name}.weight" for name in base.config.linear_layers()])
        on_texts = evaluate(PeftModel(base), unseen, on_long="cut")["loss"]
        alone, trained = evaluate(PeftModel(base), held_out)["loss"], []
        for seed in range(args.seeds):
            peft = PeftModel(base, LoRA(r=8, lora_alpha=16, target_modules="all-linear"), seed=seed)
            settings = {"steps": args.steps, "learning_rate": 5e-3, "warmup_steps": 5, "seed": seed}
            train(peft, rows, progress=False, **settings)
            trained.append(evaluate(peft, held_out)["loss"])
        spread = f" ± {statistics.stdev(trained):.3f}" if len(trained) > 1 else ""
        lora = f"{statistics.mean(trained):.3f}{spread}"
        print(f"| {kind} | {size:.2f} | {off:.1%} | {on_texts:.3f} | {alone:.3f} | {lora} |", flush=True)


def logits_error(model, true, rows):
    """How far the logits are from the true ones on these texts, relative to how far those spread."""
    ids = [model.tokenizer.encode(row["text"]).ids[: model.config.n_positions] for row in rows]
    ours, theirs = (np.concatenate(m.logits(ids)) for m in (model, true))
    return np.square(ours - theirs).mean() ** 0.5 / np.std(theirs - theirs.mean(1, keepdims=True))


def steps(args):
    """Time and memory of a LoRA step on batches of 8 sequences of 56 tokens, half of them labelled."""
    rng, V = np.random.default_rng(0), 50257
    batch = pack([(rng.integers(0, V, 28), rng.integers(0, V, 28)) for _ in range(8)])
    models, memory, prompt = {}, {}, [rng.integers(0, V, 28).tolist()]
    for kind in KINDS:
        tracemalloc.start()
        models[kind] = model = PeftModel(on_base(GPT2.random("gpt2"), kind), LoRA(r=8))
        tracemalloc.reset_peak()
        one_step(model, batch)
        base = megabytes(model.model, model.model.weights)
        memory[kind] = base, tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
    step = in_turn(lambda model: one_step(model, batch), models, args.rounds)
    token = in_turn(lambda model: model.generate_ids(prompt, max_new_tokens=8), models, args.rounds)
    print("| base | base, MB | peak of a step, MB | step, s | CPU, s | relative | generation, relative |")
    print("|---|---|---|---|---|---|---|")
    for kind, (base, peak) in memory.items():
        clock, cpu = step[kind]
        relative = [f"{t[kind][1] / t['float32'][1]:.2f}" for t in (step, token)]
        print(f"| {kind} | {base:.0f} | {peak:.0f} | {clock:.2f} | {cpu:.2f} | {' | '.join(relative)} |")


def in_turn(f, models, rounds):
    """{kind: median of the clock's seconds and of the CPU's} that f(model) takes, the models in turn."""
    taken = {kind: [] for kind in models}
    for _ in range(rounds):
        for kind, model in models.items():
            clock, cpu = time.perf_counter(), time.process_time()
            f(model)
            taken[kind].append((time.perf_counter() - clock, time.process_time() - cpu))
    return {kind: [statistics.median(each) for each in zip(*t, strict=True)] for kind, t in taken.items()}


def one_step(peft, batch):
    """Loss, gradients, AdamW."""
    _, grads = peft.loss_and_grads(batch)
    AdamW(learning_rate=1e-3).step(peft.trainable, grads)


def main():
    """Read the arguments, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("loss", "steps"))
    parser.add_argument("--seeds", type=int, default=3, help="LoRA runs on each base")
    parser.add_argument("--steps", type=int, default=60, help="of each LoRA run")
    parser.add_argument("--rounds", type=int, default=5, help="steps on each base, in turn")
    args = parser.parse_args()
    {"loss": losses, "steps": steps}[args.what](args)


if __name__ == "__main__":
    main()
