"""One run: a model, a method, data, training, scores, all of it written to a folder."""

import sys
import time
from dataclasses import asdict
from pathlib import Path

from ..cost.machine import peak_memory_mb
from ..data.batches import load_pairs
from ..data.metrics import OF_THE_WHOLE_SET, standard_error
from ..errors import InputError, counted
from ..files.json_files import write_json
from ..files.run_folder import run_folder
from ..peft_model import PeftModel
from ..resuming.state import STATE
from ..speed.ranks import world
from ..tasks.answers import answer, choice_probabilities
from ..tasks.baselines import BASELINES, few_shot
from ..tasks.named import split_rows
from ..tasks.own import OwnData
from ..train import Training, evaluate, train


def score_task(model, task, progress=True, on_long="refuse"):
    """The task's score of `model` on its test rows: see `scored`.

    Of a task with CHOICES also "probabilities": of each test row {choice: probability}, which add up to 1.
    """
    rows = split_rows(task, "test")
    if not rows:
        return {}
    prompts = [row["prompt"] for row in rows]
    if task.CHOICES is None:
        return scored(task, rows, answer(model, task, prompts, on_long, progress=progress))
    p = choice_probabilities(model, prompts, task.CHOICES, on_long, progress=progress)
    outputs = [task.CHOICES[i] for i in p.argmax(1)]
    named = [dict(zip(map(str.strip, task.CHOICES), each, strict=True)) for each in p.tolist()]
    return scored(task, rows, outputs) | {"probabilities": named}


def scored(task, rows, outputs):
    """The task's score of these outputs, the metric to compare by, and a few rows with the answers.

    Where that metric is no mean over the rows, also "score_error": see `metrics.standard_error`.
    """
    samples = [
        {"prompt": row["prompt"], "completion": row["completion"], "output": output}
        for row, output in zip(rows[:3], outputs, strict=False)
    ]
    notes = {"notes": task.notes} if isinstance(task, OwnData) and task.notes else {}
    scores = {"scores": task.score(rows, outputs), "primary": task.PRIMARY, "scored_rows": len(rows)}
    if task.PRIMARY in OF_THE_WHOLE_SET:
        metric = lambda texts, of: task.score(of, texts)[task.PRIMARY]
        scores["score_error"] = standard_error(metric, outputs, rows)
    return scores | {"samples": samples} | notes


def measure(model, task, progress=True, on_long="refuse"):
    """What a model, as it is, is worth: the loss on the validation rows, the score on the test rows."""
    held_out, result = split_rows(task, "validation"), {}
    if held_out:
        result = {f"eval_{key}": value for key, value in evaluate(model, held_out, on_long=on_long).items()}
    return result | score_task(model, task, progress, on_long)


def measure_few_shot(model, task, shots, seed=0, progress=True):
    """The score of a model that reads `shots` training rows before each prompt: see `baselines.few_shot`."""
    train, test = split_rows(task, "train"), rows_to_score(task)
    outputs, fitted = few_shot(model, task, train, test, shots, seed, progress)
    return {"few_shot": shots, "examples": fitted} | scored(task, test, outputs)


def measure_baseline(task, name):
    """The score of answers that need no model: see `baselines.BASELINES`."""
    test = rows_to_score(task)
    return {"baseline": name} | scored(task, test, BASELINES[name](split_rows(task, "train"), test))


def rows_to_score(task):
    """The test rows. Raises InputError where there are none."""
    rows = split_rows(task, "test")
    if not rows:
        raise InputError("there is no row with a prompt and a completion to score: give --eval or --test")
    return rows


FEW_STEPS = 10


def doubts(peft, training, steps, eval_data):
    """What to say before training starts: sentences about a run that may not do what is wanted."""
    if steps < FEW_STEPS:
        yield f"{counted(steps, 'step')} will hardly teach it anything: give more --steps, or --epochs"
    if training.warmup_steps > steps / 2:
        rising = f"{training.warmup_steps} of {counted(steps, 'step')}"
        yield f"the rate is still rising for {rising}: give fewer --warmup-steps"
    own, base = sum(t.size for t in peft.tensors.values()), peft.model.num_parameters
    if own > base:
        yield f"the adapter has {own:,} parameters, more than the base, which has {base:,}"
    if eval_data is None:
        yield "no rows to evaluate on: the last adapter is kept, not the best; give --eval for that"


def train_and_measure(
    model, method, out, task, seed=0, progress=True, student=None, resume=False, **settings
):  # fmt: skip
    """Train `method` on `model`, measure it, write everything to the folder `out`. -> the result, a dict.

    task: a built-in task, or an `OwnData`. out: the best adapter, settings.json, metrics.jsonl, result.json.
    student: makes a `distill.Distilled` of the PeftModel, where a teacher helps. resume: as `train` has it.
    Of several ranks all train; the first alone measures and writes, and the others return None.
    """
    ranks = world()
    data, eval_data = split_rows(task, "train"), split_rows(task, "validation") or None
    on_long = settings.get("on_long", Training.on_long)
    source = task.source if isinstance(task, OwnData) else {"task": task.NAME}
    method.use_training_data(data)
    peft = PeftModel(model, method, seed=seed)
    if student:
        peft = student(peft)  # its teacher may be another adapter on the same base
    else:
        peft.give_up_base()
    if test := split_rows(task, "test"):
        load_pairs(test, peft, on_long)  # what cannot be scored is said before the training, not after it
    rows = len(load_pairs(data, peft, on_long)[0])  # fewer or more than `data` where some are too long
    training = Training(seed=seed, **settings)
    training.check_evaluations(eval_data)
    steps = training.steps_for(rows)
    for doubt in doubts(peft, training, steps, eval_data) if ranks.first else ():
        print(f"minipeft: {doubt}", file=sys.stderr)
    cpu, clock = time.process_time(), time.perf_counter()
    with run_folder(out if ranks.first else None) as folder:
        history = train(peft, data, eval_data, out, progress, resume, seed=seed, **settings)
        if not ranks.first:
            ranks.wait()
            return None
        result = {
            "method": type(method).__name__,
            "configuration": asdict(method),
            "model": model.name,
            "quantization": model.quantization,
            "ops": model.ops,
            **source,
            "trainable": peft.num_trainable,
            "parameters": peft.num_parameters,
            "steps": len(history.steps),
            "losses": [history.steps[0]["loss"], history.steps[-1]["loss"]] if history.steps else [],
            "best": history.best,
            "evals": history.evals,
            "too_long": history.too_long,
            "skipped": history.skipped,
            "ranks": ranks.size,
            "seconds": history.seconds,
            "cpu_share": (time.process_time() - cpu) / (time.perf_counter() - clock),
            "tokens_per_second": history.tokens_per_second,
            "peak_memory_mb": peak_memory_mb(),
            "adapter_mb": sum(f.stat().st_size for f in Path(out).glob("*.safetensors") if f.name != STATE)
            / 1e6,
        }
        try:
            result |= measure(peft, task, progress, on_long)
        except KeyboardInterrupt as stop:
            raise type(stop)("the training is done, its scores are not") from None
        result["finished"] = time.strftime("%Y-%m-%d %H:%M:%S")
        folder.check()
        write_json(Path(out) / "result.json", result)
    ranks.wait()
    return result
