"""This package and PyTorch + `transformers` + `peft`, side by side in one run.

    python benchmarks/against_pytorch.py --data e2e.jsonl --tokenizer FOLDER

Needs the extra `bench`. The sides take turns, A B A B, each time in a process of its own with two threads:
the same weights, the same batches, float32, no dropout. That both do the same work is checked: as many
numbers train, and the first losses and tokens are the same. Medians and their ratios go to results.json and
RESULTS.md, entry by entry. Run it in pieces (--parts, --methods, --batches), or go on where it stopped
(--continue).

    training    full, LoRA, prefix, prompt, IA3, BitFit, adapter x the batches of batches.py; memory, too
    generation  under a LoRA adapter, greedy, 64 new tokens, 1, 8 and 32 prompts
    bfloat16    training once more, this package's packed bases beside PyTorch's own bfloat16: the whole model
                in it, and autocast, which keeps the weights in float32. Losses agree to 2 %
    generation_in_bfloat16          the same of generation
    cold        a process from its start to the first token
    floor       `minipeft bench` alone: the share of the machine's own rate
"""

import argparse
import sys
import tempfile
from pathlib import Path

from batches import KINDS
from parts import SideBySide
from results import about, record, recorded

from minipeft import InputError

HERE = Path(__file__).parent
TRAINED = ("full", "lora", "prefix_tuning", "prompt_tuning", "ia3", "bitfit", "adapter")
PARTS = ("training", "generation", "bfloat16", "generation_in_bfloat16", "cold", "floor")


def main():
    """Measure what was asked for, entry by entry."""
    args = arguments()
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(args, SideBySide(args, Path(folder)))
    except InputError as error:
        sys.exit(f"against_pytorch.py: {error}")


def arguments():
    """The command line."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--model", default="random:gpt2", help="a folder, or random:NAME")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--data", required=True, help="JSONL rows with prompt and completion")
    parser.add_argument("--tokenizer", help="a folder with a tokenizer, for a model that has none")
    parser.add_argument("--parts", type=names_of(PARTS), default=PARTS, help=",".join(PARTS))
    parser.add_argument("--methods", type=names_of(TRAINED), default=TRAINED, help=",".join(TRAINED))
    parser.add_argument("--batches", type=names_of(KINDS), default=KINDS, help=",".join(KINDS))
    parser.add_argument("--steps", type=int, default=6, help="measured steps of a training run")
    parser.add_argument("--runs", type=int, default=3, help="measured generations of a process")
    parser.add_argument("--repeats", type=int, default=3, help="processes of each side")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", default=HERE, help="the folder of results.json and RESULTS.md")
    parser.add_argument(
        "--continue", dest="go_on", action="store_true", help="leave what is measured already"
    )
    return parser.parse_args()


def names_of(known):
    """What reads an option's names, with commas between them, each of which must be known."""

    def read(text):
        names = text.split(",")
        if unknown := {*names} - {*known}:
            raise argparse.ArgumentTypeError(f"{min(unknown)}: choose from {','.join(known)}")
        return names

    return read


def measure(args, sides):
    """Every entry of every part, recorded as soon as it is there."""
    prompts = {str(number): (number,) for number in (1, 8, 32)}
    parts = {
        "training": {f"{m}, {kind}": (m, kind) for m in args.methods for kind in args.batches},
        "generation": prompts,
        "bfloat16": {f"{m}, {kind}": (m, kind) for m in args.methods for kind in args.batches},
        "generation_in_bfloat16": prompts,
        "cold": {"first token": ()},
        "floor": {m: (m,) for m in args.methods},
    }
    for part in args.parts:
        measured = recorded(args.out).get(args.device, {}).get(part, {})
        for name, how in parts[part].items():
            if not (args.go_on and name in measured):
                entry = getattr(sides, part)(*how)
                libraries = () if part == "floor" else ("torch", "transformers", "peft")
                entry["about"] = about(args.device, args.model, args.threads, libraries)
                record(args.out, args.device, part, name, entry)


if __name__ == "__main__":
    main()
