"""The report: tables, pictures, findings, answers side by side, and all that is needed to run it again."""

from ...errors import counted
from ..pages import write_page
from .claims import advice, by_task, in_words
from .drawings import draw
from .table import sweep_table, table, task_table

BUSY = 0.8  # of one processor's time: a process that has the machine to itself takes all of it, or of several

NOTES = {  # rows and columns that need a word
    "majority": "the commonest completion of the training rows",
    "copying": "the prompt's own text as the answer",
    "few_shot": "the frozen model, with examples in its prompt ({examples:.1f} on average)",
    "none": "the frozen model",
    "lora_random": "LoRA on a model of the same shape with random weights",
}


def write_report(comparison, folder, progress=False):
    """Write report.md, report.html and the pictures to `folder`, from what `compare` returns."""
    from tqdm import tqdm

    rows, tasks = comparison["rows"], by_task(comparison["rows"])
    title = f"{', '.join(tasks)} on {comparison['model']}"
    parts = [*(f"- {sentence}" for sentence in advice(rows))]
    parts = ["\n".join(parts)] if parts else []
    if len(tasks) > 1:
        parts += [
            "## All tasks",
            task_table(rows, list(tasks)),
            "Scores on the test rows; in brackets their share of what full fine-tuning scores.",
        ]
    if comparison["findings"]:
        parts += ["## What holds", in_words(comparison["findings"])]
    for task, named in tqdm(tasks.items(), desc="report", unit="task", disable=None if progress else True):
        own = list(named.values())
        parts += [f"## {task}", table(own), notes(comparison, own)]
        parts += [f"![{shows}]({name})" for name, shows in draw(own, folder, task)]
        if shown := answers(own, 3):
            parts += ["### The same prompts under each", *(f"```\n{block}\n```" for block in shown)]
    if comparison["sweep"]:
        tried = [run for run in comparison["runs"] if run["variant"] and run["seed"] == comparison["seed"]]
        parts += [
            "## What the sweep tried",
            sweep_table(tried),
            "The best of each method has the lowest loss on the validation rows; its score above is on the "
            "test rows, which had no part in the choice.",
        ]
    write_page(folder, title, "\n\n".join([*parts, again(comparison)]))


def notes(comparison, rows):
    """What the rows and columns of a task's table mean."""
    lines = [
        f"`{row['name']}`: {NOTES[row['name']].format_map(row)}."
        for row in rows
        if row["name"] in NOTES and "failed" not in row
    ]
    metric = next((row["primary"] for row in rows if "primary" in row), None)
    if metric:
        seeds = comparison["seeds"]
        spread = f", mean ± standard deviation over {seeds} seeds" if seeds > 1 else ""
        lines.append(f"Score: the task's `{metric}` on its test rows{spread}.")
    lines.append(
        "Evaluation loss: nats per token on the validation rows. Seconds: training with its evaluations, up "
        "to the best one. Tokens per second: of training alone. Peak memory: of the process until it is "
        "trained, or, where nothing trains, scored."
    )
    lines += [*busy(rows), *side_by_side(comparison)]
    lines += [f"{note}." for note in next((row["notes"] for row in rows if "notes" in row), [])]
    lines += [f"`{row['name']}` failed: {row['failed']}." for row in rows if "failed" in row]
    lines += [f"`{row['name']}`: {row['lost']}." for row in rows if "lost" in row]
    return " ".join(lines)


def busy(rows):
    """A list of one sentence on the rows whose times are too long because other work ran; else of none."""
    named = ", ".join(row["name"] for row in rows if row.get("cpu_share", 1) < BUSY)
    return [f"Measured on a busy machine, so these times are long: {named}."] if named else []


def side_by_side(comparison):
    """A list of one sentence on times that several runs shared; of none where each ran alone."""
    if comparison["workers"] == 1:
        return []
    return [f"{comparison['workers']} runs side by side shared the cores: their times are longer than alone."]


def answers(rows, count):
    """What each row answers to the same prompts: a block of text for each of at most `count` prompts."""
    shown = [row for row in rows if row.get("samples")]
    width = max([len("expected"), *(len(row["name"]) for row in shown)])
    blocks = []
    for i in range(min([count, *(len(row["samples"]) for row in shown)]) if shown else 0):
        sample = shown[0]["samples"][i]
        lines = [("prompt", f" {sample['prompt']}"), ("expected", sample["completion"])]
        lines += [(row["name"], row["samples"][i]["output"]) for row in shown]
        blocks.append("\n".join(f"{name.ljust(width)} :{one_line(text)}" for name, text in lines))
    return blocks


def one_line(text):
    """`text` with its line breaks shown as ↵, so that an answer stays one line."""
    return text.rstrip("\n").replace("\n", " ↵ ")


def again(comparison):
    """The last chapter: settings, commands, versions, machine, date."""
    commands = "\n".join(run["command"] for run in comparison["runs"] if run["chosen"])
    facts = {
        "the whole": f"`{comparison['command']}`" if comparison["command"] else "from Python",
        "date": comparison["date"],
        "all runs took, added up": duration(comparison["wall_seconds"]),
        "versions": ", ".join(f"{name} {version}" for name, version in comparison["versions"].items()),
        "machine": ", ".join(f"{name}: {value}" for name, value in comparison["machine"].items()),
    }
    if budget := comparison["budget"]:
        steps = counted(budget["steps"], "step")
        facts["budget"] = f"{budget['asked']}: {steps} for each method, after timing a few"
    lines = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    return "\n\n".join(
        [
            "## To run it again",
            lines,
            "Each run on its own; `results.json` beside this file has every number.",
            f"```\n{commands}\n```",
        ]
    )


def duration(seconds):
    """ "1 min 52 s"."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def in_terminal(comparison):
    """What `minipeft compare` prints: the tables, what holds, the first prompt under each."""
    rows, tasks = comparison["rows"], by_task(comparison["rows"])
    parts = []
    for task, named in tasks.items():
        parts += ([task] if len(tasks) > 1 else []) + [table(list(named.values()))]
        if n := next((row["scored_rows"] for row in named.values() if "scored_rows" in row), None):
            parts.append(f"Scores: of {counted(n, 'test row')}.")
        parts += busy(list(named.values()))
        parts += answers(list(named.values()), 1) if len(tasks) == 1 else []
        parts += [f"{row['name']} failed: {row['failed']}" for row in named.values() if "failed" in row]
        parts += [f"{row['name']}: {row['lost']}" for row in named.values() if "lost" in row]
    if len(tasks) > 1:
        parts.append(task_table(rows, list(tasks)))
    parts += side_by_side(comparison)
    return "\n\n".join([*parts, in_words(comparison["findings"])]).rstrip().replace("**", "")
