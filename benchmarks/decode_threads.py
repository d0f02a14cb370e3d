"""A decode step's threads: a share of the prompts for each, or BLAS's own (`generate.ONE_PART`).

    python benchmarks/decode_threads.py --prompts 4 5 6 7 8 12 16 24 32 48

GPT-2 small's shape (or --model FOLDER), float32, greedy, prompts of 30 random tokens. The two are timed in
turn in this process, without what the prompts and their first token take. The table has the medians, in ms a
token. On a machine that does other work BLAS's threads wait for each other: nothing else should run.
"""

import argparse
import statistics
import time
from unittest.mock import patch

import numpy as np

from minipeft import LoRA, PeftModel, generate
from minipeft.model import load_model

LENGTH, NEW = 30, 16
FORMS = {"a share for each thread": range(0), "BLAS's threads": range(1, 1000)}


def main():
    """Time both for each number of prompts, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, nargs="+", default=[4, 8, 16, 32])
    parser.add_argument(
        "--model", default="random:gpt2", help="a folder, or a published size with random weights"
    )
    parser.add_argument("--times", type=int, default=3, help="runs of each form")
    args = parser.parse_args()
    peft = PeftModel(load_model(args.model), LoRA(r=8))
    print("| prompts | " + " | ".join(FORMS) + " |\n|---:" + "|---:" * len(FORMS) + "|")
    for count in args.prompts:
        prompts = np.random.default_rng(0).integers(0, 1000, (count, LENGTH)).tolist()
        runs = {form: [] for form in FORMS}
        for _ in range(args.times + 1):
            for form, one_part in FORMS.items():
                with patch.object(generate, "ONE_PART", one_part):
                    runs[form].append(seconds(peft, prompts, NEW) - seconds(peft, prompts, 1))
        medians = [
            1000 * statistics.median(times[1:]) / (NEW - 1) for times in runs.values()
        ]  # the first warms up
        print(f"| {count} | " + " | ".join(f"{ms:.1f}" for ms in medians) + " |", flush=True)


def seconds(peft, prompts, new):
    """What so many new tokens take."""
    begin = time.perf_counter()
    peft.generate_ids(prompts, max_new_tokens=new, eos_token_id=[])
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
