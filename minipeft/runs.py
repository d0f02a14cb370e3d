"""One run: a model, a method, data, training, scores, all of it written to a folder."""

import json
import resource
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path

from .answers import answer
from .data import load_pairs
from .errors import InputError
from .files import write_json
from .gpt2 import GPT2
from .methods import METHODS
from .peft_model import PeftModel
from .tasks import TASKS
from .tasks.baselines import BASELINES, few_shot
from .tasks.own import OwnData
from .train import Training, evaluate, train

TASK_ROWS = {"train": 2000, "validation": 100, "test": 200}  # rows of a built-in task


def load_model(spec, dtype="float32", device="cpu", quantize=None):
    """A folder or published name, as `GPT2.from_pretrained` takes it, or "random:" and one of those.

    "random:gpt2" has that shape, "random:weights/tiny" that folder's shape and tokenizer. quantize: "int8" or
    "nf4", as `GPT2.quantized` takes it.
    """
    if quantize:
        return load_model(spec, dtype, device).quantized(quantize)
    if not spec.startswith("random:"):
        return GPT2.from_pretrained(spec, dtype=dtype, device=device)
    name = spec.removeprefix("random:")
    try:
        model = GPT2.random(name, dtype=dtype, device=device)
    except InputError:
        like = GPT2.from_pretrained(name)
        model = GPT2.random(like.config, dtype=dtype, device=device, tokenizer=like.tokenizer)
    model.name = spec  # the same every time: a run can say what it was trained on
    return model


def make_method(name, settings=()):
    """The method `name` with settings ("r=8", "target_modules=attn.c_attn,mlp.c_fc").

    Raises InputError, with what there is, for a name or setting that is not known.
    """
    if name not in METHODS:
        raise InputError(f"no method is called {name!r}: choose from {', '.join(METHODS)}")
    cls, values = METHODS[name], {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        defaults = {f.name: f.default for f in fields(cls)}
        if not equals or key not in defaults:
            known = ", ".join(defaults) or "none"
            raise InputError(f"{name} has no setting {setting!r}: write name=value, with one of: {known}")
        values[key] = parse_value(text, defaults[key], f"{name}'s {key}")
    return cls(**values)


def parse_value(text, default, what):
    """`text` as a value of the kind that `default` is; "a,b" and "a" are both a tuple where it is one.

    Where there is no number to go by, JSON is read as JSON ({"c_fc": 4}), none as None, all else as text.
    """
    if isinstance(default, tuple):
        return text if text == "all-linear" else tuple(text.split(","))
    try:
        value = json.loads(text.lower() if text.lower() in ("true", "false") else text)
    except json.JSONDecodeError:
        value = None if text.lower() == "none" else text
    if isinstance(default, int | float) and not isinstance(default, bool):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{what} must be a number, not {text!r}")
        return type(default)(value) if isinstance(default, float) else value
    return value


def task_of(name):
    """The built-in task `name`. Raises InputError with the names there are."""
    if name not in TASKS:
        raise InputError(f"no task is called {name!r}: choose from {', '.join(TASKS)}")
    return TASKS[name]


def rows_of(task, split):
    """The rows of a split: of a user's own files all there are, of rules that never end TASK_ROWS."""
    return task.rows(split, None if isinstance(task, OwnData) else TASK_ROWS[split])


def score_task(model, task, progress=True, on_long="refuse"):
    """The task's score of `model` on its test rows: see `answers.answer`, and `scored`."""
    rows = rows_of(task, "test")
    if not rows:
        return {}
    return scored(
        task, rows, answer(model, task, [row["prompt"] for row in rows], on_long, progress=progress)
    )


def scored(task, rows, outputs):
    """The task's score of these outputs, the metric to compare by, and a few rows with the answers."""
    samples = [
        {"prompt": row["prompt"], "completion": row["completion"], "output": output}
        for row, output in zip(rows[:3], outputs, strict=False)
    ]
    notes = {"notes": task.notes} if isinstance(task, OwnData) and task.notes else {}
    return {"scores": task.score(rows, outputs), "primary": task.PRIMARY, "samples": samples} | notes


def measure(model, task, progress=True, on_long="refuse"):
    """What a model, as it is, is worth: the loss on the validation rows, the score on the test rows."""
    held_out, result = rows_of(task, "validation"), {}
    if held_out:
        result = {f"eval_{key}": value for key, value in evaluate(model, held_out, on_long=on_long).items()}
    return result | score_task(model, task, progress, on_long)


def measure_few_shot(model, task, shots, seed=0, progress=True):
    """The score of a model that reads `shots` training rows before each prompt: see `baselines.few_shot`."""
    train, test = rows_of(task, "train"), rows_to_score(task)
    outputs, fitted = few_shot(model, task, train, test, shots, seed, progress)
    return {"few_shot": shots, "examples": fitted} | scored(task, test, outputs)


def measure_baseline(task, name):
    """The score of answers that need no model: see `baselines.BASELINES`."""
    test = rows_to_score(task)
    return {"baseline": name} | scored(task, test, BASELINES[name](rows_of(task, "train"), test))


def rows_to_score(task):
    """The test rows. Raises InputError where there are none."""
    rows = rows_of(task, "test")
    if not rows:
        raise InputError("there is no row with a prompt and a completion to score: give --eval or --test")
    return rows


def run(model, method, out, task, seed=0, progress=True, student=None, **settings):
    """Train `method` on `model`, measure it, write everything to the folder `out`. -> the result, a dict.

    task: a built-in task, or an `OwnData`. out: the best adapter, settings.json, metrics.jsonl, result.json.
    student: makes a `distill.Distilled` of the PeftModel, where a teacher helps.
    """
    data, eval_data = rows_of(task, "train"), rows_of(task, "validation") or None
    on_long = settings.get("on_long", Training.on_long)
    source = task.source if isinstance(task, OwnData) else {"task": task.NAME}
    method.see(data)
    peft = PeftModel(model, method, seed=seed)
    if student:
        peft = student(peft)
    if test := rows_of(task, "test"):
        load_pairs(test, peft, on_long)  # what cannot be scored is said before the training, not after it
    history = train(peft, data, eval_data, out, progress, seed=seed, **settings)
    result = {
        "method": type(method).__name__,
        "configuration": asdict(method),
        "model": model.name,
        "quantization": model.quantization,
        **source,
        "trainable": peft.num_trainable,
        "parameters": peft.num_parameters,
        "steps": len(history.steps),
        "best": history.best,
        "evals": history.evals,
        "too_long": history.too_long,
        "seconds": history.seconds,
        "tokens_per_second": history.tokens_per_second,
        "peak_memory_mb": peak_memory_mb(),
        "adapter_mb": sum(f.stat().st_size for f in Path(out).glob("*.safetensors")) / 1e6,
    }
    result |= measure(peft, task, progress, on_long)
    result["finished"] = time.strftime("%Y-%m-%d %H:%M:%S")
    write_json(Path(out) / "result.json", result)
    return result


def peak_memory_mb():
    """The most memory this process has held, in MB (10^6 bytes)."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux: ru_maxrss would count the parent's memory before exec, too
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    )
