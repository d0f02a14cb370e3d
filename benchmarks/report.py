"""RESULTS.md: tables out of what was measured, and what must hold."""

from targets import targets_table

from minipeft.reports.compare.table import markdown

TITLE = "# Speed and memory, measured\n\nWritten by the scripts beside it: see the command of each section."


def page(results):
    """The whole file."""
    parts = [TITLE]
    for device, measured in results.items():
        sides = {part: entries for part, entries in measured.items() if part != "growth"}
        parts += [f"## On a {'GPU' if device == 'cuda' else 'CPU'}", circumstances(sides or measured)]
        if device == "cpu":
            parts += ["### What must hold", targets_table(measured)]
        for part, section in SECTIONS.items():
            if part in measured:
                parts += section(measured[part])
    return "\n\n".join(parts) + "\n"


def circumstances(measured):
    """Machine, versions, model and dates of all entries, each value once."""
    entries = [entry["about"] for part in measured.values() for entry in part.values()]
    lines = []
    for group in ("machine", "versions", "run"):
        names = dict.fromkeys(name for entry in entries for name in entry[group])
        seen = {n: dict.fromkeys(str(e[group][n]) for e in entries if n in e[group]) for n in names}
        lines.append(f"- {group}: " + "; ".join(f"{n} {', '.join(values)}" for n, values in seen.items()))
    return "\n".join(lines)


def training(entries):
    """Speed of every method on every kind of batch; then memory."""
    rows, memory = [], []
    for name, e in entries.items():
        ours, theirs = e["minipeft"], e["pytorch"]
        method, kind = name.split(", ")
        rows.append([method, kind, f"{e['trainable']:,}", *rates(ours, theirs), f"{e['speed']:.2f}"])
        peaks = [f"{side['peak_memory_mb']:,.0f}" for side in (ours, theirs)]
        memory.append([method, kind, *peaks, f"{e['memory']:.2f}"])
    return [
        "### Training",
        "Forward, backward, AdamW in float32: useful tokens per second (padding and virtual tokens never "
        "count), medians over all steps of processes that took turns, A B A B. `e2e`: batches of 8 rows in "
        "random order, padded by PyTorch; `grouped`: rows of like length together; `8x64` and so on: "
        "sequences x tokens, every position labelled. Both sides begin with the same weights, train as many "
        "of them, and have the same loss on the first batch, to 0.001.",
        "`python benchmarks/against_pytorch.py --parts training`",
        markdown([["method", "batches", "trainable", "minipeft", "PyTorch", "speed x"], *rows], left=2),
        "### Memory",
        "The most that the process of a training run held, in MB, imports and all.",
        markdown([["method", "batches", "minipeft", "PyTorch", "memory x"], *memory], left=2),
    ]


def by_prompts(entries):
    """(number of prompts, entry), the fewest first."""
    return sorted(entries.items(), key=lambda item: int(item[0]))


def generation(entries):
    """New tokens per second."""
    rows = [
        [f"B = {name}", *rates(e["minipeft"], e["pytorch"]), f"{e['speed']:.2f}", f"{e['same_tokens']:.0%}"]
        for name, e in by_prompts(entries)
    ]
    return [
        "### Generation",
        "New tokens per second of all prompts of a batch together: greedy, 64 each, under a LoRA adapter.",
        "`python benchmarks/against_pytorch.py --parts generation`",
        markdown([["prompts", "minipeft", "PyTorch", "speed x", "tokens that agree"], *rows], left=1),
    ]


def forms_of(entry):
    """(form, its numbers, tokens per second and memory as text) of an entry with several forms."""
    for form, side in entry.items():
        if isinstance(side, dict) and "tokens_per_second" in side:
            yield form, side, [f"{side['tokens_per_second']:,.0f}", f"{side['peak_memory_mb']:,.0f}"]


def bfloat16(entries):
    """Speed and memory of both sides, in float32 and in bfloat16."""
    rows = []
    for name, e in entries.items():
        for form, side, numbers in forms_of(e):
            rows.append([*name.split(", "), form, *numbers, f"{side['losses'][-1]:.3f}"])
    return [
        "### In bfloat16",
        "Training as above. `float32 packed`, `bfloat16`: the base as `--base` holds it. PyTorch's "
        "`bfloat16`: the whole model in it; `autocast`: weights in float32, products in bfloat16. What a "
        "processor without AMX or AVX-512's bfloat16 shows is not the speed of bfloat16.",
        "`python benchmarks/against_pytorch.py --parts bfloat16 --methods lora --batches e2e`",
        markdown([["method", "batches", "form", "tokens/s", "peak, MB", "last loss"], *rows], left=3),
    ]


def generation_in_bfloat16(entries):
    """The same of generation."""
    rows = [
        [f"B = {name}", form, *numbers] for name, e in by_prompts(entries) for form, _, numbers in forms_of(e)
    ]
    return [
        "`python benchmarks/against_pytorch.py --parts generation_in_bfloat16`",
        markdown([["prompts", "form", "tokens/s", "peak, MB"], *rows], left=2),
    ]


def cold(entries):
    """A process from its start to the first token."""
    rows = []
    for side in ("minipeft", "pytorch"):
        e = entries["first token"][side]
        steps = (e["imported"], e["loaded"] - e["imported"], e["first_token"] - e["loaded"], e["first_token"])
        rows.append([side, *(f"{seconds:.2f}" for seconds in steps)])
    return [
        "### Cold start",
        "Seconds of a new process: imports; base and LoRA adapter loaded from files; the first token of one "
        f"prompt; all of it. {entries['first token']['speed']:.1f} times.",
        "`python benchmarks/against_pytorch.py --parts cold`",
        markdown([["", "import", "load", "first token", "in all"], *rows], left=1),
    ]


def floor(entries):
    """Where the time of a step goes, and its share of what cannot be avoided."""
    rows = [
        [
            name,
            f"{e['tokens_per_second']:,.0f}",
            *(
                f"{1000 * e[f'{k}_seconds']:,.0f}"
                for k in ("forward", "backward", "optimizer", "step", "floor")
            ),
            f"{e['sgemm_gflops']:,.0f}",
            f"{e['floor_share']:.0%}",
        ]
        for name, e in entries.items()
    ]
    head = ["method", "tokens/s", "forward", "backward", "optimizer", "step", "floor", "GFLOP/s", "share"]
    return [
        "### Against the machine's own rate",
        "`minipeft bench` on `e2e` batches, times in ms. Floor: the matrix products that a step cannot avoid "
        "(`minipeft/cost/flops.py`), at the rate of one large product in the same run.",
        "`python benchmarks/against_pytorch.py --parts floor`",
        markdown([head, *rows], left=1),
    ]


def growth(entries):
    """A picture for each axis, with the law. It is of a run of its own."""
    parts = ["### How cost grows", circumstances({"growth": entries}), "`python benchmarks/growth.py`"]
    for axis, e in entries.items():
        parts += [
            f"**{e['heading']}** {e['law']} The line: a step's matrix products (`minipeft/cost/flops.py`) at "
            f"one rate for all points, {e['gflops']:,.0f} GFLOP/s. Measured times lie {e['low']:+.0%} to "
            f"{e['high']:+.0%} from it.",
            f"![{e['heading']}](growth/{axis}.png)",
        ]
    return parts


def rates(ours, theirs):
    """Both sides' tokens per second."""
    return [f"{side['tokens_per_second']:,.0f}" for side in (ours, theirs)]


SECTIONS = {
    "training": training, "generation": generation, "bfloat16": bfloat16,
    "generation_in_bfloat16": generation_in_bfloat16, "cold": cold, "floor": floor, "growth": growth,
}  # fmt: skip
