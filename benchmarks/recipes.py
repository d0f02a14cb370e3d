"""Which learning rate each method gets in `minipeft compare`: a sweep on validation rows.

    python benchmarks/recipes.py                   # runs what is missing, writes recipes.json and recipes.md
    python benchmarks/recipes.py --tasks sentiment --methods lora,full --steps 150
    python benchmarks/recipes.py --tasks question-answering --steps 150 --seeds 0,1,2 --factors 0.6,1

Each method is trained on each task with its present rate (`about.learning_rate`) times each factor, and
scored on validation rows: no test row has a part in it. A run is one thread's work, so the runs go side by
side, and one that is in recipes.json already is not repeated while the model is the same.

Chosen is the rate with the highest mean score over all tasks and lengths: one rate that is good everywhere,
not the best on one task. Where several seeds were run their mean counts: a large rate that one seed endures
may be too large for the next. So it was with five of the eight methods whose seeds differed by ten points and
more on question-answering; those eight were run with three seeds and a rate between. Means that differ by
less than TIE count as equal; of equal rates the largest, which a shorter training needs. A rate that could
not win any more, were all 100 % that was not tried of it, need not be tried further.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import mean

from minipeft import GPT2, PeftModel, train
from minipeft.files.content import content_of_files
from minipeft.files.json_files import atomic, read_json, write_json
from minipeft.methods.named import make_method
from minipeft.reports.compare.recipes import COMMON, RECIPES, recipe_of
from minipeft.tasks import TASKS
from minipeft.tasks.answers import answer, choice_probabilities

HERE = Path(__file__).parent
MODEL = HERE.parent / "weights" / "tiny"
STEPS = (150, 450)
METHODS = tuple(name for name in RECIPES if name != "lora_random")
SCORED = 200  # validation rows
TIE = 0.005  # one answer of these


def main():
    """Run what is missing; then write the table of all that is there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--steps", default=",".join(map(str, STEPS)))
    parser.add_argument("--factors", default="0.3,1,3", help="on each method's present rate")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--model", default=str(MODEL), help="the folder of the base")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--out", default=HERE, type=Path, help="the folder of recipes.json")
    args = parser.parse_args()
    os.environ |= {"MINIPEFT_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # of the workers, which start anew
    path = args.out / "recipes.json"
    sweep, model = read_json(path) if path.is_file() else {}, content_of_files([args.model])
    if sweep.get("model") != model:
        sweep = {"model": model, "scores": {}}
    scores = sweep["scores"]
    wanted = [
        (task, name, rate_of(name, float(factor)), int(steps), int(seed))
        for steps, task, seed, factor, name in product(
            *(each.split(",") for each in (args.steps, args.tasks, args.seeds, args.factors, args.methods))
        )
    ]
    missing = [(args.model, *run) for run in wanted if key(*run) not in scores]
    with ProcessPoolExecutor(args.jobs, get_context("spawn")) as workers:
        running = {workers.submit(score, *run): run for run in missing}
        for number, done in enumerate(as_completed(running), 1):
            name = key(*running[done][1:])
            scores[name] = done.result()
            write_json(path, sweep)
            print(f"{number} of {len(missing)}: {name} {100 * done.result():.1f} %", flush=True)
    with atomic(args.out / "recipes.md") as temporary:
        Path(temporary).write_text(page(scores), encoding="utf-8")


def rate_of(name, factor):
    """A method's present rate times a factor, to one digit."""
    return float(f"{factor * recipe_of(name)[1]['learning_rate']:.1g}")


def key(task, name, rate, steps, seed):
    """How a run is called in recipes.json."""
    return f"{task} {name} {rate:g} {steps} {seed}"


def score(model, task, name, rate, steps, seed):
    """A method's score on a task's validation rows, trained at this rate as `minipeft compare` trains."""
    task, rows = TASKS[task], TASKS[task].rows("train", 2000)
    method = make_method(name, recipe_of(name)[0])
    method.use_training_data(rows)
    peft = PeftModel(GPT2.from_pretrained(model), method, seed)
    settings = COMMON | {"steps": steps, "learning_rate": rate, "eval_every": steps // 3, "seed": seed}
    held_out = task.rows("validation", SCORED)
    train(peft, rows, held_out[:100], progress=False, **settings)
    prompts = [row["prompt"] for row in held_out]
    if task.CHOICES is None:
        outputs = answer(peft, task, prompts, progress=False)
    else:
        best = choice_probabilities(peft, prompts, task.CHOICES, progress=False).argmax(1)
        outputs = [task.CHOICES[i] for i in best]
    return task.score(held_out, outputs)[task.PRIMARY]


def table(scores):
    """{name: {rate: {(task, steps): {seed: score}}}} of recipes.json's entries."""
    rates = {}
    for entry, value in scores.items():
        task, name, rate, steps, seed = entry.split()
        at = rates.setdefault(name, {}).setdefault(float(rate), {})
        at.setdefault((task, int(steps)), {})[int(seed)] = value
    return rates


def tried(rates):
    """{(task, steps): seeds} of all that was tried with any of the rates."""
    seeds = {}
    for at in rates.values():
        for place, of in at.items():
            seeds.setdefault(place, set()).update(of)
    return seeds


def at_best(at, places):
    """A rate's mean score, over seeds and then over all else, with 100 % for what was not tried of it."""
    return mean(mean(at.get(place, {}).get(seed, 1.0) for seed in seeds) for place, seeds in places.items())


def complete(at, places):
    """Was everything tried with this rate that was tried with any?"""
    return all(set(at.get(place, {})) == seeds for place, seeds in places.items())


def chosen(rates):
    """The rate with the highest mean score, or the largest of those that tie with it.

    None where it is open: one that was not tried everywhere could still win.
    """
    places = tried(rates)
    means = {rate: at_best(at, places) for rate, at in rates.items()}
    best = max((means[rate] for rate, at in rates.items() if complete(at, places)), default=0.0)
    winners = [rate for rate in rates if means[rate] > best - TIE]
    return max(winners) if all(complete(rates[rate], places) for rate in winners) else None


def page(scores):
    """recipes.md."""
    lines = [
        "# The learning rates of `minipeft compare`, and what they were chosen from", "",
        "Written by `python benchmarks/recipes.py`; never edited by hand. Scores in % on validation rows; no",
        f"test row is one of them. {SCORED} rows: three points mean nothing. One seed; where more were run,",
        "their mean and, in brackets, the lowest. In bold the rate with the highest mean, or the largest of",
        "those that tie with it: the method's own. What is empty was not run: with 100 % in all of it that",
        "rate would still have lost.", "",
        *rows(table(scores)), "",
    ]  # fmt: skip
    return "\n".join(lines)


def rows(rates):
    """The lines of a table: for each method a row for each rate, a column for each task and length."""
    columns = sorted({place for of in rates.values() for place in tried(of)})
    lines = [
        "| method | rate | mean | " + " | ".join(f"{task}, {steps}" for task, steps in columns) + " |",
        "|---|---:|---:|" + "---:|" * len(columns),
    ]
    for name, of in rates.items():
        best, places = chosen(of), tried(of)
        for rate, at in sorted(of.items()):
            mark = "**" if rate == best else ""
            middle = f"{100 * at_best(at, places):.1f}" if complete(at, places) else ""
            cells = " | ".join(cell(at.get(place, {}).values()) for place in columns)
            lines.append(f"| {name} | {mark}{rate:g}{mark} | {middle} | {cells} |")
    return lines


def cell(scores):
    """ "99.5"; of several seeds "81.3 (44.5)", the mean and the lowest."""
    if not scores:
        return ""
    lowest = f" ({100 * min(scores):.1f})" if len(scores) > 1 else ""
    return f"{100 * mean(scores):.1f}{lowest}"


if __name__ == "__main__":
    main()
