"""How the time of a training step grows: with its tokens, with layers, with LoRA's rank, with a prefix.

    python benchmarks/growth.py --axes tokens,layers,rank,prefix

On each axis the law is a straight line: a step's matrix products (`minipeft/cost/flops.py`) at one rate for
all points, the median of theirs. A point above it does other work besides, or its products at a lower rate.
Rounds over all points, the first one unmeasured; medians, and a picture for each axis, in growth/.
"""

import argparse
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from results import about, record

from minipeft import GPT2, AdamW, InputError, LoRA, PeftModel, PrefixTuning, pack
from minipeft.cost.bench import timed
from minipeft.cost.flops import step_flops
from minipeft.model import load_model
from minipeft.reports.pictures import figure, line_style, log_scale, save
from minipeft.speed.parallel import num_threads

HERE = Path(__file__).parent
AXES = {  # heading, what is on the axis, its points, the law
    "tokens": (
        "Tokens in a step",
        "tokens in a step (sequences of 32)",
        (64, 128, 256, 512, 1024, 2048, 4096),
        "Proportional to the tokens: more sequences, none of them longer, and every product has a factor N.",
    ),
    "layers": (
        "Layers",
        "layers",
        (6, 12, 24),
        "A straight line: the same for each layer, above the head, which there is once.",
    ),
    "rank": (
        "LoRA's rank",
        "rank r on attn.c_attn",
        (1, 4, 16, 64, 128, 256),
        "A straight line in r, above what the frozen model costs: about 6 N (I + O) r a layer for A and B.",
    ),
    "prefix": (
        "Length of the prefix",
        "virtual tokens P",
        (1, 25, 50, 100, 200),
        "A straight line in P, and a flat one: a prefix goes through no layer, tokens only see P keys more.",
    ),
}


def main():
    """Measure the axes that were asked for, one by one."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--model", default="random:gpt2", help="a folder, or random:NAME: its shape")
    parser.add_argument("--axes", default=",".join(AXES), help=",".join(AXES))
    parser.add_argument("--most", type=int, default=10**6, help="leave out points above this")
    parser.add_argument("--rounds", type=int, default=3, help="measured steps of each point")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--out", default=HERE, help="the folder of results.json and RESULTS.md")
    args = parser.parse_args()
    if unknown := {*args.axes.split(",")} - {*AXES}:
        parser.error(f"{min(unknown)}: choose from {','.join(AXES)}")
    try:
        config = load_model(args.model).config
        for axis in args.axes.split(","):
            entry = measure(axis, [x for x in AXES[axis][2] if x <= args.most], config, args)
            draw(axis, entry, Path(args.out) / "growth")
            entry["about"] = about(args.device, args.model, num_threads())
            record(args.out, args.device, "growth", axis, entry)
    except InputError as error:
        sys.exit(f"growth.py: {error}")


def measure(axis, xs, config, args):
    """The median seconds of a step at each point, its arithmetic, and how far the two are from the law."""
    points = {x: point(axis, x, config, args.device) for x in xs}
    seconds = {x: [] for x in xs}
    for i in range(1 + args.rounds):
        for x, (step, _) in points.items():
            taken, _ = timed(step, args.device)
            if i:
                seconds[x].append(taken)
            print(f"{axis:<7} {x:>5} {1000 * taken:10,.1f} ms", flush=True)
    medians = [statistics.median(seconds[x]) for x in xs]
    flops = [flops for _, flops in points.values()]
    rate = statistics.median(f / s for f, s in zip(flops, medians, strict=True))
    law = [f / rate for f in flops]
    off = [s / l - 1 for s, l in zip(medians, law, strict=True)]
    heading, _, _, words = AXES[axis]
    entry = {"heading": heading, "law": words, "gflops": rate / 1e9, "low": min(off), "high": max(off)}
    return entry | {"x": xs, "seconds": medians, "law_seconds": law}


def point(axis, x, config, device):
    """-> a function that takes one training step at the point x of the axis, and its operations."""
    if axis == "layers":
        config = replace(config, n_layer=x)
    method = PrefixTuning(x) if axis == "prefix" else LoRA(r=x if axis == "rank" else 8)
    sequences, T = (x // 32, 32) if axis == "tokens" else (8, 64)
    ids = np.random.default_rng(0).integers(0, config.vocab_size, (sequences, T)).tolist()
    batch = pack([([], sequence) for sequence in ids])
    peft, optimizer = PeftModel(GPT2.random(config, device=device), method), AdamW()
    peft.check_batch(batch)

    def step():
        _, grads = peft.loss_and_grads(batch)
        optimizer.step(peft.trainable, grads)

    return step, sum(step_flops(peft, batch).values())


def draw(axis, entry, folder):
    """The measured points, and the law as a line: all four are straight, so two points of it give it."""
    _, label, _, _ = AXES[axis]
    xs, law = entry["x"], entry["law_seconds"]
    line = np.geomspace(xs[0], xs[-1], 100)
    with figure(8, 4.5) as f:
        axes = f.subplots()
        axes.plot(line, np.interp(line, xs, law), **line_style(1) | {"marker": ""}, label="the law")
        axes.plot(xs, entry["seconds"], **line_style(0) | {"linestyle": "", "markevery": 1}, label="measured")
        if axis == "tokens":
            log_scale(axes, "x")
            log_scale(axes, "y")
        else:
            axes.set_ylim(bottom=0)
        axes.set(xlabel=label, ylabel="seconds a step")
        axes.legend()
        save(f, folder, axis)


if __name__ == "__main__":
    main()
