"""`minipeft compare`: the same data, several methods, one table.

Each method runs in a process of its own, so that its peak memory is its own; each run is an ordinary
`minipeft train` (for the frozen model `minipeft evaluate`), and the command is printed and kept.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from .errors import InputError
from .files import write_json

LORA = ("r=16", "lora_alpha=32", "target_modules=all-linear")
# A method's own settings, and those of training: of two or three rates the better, on the embedded model.
RECIPES = {
    "full": ((), {"learning_rate": 2e-3}),
    "bitfit": ((), {"learning_rate": 6e-2}),
    "ln_tuning": ((), {"learning_rate": 6e-2}),
    "layerwise": (("top=2",), {"learning_rate": 3e-3}),
    "sparse": (("fraction=0.05", "importance=fisher", "samples=64"), {"learning_rate": 1e-2}),
    "prompt_tuning": (("prompt_tuning_init=SAMPLE_VOCAB",), {"learning_rate": 3e-1}),
    "p_tuning": ((), {"learning_rate": 1e-2}),
    "prefix_tuning": ((), {"learning_rate": 1e-1}),
    "lora": (LORA, {"learning_rate": 1e-2}),
    "lora_plus": ((*LORA, "loraplus_lr_ratio=4"), {"learning_rate": 5e-3}),
    "dora": (LORA, {"learning_rate": 1e-2}),
    "ia3": ((), {"learning_rate": 1e-1}),
    "vera": (("r=64", "target_modules=all-linear"), {"learning_rate": 1e-1}),
    "adapter": (("reduction_factor=4",), {"learning_rate": 1e-2}),
    "houlsby": (("reduction_factor=4",), {"learning_rate": 1e-2}),
    "parallel_adapter": ((), {"learning_rate": 5e-3}),
    "loreft": (("r=16", "prefix_positions=200", "dropout=0"), {"learning_rate": 1e-2}),
    "mam": ((), {"learning_rate": 5e-3}),
    "unipelt": ((), {"learning_rate": 1e-2}),
}
DEFAULT = ("none", "full", "lora")
COMMON = {"steps": 250, "batch_size": 8, "warmup_steps": 20, "eval_every": 125}
ALL = {"steps": 100, "eval_every": 100}  # where COMMON is too long: nineteen methods in five minutes


def compare(
    model,
    out,
    task=None,
    data=None,
    eval_data=None,
    more=(),
    methods=None,
    device="cpu",
    progress=True,
    **settings,
):
    """Run "none" (the frozen model) and the methods; write results.json and report.md to `out`. -> results.

    more: --test and --metric, as words of the command line.
    methods: names, or ["all"] for all that need nothing but data; without them those in DEFAULT.

    settings: of `Training`, for all methods alike; without them each has those of its recipe, and "all" take
    the fewer steps of ALL.
    """
    methods = methods or DEFAULT
    if list(methods) == ["all"]:
        methods, settings = ["none", *RECIPES], ALL | settings
    if unknown := [m for m in methods if m != "none" and m not in RECIPES]:
        raise InputError(f"no method is called {unknown[0]!r}: choose from none, {', '.join(RECIPES)}")
    if not task and not eval_data:
        raise InputError("compare needs --eval beside --train: the loss in training misleads")
    source = ["--task", task] if task else ["--train", str(data), "--eval", str(eval_data), *more]
    results = []
    for method in methods:
        folder = Path(out) / method
        command = ["evaluate", "--model", model, "--device", device]
        if method == "none":
            command += source
        else:
            own, training = RECIPES[method]
            command = ["train", "--method", method, *command[1:], *source, "--out", str(folder)]
            command += ["--set", *own] if own else []
            for key, value in (COMMON | training | settings).items():
                command += [f"--{key.replace('_', '-')}", str(value)]
        results.append(
            {"name": method, "command": " ".join(["minipeft", *command])} | run_command(command, progress)
        )
    write_json(Path(out) / "results.json", results)
    (Path(out) / "report.md").write_text(report(results, model, task or data), encoding="utf-8")
    return results


def run_command(command, progress):
    """Run `minipeft command --json` in a process of its own. -> its result; its bars go to the terminal."""
    print(f"$ minipeft {' '.join(command)}", file=sys.stderr, flush=True)
    quiet = [] if progress else ["--quiet"]
    process = subprocess.run(
        [sys.executable, "-m", "minipeft", *command, "--json", *quiet],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if process.returncode:
        raise InputError(f"minipeft {command[0]} ended with code {process.returncode}: see its message above")
    return json.loads(process.stdout)


# ------------------------------------------------------------------------------------------ the report

COLUMNS = {  # heading: a result -> its cell
    "method": lambda r: r["name"],
    "trainable": lambda r: f"{r.get('trainable', 0):,}",
    "share": lambda r: f"{100 * r.get('trainable', 0) / r['parameters']:.2f} %",
    "seconds": lambda r: f"{r['seconds']:.1f}" if "seconds" in r else "-",
    "tokens/s": lambda r: f"{r['tokens_per_second']:,.0f}" if "tokens_per_second" in r else "-",
    "peak MB": lambda r: f"{r['peak_memory_mb']:,.0f}",
    "eval loss": lambda r: f"{r['eval_loss']:.3f}",
    "score": lambda r: f"{100 * r['scores'][r['primary']]:.1f} %" if "scores" in r else "-",
    "adapter MB": lambda r: f"{r['adapter_mb']:.2f}" if "adapter_mb" in r else "-",
}


def table(results):
    """The results as a Markdown table whose columns line up."""
    rows = [list(COLUMNS)] + [[cell(r) for cell in COLUMNS.values()] for r in results]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *numbers in rows:
        cells = [name.ljust(widths[0])] + [n.rjust(w) for n, w in zip(numbers, widths[1:], strict=True)]
        lines.append(f"| {' | '.join(cells)} |")
    lines.insert(1, f"|{'-' * (widths[0] + 2)}|{'|'.join('-' * (w + 1) + ':' for w in widths[1:])}|")
    return "\n".join(lines)


def answers(results):
    """What each method answers to the same prompt."""
    shown = [r for r in results if r.get("samples")]
    if not shown:
        return ""
    width = max(len(r["name"]) for r in [*shown, {"name": "expected"}])
    sample = shown[0]["samples"][0]
    lines = [f"prompt: {sample['prompt']}", f"{'expected'.ljust(width)} :{sample['completion']}"]
    lines += [f"{r['name'].ljust(width)} :{r['samples'][0]['output']}" for r in shown]
    return "\n".join(lines)


def report(results, model, data):
    """report.md: the table, the answers, the commands."""
    commands = "\n".join(r["command"] for r in results)
    score = next((r["primary"] for r in results if "primary" in r), None)
    note = f"The score is the task's `{score}`, on its test rows. " if score else ""
    note += "Seconds are those of training with its evaluations; memory is the whole process's peak."
    parts = [
        f"# {data} on {model}",
        table(results),
        note,
        f"## The same prompt under each\n\n```\n{answers(results)}\n```",
        f"## Commands\n\n```\n{commands}\n```",
        time.strftime("%Y-%m-%d %H:%M"),
    ]
    return "\n\n".join(parts) + "\n"
