"""What several ranks bring on one machine, measured; what they would bring on many, on paper.

    mpirun -n 2 python benchmarks/ranks.py       # needs mpirun and mpi4py: pip install -e ".[test-mpi]"
    python benchmarks/ranks.py --paper

Measured: GPT-2 small's shape, float32, batches of 8 rows of 20 to 60 random tokens, half of them labelled;
one thread a rank. In turn a step of the first rank alone, while the others sleep, and a step of all on the
same batch: each ratio is of two neighbours. The all-reduce alone is of a buffer as large as a step's.

On paper: a ring of n GPUs sends 2 (n - 1) / n of the buffer's bytes through each link, in 2 (n - 1) hops that
wait for each other; the constants below say the rest.
"""

import argparse
import os
import statistics
import time

import numpy as np

from minipeft import GPT2, AdamW, Full, LoRA, PeftModel, pack
from minipeft.cost.machine import cpu_name
from minipeft.speed.ranks import ALONE, world
from minipeft.train import Training, optimizer_step

METHODS = {"lora": lambda: LoRA(r=8, target_modules=("attn.c_attn",)), "full": lambda: Full()}

PAPER = {"lora": (294_912, 4), "full": (124_439_808, 6)}  # what trains; operations a parameter and token
PARAMETERS = 124_439_808
TOKENS = 8 * 1024  # of each GPU in a step
RATE = 50e12  # operations a second of a GPU
LINKS = {"200 Gbit/s": 25e9, "10 Gbit/s": 1.25e9}  # bytes a second
HOP = 10e-6  # seconds before a message arrives


def rows(n, seed):
    """Pairs of token ids."""
    rng = np.random.default_rng(seed)
    halves = rng.integers(10, 31, n)
    return [(rng.integers(0, 50257, k).tolist(), rng.integers(0, 50257, k).tolist()) for k in halves]


def seconds(work, ranks):
    """How long the work takes when all ranks begin together, as the first one's clock has it."""
    ranks.wait()
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def measured(method, ranks, pairs):
    """[(a step alone, a step of all), ...] in seconds, and how long each all-reduce alone took; the bytes."""
    peft, settings = PeftModel(GPT2.random("gpt2"), METHODS[method]()), Training(learning_rate=1e-5)
    optimizer, times, alone = AdamW(1e-5), [], []
    for i in range(pairs + 1):
        batch = pack(rows(8, seed=i))
        step = lambda on, batch=batch: optimizer_step(peft, optimizer, [batch], settings, 0, on)
        one = seconds(lambda step=step: step(ALONE) if ranks.first else None, ranks)
        times.append((one, seconds(lambda step=step: step(ranks), ranks)))
        grads = {name: np.ones_like(p) for name, p in peft.trainable.items()}
        alone.append(seconds(lambda g=grads: ranks.add_up(g, [0, 0, 0], peft.trainable), ranks))
    size = sum(p.nbytes for p in peft.trainable.values()) + 3 * peft.dtype.itemsize
    return times[1:], alone[1:], size  # the first are to warm up


def in_turn(methods, pairs):
    """The table of what is measured, in Markdown, by the first rank."""
    ranks = world()
    if ranks.size == 1:
        raise SystemExit("start it by mpirun: mpirun -n 2 python benchmarks/ranks.py")
    say = print if ranks.first else (lambda *text: None)
    say(f"{cpu_name()}, {os.cpu_count()} cores; load {os.getloadavg()[0]:.1f} at the beginning\n")
    say(f"| method | bytes a step | 1 rank | {ranks.size} ranks | times as fast | all-reduce alone |")
    say("|---|---:|---:|---:|---:|---:|")
    for method in methods:
        times, alone, size = measured(method, ranks, pairs)
        one, several = (statistics.median(each) for each in zip(*times, strict=True))
        ratios = sorted(a / b for a, b in times)
        said = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        cells = [method, f"{size:,}", f"{one:.2f} s", f"{several:.2f} s", said]
        say(f"| {' | '.join(cells)} | {1000 * statistics.median(alone):.1f} ms |")
    say(f"\nload {os.getloadavg()[0]:.1f} at the end")


def on_paper():
    """The table of what is assumed above: compute, all-reduce, and the share of the step that is compute."""
    print("| method | link | compute | n | all-reduce | compute's share | tokens a GPU for 95 % |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for method, (numbers, operations) in PAPER.items():
        per_token = operations * PARAMETERS / RATE
        compute = TOKENS * per_token
        for link, bandwidth in LINKS.items():
            for n in (8, 64, 1024):
                ring = 2 * (n - 1) / n * 4 * numbers / bandwidth + 2 * (n - 1) * HOP
                share, enough = compute / (compute + ring), 19 * ring / per_token
                cells = [method, link, f"{1000 * compute:.0f} ms", f"{n:,}", f"{1000 * ring:.1f} ms"]
                print(f"| {' | '.join(cells)} | {share:.0%} | {enough:,.0f} |")


def main():
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--methods", default="lora,full", help="some of: lora, full")
    parser.add_argument("--pairs", type=int, default=7, help="measured pairs of steps")
    parser.add_argument("--paper", action="store_true", help="the table on paper, instead")
    args = parser.parse_args()
    if args.paper:
        on_paper()
    else:
        in_turn(args.methods.split(","), args.pairs)


if __name__ == "__main__":
    main()
