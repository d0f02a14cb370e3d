"""Built-in tasks in print: what they are about, and their rows."""

from textwrap import indent


def about(task):
    """A task's name, its docstring, its metrics, the one to compare by first, and its answers where few."""
    rows = task.rows("test", 50)
    others = [name for name in task.score(rows, [row["completion"] for row in rows]) if name != task.PRIMARY]
    text = task.__doc__.strip()
    return {"name": task.NAME, "about": text, "metrics": [task.PRIMARY, *others], "choices": task.CHOICES}


def in_a_line_each(tasks):
    """What `about` says of several tasks: a name, the first line, the metrics."""
    width = max(len(task["name"]) for task in tasks)
    return "\n".join(
        f"{task['name'].ljust(width)}  {task['about'].splitlines()[0]} ({', '.join(task['metrics'])})"
        for task in tasks
    )


def in_full(task):
    """What `about` says of one task, and how to see more."""
    lines = [task["about"], "", f"metrics: {', '.join(task['metrics'])}"]
    if task["choices"]:
        lines.append(f"answers: {', '.join(choice.strip() for choice in task['choices'])}")
    return "\n".join([*lines, f"rows: minipeft task {task['name']} --show"])


def readable(rows):
    """Rows one below the other: number, prompt, and the completion behind an arrow."""
    width, blocks = len(str(len(rows))), []
    for i, row in enumerate(rows, 1):
        margin = " " * (width + 2)
        prompt = indent(row["prompt"], margin)[len(margin) :]
        answer = indent(row["completion"].strip(), margin + "   ")[len(margin) + 3 :]
        blocks.append(f"{i:>{width}}  {prompt}\n{margin}-> {answer}")
    return "\n\n".join(blocks)
