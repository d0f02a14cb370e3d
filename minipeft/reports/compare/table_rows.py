"""From runs to rows: the seeds of one method on one task become one row of the table."""

import statistics

from .recipes import BASELINES, site_of

# what is averaged over the seeds; those in SPREAD also get their standard deviation
AVERAGED = (
    "trainable", "parameters", "seconds_to_best", "seconds", "cpu_share", "tokens_per_second",
    "peak_memory_mb", "eval_loss", "score", "score_error", "adapter_mb",
)  # fmt: skip
SPREAD = ("eval_loss", "score")


def table_rows(results):
    """The rows in the table's order: baselines, methods by what they train, LoRA on random weights, full.

    results: of all runs, "chosen" being those that count: a sweep's best. A row whose runs have all failed
    has "failed", the first message.
    """
    groups = {}
    for result in results:
        if result["chosen"]:
            groups.setdefault((result["task"], result["name"]), []).append(result)
    tasks = list(dict.fromkeys(task for task, _ in groups))
    rows = [row_of(group) for group in groups.values()]
    return sorted(rows, key=lambda row: (tasks.index(row["task"]), place(row)))


def place(row):
    """Where a row stands among those of its task: what `sorted` compares."""
    if row["name"] in BASELINES:
        return 0, BASELINES.index(row["name"])
    last = ("lora_random", "full")
    if row["name"] in last:
        return 2, last.index(row["name"])
    return 1, row.get("trainable", 0)


def row_of(group):
    """One row out of the runs that differ only in the seed."""
    first, good = group[0], [with_score(result) for result in group if "failed" not in result]
    row = {key: first[key] for key in ("task", "name", "variant")}
    row |= {"site": site_of(row["name"]), "seeds": [result["seed"] for result in good]}
    if not good:
        return row | {"failed": first["failed"]}
    if lost := [result for result in group if "failed" in result]:
        seeds = ", ".join(str(result["seed"]) for result in lost)
        row["lost"] = f"without seed {seeds}, which failed: {lost[0]['failed']}"
    for key in AVERAGED:
        if values := [result[key] for result in good if key in result]:
            row[key] = statistics.mean(values)
            if key in SPREAD and len(values) > 1:
                row[f"{key}_spread"] = statistics.stdev(values)
    for key in ("primary", "scored_rows", "samples", "notes", "examples"):
        if key in good[0]:
            row[key] = good[0][key]
    if "evals" in good[0]:
        row["curve"] = curve(good)
    return row


def with_score(result):
    """A run's result with its one score, and the time when its best evaluation was made."""
    result = dict(result)
    if "scores" in result:
        result["score"] = result["scores"][result["primary"]]
    if result.get("best"):
        result["seconds_to_best"] = result["best"]["elapsed"]
    return result


def curve(results):
    """[[step, evaluation loss], ...], the mean of the runs that got so far (a run may have stopped early)."""
    losses = {}
    for result in results:
        for evaluation in result["evals"]:
            losses.setdefault(evaluation["step"], []).append(evaluation["eval_loss"])
    return [[step, statistics.mean(values)] for step, values in sorted(losses.items())]


def pareto(points):
    """Of (size, score) pairs, those that no other beats: one that is no larger and scores higher, or is
    smaller and scores no less. -> their indices, by size."""
    front, best = [], float("-inf")
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[i][1] > best:
            front.append(i)
            best = points[i][1]
    return front
