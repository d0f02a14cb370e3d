"""Three pictures of one task: loss curves, score against trainable parameters, time and memory."""

import re

from ..pictures import bar_style, figure, line_style, save
from .labels import place_labels
from .recipes import BASELINES
from .table_rows import pareto

SITE_MARKERS = {
    "base weights": "s", "embed": "v", "keys_values": "^", "linear": "o", "sublayer": "D", "several": "P",
}  # fmt: skip
POINT = {
    "color": "#111111", "linestyle": "none", "markersize": 9, "markevery": 1,
    "elinewidth": 1, "ecolor": "#777777", "capsize": 3,
}  # fmt: skip


def draw(rows, folder, task):
    """Write the pictures that `rows` have something for. -> [(file name, what it shows), ...]."""
    trained = [row for row in rows if "curve" in row]
    drawn = []
    if trained:
        drawn.append((loss_curves(trained, folder, task), f"{task}: evaluation loss against steps"))
    if any("score" in row for row in trained):
        shows = f"{task}: score against trainable parameters"
        drawn.append((score_by_size(rows, folder, task), shows))
    if trained:
        drawn.append((time_and_memory(rows, folder, task), f"{task}: time and memory"))
    return drawn


def file_name(kind, task):
    """A picture's name; the user's own file may have one that a Markdown link could not hold."""
    return f"{kind}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', task)}"


def loss_curves(rows, folder, task):
    """A line for each method; the legend in the order in which the lines end. -> file name."""
    with figure(10, 5.5) as f:
        axes = f.subplots()
        for i, row in enumerate(rows):
            axes.plot(*zip(*row["curve"], strict=True), label=row["name"], **line_style(i))
        axes.set(title=task, xlabel="optimizer steps", ylabel="evaluation loss (nats per token)")
        axes.set_xlim(left=0)
        handles = dict(zip((row["name"] for row in rows), axes.lines, strict=True))
        by_end = sorted(handles, key=lambda name: -handles[name].get_ydata()[-1])
        f.legend([handles[name] for name in by_end], by_end, loc="outside right center")
        return save(f, folder, file_name("loss", task))


def whisker(row):
    """[[down], [up]], a standard deviation of the seeds, as far as there are scores; None of one seed."""
    if "score_spread" not in row:
        return None
    return [[100 * min(row["score_spread"], each)] for each in (row["score"], 1 - row["score"])]


def score_by_size(rows, folder, task):
    """A point for each method, its marker the site; the Pareto front joined; two lines. -> file name.

    The lines are full fine-tuning's score and that of the few-shot prompt.
    """
    full = [row for row in rows if row["name"] == "full" and "score" in row]
    few_shot = [row for row in rows if row["name"] == "few_shot" and "score" in row]
    points = [row for row in rows if row["name"] not in (*BASELINES, "full") and "score" in row]
    size, score = lambda row: row["trainable"], lambda row: 100 * row["score"]
    with figure(9, 6) as f:
        axes = f.subplots()
        axes.set_xscale("log")
        for row in points:
            axes.errorbar(
                size(row),
                score(row),
                yerr=whisker(row),
                marker=SITE_MARKERS[row["site"]],
                markerfacecolor="white" if row["name"] == "lora_random" else "#0055a4",
                **POINT,
            )
        own = [row for row in points if row["name"] != "lora_random"]
        front = [own[i] for i in pareto([(size(row), row["score"]) for row in own])]
        axes.plot([*map(size, front)], [*map(score, front)], "-", color="#c2410c", linewidth=2, zorder=1)
        metric = (points or full)[0]["primary"]
        axes.set(
            title=task,
            xlabel="trainable parameters (log scale)",
            ylabel=f"score: {metric}, test rows (%)",
        )
        axes.margins(x=0.15, y=0.12)
        lines = [(full, "full fine-tuning", "--"), (few_shot, "few-shot prompt", ":")]
        for found, name, dash in lines:
            for row in found:
                axes.axhline(score(row), linestyle=dash, color="#555555", linewidth=1.5)
                axes.annotate(
                    f"{name} ({score(row):.1f} %)", (0.01, score(row)), xycoords=("axes fraction", "data"),
                    xytext=(0, 3), textcoords="offset points", fontsize=11, color="#333333",
                )  # fmt: skip
        axes.set_ylim(bottom=-0.03 * axes.get_ylim()[1])  # a score of 0 is seen whole
        legend(f, {row["site"] for row in own}, len(front) > 1, len(own) < len(points))
        place_labels(f, axes, [(row["name"], size(row), score(row)) for row in points])
        return save(f, folder, file_name("score", task))


def legend(f, sites, front, random):
    """What the markers and the line mean, under the axes."""
    from matplotlib.lines import Line2D

    look = {"color": "#111111", "linestyle": "none", "markersize": 9}
    handles = [
        Line2D([], [], marker=marker, label=site, markerfacecolor="#0055a4", **look)
        for site, marker in SITE_MARKERS.items()
        if site in sites
    ]
    if random:
        handles.append(Line2D([], [], marker="o", label="random weights", markerfacecolor="white", **look))
    if front:
        handles.append(Line2D([], [], color="#c2410c", linewidth=2, label="Pareto front"))
    f.legend(handles=handles, loc="outside lower center", ncols=4, handlelength=2)


def time_and_memory(rows, folder, task):
    """Bars: seconds up to the best evaluation and from there on; the peak memory. -> file name."""
    rows = [row for row in rows if "peak_memory_mb" in row][::-1]  # the first on top
    names = [row["name"] for row in rows]
    with figure(11, 1.8 + 0.36 * len(rows)) as f:
        time, memory = f.subplots(1, 2, sharey=True)
        best = [row.get("seconds_to_best", 0) for row in rows]
        rest = [row.get("seconds", 0) - b for row, b in zip(rows, best, strict=True)]
        time.barh(names, best, label="to the best evaluation", **bar_style(0))
        bars = time.barh(names, rest, left=best, label="after it", **bar_style(1))
        time.bar_label(
            bars, [f"{row['seconds']:.1f}" if "seconds" in row else "-" for row in rows], padding=4
        )
        time.set(xlabel="training with its evaluations (s)")
        bars = memory.barh(names, [row["peak_memory_mb"] for row in rows], **bar_style(2))
        memory.bar_label(bars, fmt="{:,.0f}", padding=4)
        memory.set(xlabel="peak memory of the process (MB)")
        for axes in (time, memory):
            axes.grid(False, axis="y")
            axes.margins(x=0.15, y=0.02)
        f.suptitle(task)
        f.legend(loc="outside lower center", ncols=2)
        return save(f, folder, file_name("cost", task))
