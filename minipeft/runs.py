"""One run: a model, a method, data, training, scores, all of it written to a folder."""

import json
import resource
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path

from .errors import InputError
from .files import write_json
from .gpt2 import GPT2
from .methods import METHODS
from .peft_model import PeftModel
from .tasks import TASKS
from .train import evaluate, train

TASK_ROWS = {"train": 2000, "validation": 100, "test": 100}  # rows of a built-in task


def load_model(spec, dtype="float32", device="cpu"):
    """A folder or published name, as `GPT2.from_pretrained` takes it, or "random:" and one of those.

    "random:gpt2" has that shape, "random:weights/tiny" that folder's shape and tokenizer.
    """
    if not spec.startswith("random:"):
        return GPT2.from_pretrained(spec, dtype=dtype, device=device)
    name = spec.removeprefix("random:")
    try:
        return GPT2.random(name, dtype=dtype, device=device)
    except InputError:
        like = GPT2.from_pretrained(name)
        return GPT2.random(like.config, dtype=dtype, device=device, tokenizer=like.tokenizer)


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


def score_task(model, task, progress=True):
    """The task's score of `model` on its test rows, greedily decoded, and a few rows with the answers."""
    from tqdm import tqdm

    rows, outputs, batch = task.rows("test", TASK_ROWS["test"]), [], 50
    for i in tqdm(range(0, len(rows), batch), desc="score", unit="batch", disable=not progress):
        prompts = [row["prompt"] for row in rows[i : i + batch]]
        outputs += model.generate(prompts, max_new_tokens=task.MAX_NEW_TOKENS)
    samples = [
        {"prompt": row["prompt"], "completion": row["completion"], "output": output}
        for row, output in zip(rows[:3], outputs, strict=False)
    ]
    return {"scores": task.score(rows, outputs), "primary": task.PRIMARY, "samples": samples}


def measure(model, task=None, data=None, progress=True):
    """What a model, as it is, is worth: evaluation loss, and the task's score."""
    held_out = task.rows("validation", TASK_ROWS["validation"]) if task else data
    result = {f"eval_{key}": value for key, value in evaluate(model, held_out).items()}
    return result | (score_task(model, task, progress) if task else {})


def run(
    model, method, out, task=None, data=None, eval_data=None, seed=0, progress=True, student=None, **settings
):
    """Train `method` on `model`, measure it, write everything to the folder `out`. -> the result, a dict.

    Either a task, or data (and eval_data). out: the best adapter, settings.json, metrics.jsonl, result.json.
    student: makes a `distill.Distilled` of the PeftModel, where a teacher helps.
    """
    if task:
        data, eval_data = (task.rows(split, TASK_ROWS[split]) for split in ("train", "validation"))
    method.see(data)
    peft = PeftModel(model, method, seed=seed)
    if student:
        peft = student(peft)
    history = train(peft, data, eval_data, out, progress, seed=seed, **settings)
    result = {
        "method": type(method).__name__,
        "configuration": asdict(method),
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
    if task or eval_data is not None:
        result |= measure(peft, task, eval_data, progress)
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
