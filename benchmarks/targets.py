"""What must hold on a CPU: ratios of medians in one run, two cores, float32, GPT-2 small's shape."""

from minipeft.reports.compare.table import markdown

PEFT = ("lora", "prefix_tuning", "prompt_tuning", "ia3", "bitfit", "adapter")
DENSE = ("8x64", "4x128", "1x512")


def on(methods, kinds):
    """The names of training's entries."""
    return [f"{method}, {kind}" for method in methods for kind in kinds]


AT_LEAST, AT_MOST = min, max  # which of several values is the worst
TARGETS = [  # what, part, names of its entries, their value, bound, what it is
    ("PEFT methods, E2E padded: speed", "training", on(PEFT, ["e2e"]), "speed", AT_LEAST, 2.0),
    ("PEFT methods, E2E grouped: speed", "training", on(PEFT, ["grouped"]), "speed", AT_LEAST, 1.5),
    ("PEFT methods, dense: speed", "training", on(PEFT, DENSE), "speed", AT_LEAST, 1.2),
    ("full fine-tuning, E2E padded: speed", "training", on(["full"], ["e2e"]), "speed", AT_LEAST, 1.3),
    ("greedy generation, 1 prompt: speed", "generation", ["1"], "speed", AT_LEAST, 1.7),
    ("greedy generation, 8 prompts: speed", "generation", ["8"], "speed", AT_LEAST, 2.4),
    ("greedy generation, 32 prompts: speed", "generation", ["32"], "speed", AT_LEAST, 3.0),
    ("cold start to the first token: speed", "cold", ["first token"], "speed", AT_LEAST, 10.0),
    ("PEFT methods, E2E padded: memory", "training", on(PEFT, ["e2e"]), "memory", AT_MOST, 0.5),
    ("full fine-tuning, E2E padded: memory", "training", on(["full"], ["e2e"]), "memory", AT_MOST, 0.7),
    ("LoRA, E2E padded: share of the floor", "floor", ["lora"], "floor_share", AT_LEAST, 0.75),
]


def targets_table(measured):
    """Each target, the worst that was measured for it, where, and whether it holds."""
    rows = [row(measured, *target) for target in TARGETS]
    return markdown([["what", "wanted", "worst", "of", "", "holds"], *rows], left=1)


def row(measured, what, part, names, key, worst, bound):
    """One line; "-" where nothing was measured, "so far" where not all of it was."""
    found = {name: measured[part][name][key] for name in names if name in measured.get(part, {})}
    wanted = f"{'>=' if worst is AT_LEAST else '<='} {bound:g}"
    if not found:
        return [what, wanted, "-", "-", f"0 of {len(names)}", "-"]
    where = worst(found, key=found.get)
    holds = worst(found[where], bound) == bound
    verdict = ("yes" if len(found) == len(names) else "so far") if holds else "NO"
    return [what, wanted, f"{found[where]:.2f}", where, f"{len(found)} of {len(names)}", verdict]
