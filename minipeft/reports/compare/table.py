"""The tables, in Markdown whose columns line up."""


def percent(row, key):
    """ "64.6 ± 1.2 %"."""
    if key not in row:
        return "-"
    spread = f" ± {100 * row[f'{key}_spread']:.1f}" if f"{key}_spread" in row else ""
    return f"{100 * row[key]:.1f}{spread} %"


def number(form, key):
    """A row -> its `key` in that form, or "-"."""
    return lambda row: format(row[key], form) if key in row else "-"


COLUMNS = {  # heading: a row -> its cell
    "method": lambda row: row["name"],
    "site": lambda row: row["site"],
    "trainable": number(",.0f", "trainable"),
    "share": lambda row: f"{100 * row['trainable'] / row['parameters']:.2f} %" if "trainable" in row else "-",
    "s to best": number(".1f", "seconds_to_best"),
    "tokens/s": number(",.0f", "tokens_per_second"),
    "peak MB": number(",.0f", "peak_memory_mb"),
    "eval loss": number(".3f", "eval_loss"),
    "score": lambda row: "failed" if "failed" in row else percent(row, "score"),
    "adapter MB": number(".2f", "adapter_mb"),
}


def table(rows):
    """One task's rows; the score's heading names the metric."""
    metric = next((row["primary"] for row in rows if "primary" in row), None)
    heading = lambda name: f"score: {metric}" if name == "score" and metric else name
    lines = [[cell(row) for cell in COLUMNS.values()] for row in rows]
    return markdown([[heading(name) for name in COLUMNS], *lines], left=2)


def task_table(rows, tasks):
    """Methods x tasks: the scores, each with its share of what full fine-tuning scores."""
    by_place = {(row["task"], row["name"]): row for row in rows}
    names = list(dict.fromkeys(row["name"] for row in rows))

    def cell(task, name):
        row, full = by_place.get((task, name), {}), by_place.get((task, "full"), {})
        text = percent(row, "score")
        if row.get("score") is not None and full.get("score"):
            text += f" ({100 * row['score'] / full['score']:.0f} %)"
        return text

    return markdown([["method", *tasks], *([name, *(cell(task, name) for task in tasks)] for name in names)])


def sweep_table(results):
    """All that a sweep tried: the loss by which it was judged; the best of each method is marked."""
    lines = [
        [
            r["task"], r["name"], " ".join(f"{key}={value}" for key, value in r["variant"].items()),
            "failed" if "failed" in r else f"{r['eval_loss']:.3f}", "best" if r["chosen"] else "",
        ]
        for r in results
    ]  # fmt: skip
    return markdown([["task", "method", "tried", "eval loss", ""], *lines], left=3)


def markdown(lines, left=1):
    """Lines of cells, the headings first -> a Markdown table; from column `left` on aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = []
    for line in lines:
        cells = [
            c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
        ]
        text.append(f"| {' | '.join(cells)} |")
    rule = ["-" * (w + 2) if i < left else "-" * (w + 1) + ":" for i, w in enumerate(widths)]
    text.insert(1, f"|{'|'.join(rule)}|")
    return "\n".join(text)
