"""What RESULTS.md measured, by task and method: its tables are read, nothing is typed again."""

import re
from functools import cache

from repository import ROOT

COLUMNS = (
    "score",
    "of full",
    "trainable",
    "share",
    "s to best",
    "tokens/s",
    "peak MB",
    "eval loss",
    "adapter MB",
)


@cache
def results():
    """{task: {method: {column: text}}} of the tables of the six tasks, the first table of each part."""
    text = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    shares = {row["method"]: row for row in table(part_of(text, "All tasks"))}
    tasks = {}
    for task in [column for column in next(iter(shares.values())) if column != "method"]:
        rows = {}
        for row in table(part_of(text, task)):
            row = {name.partition(":")[0]: value for name, value in row.items()}
            share = re.search(r"\((.*)\)", shares[row["method"]][task])[1]
            rows[row["method"]] = row | {"of full": share}
        tasks[task] = rows
    return tasks


def part_of(text, title):
    """The text under the heading `title`, up to the next of its kind."""
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)[1]


def table(text):
    """[{column: text}] of the first table in a text."""
    lines = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)[0].splitlines()
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(head, row, strict=True)) for row in rows]


def scores(name):
    """{task: {column: text}} of a method; nothing for one that was not compared."""
    return {task: rows[name] for task, rows in results().items() if name in rows}


def filled(name, words):
    """The words with their numbers: {score dialogue} is the method's own, {score dialogue full} another's.

    Of "95.2 ± 1.0 %" a sentence has the mean, "95.2 %"; the tables have both.
    """

    def number(m):
        column, task, other = re.match(rf"({'|'.join(COLUMNS)}) (\S+)(?: (\S+))?$", m[1]).groups()
        return re.sub(r" ± [\d.]+", "", results()[task][other or name][column])

    return re.sub(r"\{(.+?)\}", number, words)
