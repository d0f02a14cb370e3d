"""Which learning rate each method gets in `minipeft compare`: a sweep on validation rows.

    python benchmarks/recipes.py                   # runs what is missing, writes recipes.json and recipes.md
    python benchmarks/recipes.py --tasks sentiment --methods lora,full --steps 150

Each method is trained on each task with its present rate (`about.learning_rate`) times each factor, and
scored on validation rows: no test row has a part in it. A run is one thread's work, so the runs go side by
side, and one that is in recipes.json already is not repeated while the model is the same.

Chosen is the rate with the highest mean score over all tasks and lengths: one rate that is good everywhere,
not the best on one task. Means that differ by less than TIE count as equal; of equal rates the largest, which
a shorter training needs. A rate that could not win any more, were all 100 % that was not tried of it, need
not be tried further.
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
        (task, name, float(f"{float(factor) * recipe_of(name)[1]['learning_rate']:.1g}"), int(steps))
        for steps, task, factor, name in product(
            args.steps.split(","), args.tasks.split(","), args.factors.split(","), args.methods.split(",")
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


def key(task, name, rate, steps):
    """How a run is called in recipes.json."""
    return f"{task} {name} {rate:g} {steps}"


def score(model, task, name, rate, steps):
    """A method's score on a task's validation rows, trained at this rate as `minipeft compare` trains."""
    task, rows = TASKS[task], TASKS[task].rows("train", 2000)
    method = make_method(name, recipe_of(name)[0])
    method.use_training_data(rows)
    peft = PeftModel(GPT2.from_pretrained(model), method, seed=0)
    settings = COMMON | {"steps": steps, "learning_rate": rate, "eval_every": steps // 3, "seed": 0}
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
    """{name: {rate: {(task, steps): score}}} of recipes.json's entries."""
    rates = {}
    for entry, value in scores.items():
        task, name, rate, steps = entry.split()
        rates.setdefault(name, {}).setdefault(float(rate), {})[task, int(steps)] = value
    return rates


def chosen(rates):
    """The rate with the highest mean score, or the largest of those that tie with it.

    None where it is open: one that was not tried everywhere could still win.
    """
    everywhere = set.union(*(set(at) for at in rates.values()))
    at_best = {rate: mean(at.get(place, 1.0) for place in everywhere) for rate, at in rates.items()}
    best = max((at_best[rate] for rate, at in rates.items() if set(at) == everywhere), default=0.0)
    winners = [rate for rate in rates if at_best[rate] > best - TIE]
    return max(winners) if all(set(rates[rate]) == everywhere for rate in winners) else None


def page(scores):
    """recipes.md."""
    lines = [
        "# The learning rates of `minipeft compare`, and what they were chosen from", "",
        "Written by `python benchmarks/recipes.py`; never edited by hand. Scores in % on validation rows; no",
        f"test row is one of them. One seed, {SCORED} rows: three points mean nothing. In bold the rate with",
        "the highest mean, or the largest of those that tie with it: the method's own. What is empty was not",
        "run: with 100 % in all of it that rate would still have lost.", "",
        *rows(table(scores)), "",
    ]  # fmt: skip
    return "\n".join(lines)


def rows(rates):
    """The lines of a table: for each method a row for each rate, a column for each task and length."""
    places = sorted({place for at in rates.values() for of in at.values() for place in of}, key=str)
    lines = [
        "| method | rate | mean | " + " | ".join(f"{task}, {steps}" for task, steps in places) + " |",
        "|---|---:|---:|" + "---:|" * len(places),
    ]
    for name, of in rates.items():
        best = chosen(of)
        for rate, at in sorted(of.items()):
            cells = [f"{100 * at[place]:.1f}" if place in at else "" for place in places]
            mark = "**" if rate == best else ""
            middle = f"{100 * mean(at.values()):.1f}" if set(at) == set.union(*map(set, of.values())) else ""
            lines.append(f"| {name} | {mark}{rate:g}{mark} | {middle} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
