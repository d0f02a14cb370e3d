"""What the rows say, in sentences: which method to take, and whether three common claims hold here."""

from ...errors import counted
from .recipes import BASELINES

SMALL = 0.03  # of the parameters
ENOUGH = 0.95  # of full fine-tuning's score
SHORT = 0.5  # of LoRA's score above the commonest answer's: less than that is "far short"

# ----------------------------------------------------------------------------------- one task at a time


def small_reaches_full(rows):
    """{name: row} of one task -> (does it hold?, the numbers); None where there are no rows to tell by.

    Does it hold: None where the difference may be chance, on so few rows.
    """
    small = [row for row in fine_tuned(rows) if row["trainable"] <= SMALL * row["parameters"]]
    if not small or "score" not in rows.get("full", {}):
        return None
    best, full = all_at(min, all_at(max, small, "score"), "trainable")[0], rows["full"]
    share = 100 * best["trainable"] / best["parameters"]
    numbers = f"{said(best)} with {share:.2f} % of the parameters; {said(full)}"
    if full["score"]:
        numbers += f", so {100 * best['score'] / full['score']:.0f} % of it"
    return beyond_chance(best["score"] - ENOUGH * full["score"], best, full, level=True), numbers


def all_beat_few_shot(rows):
    """The same for: every method scores higher than the few-shot prompt."""
    methods, prompt = fine_tuned(rows), rows.get("few_shot", {})
    if not methods or "score" not in prompt:
        return None
    verdicts = [beyond_chance(row["score"] - prompt["score"], row, prompt) for row in methods]
    if behind := [row for row, above in zip(methods, verdicts, strict=True) if not above]:
        return False if False in verdicts else None, f"{', '.join(map(said, behind))}; {said(prompt)}"
    worst = ", ".join(map(said, all_at(min, methods, "score")))
    return True, f"the lowest is {worst}; {said(prompt)}"


def random_falls_short(rows):
    """The same for: LoRA on random weights is worth less than half as much as LoRA.

    Worth is what a score has above that of the commonest answer, where it is known: half of 100 % is little
    on two labels.
    """
    lora, random, commonest = (rows.get(name, {}) for name in ("lora", "lora_random", "majority"))
    if "score" not in lora or "score" not in random:
        return None
    known = "score" in commonest
    nothing = commonest["score"] if known else 0.0
    short = beyond_chance(nothing + SHORT * (lora["score"] - nothing) - random["score"], random, lora)
    return short, "; ".join(map(said, [random, lora] + [commonest] * known))


CLAIMS = {
    f"The best method that trains {100 * SMALL:.0f} % of the parameters or less reaches "
    f"{100 * ENOUGH:.0f} % of full fine-tuning's score": small_reaches_full,
    "Every method scores higher than the frozen model's few-shot prompt": all_beat_few_shot,
    "LoRA on random weights falls far short: above the commonest answer's score it has less than "
    f"{100 * SHORT:.0f} % of what LoRA has": random_falls_short,
}


def fine_tuned(rows):
    """The methods that scored, full fine-tuning among them; neither baselines nor LoRA on random weights."""
    return [row for name, row in rows.items() if name not in (*BASELINES, "lora_random") and "score" in row]


def noise(row, other):
    """The difference of two scores that chance alone may make: half the width of its 95 % interval.

    Of a share s of n rows, s' = (n s + 2) / (n + 4) has variance s' (1 - s') / (n + 4) (Agresti & Coull 1998:
    not 0 where s is 0 or 1); of the difference of two the sum. Of a mean of numbers from 0 to 1 it is at most
    that. A metric of the whole set, such as BLEU, brings its standard error, which counts for no less than
    that of a share of 100 %: where no row differs from the others it is 0. Nothing where n is not known.
    All seeds are scored on the same rows, so their number changes nothing of this; the mean over k of them,
    whose standard deviation is d, has d² / k besides: other seeds would have other scores.
    """
    n = min(row.get("scored_rows", 0), other.get("scored_rows", 0))
    if "score_error" in row and "score_error" in other:
        rows = sum(max(each["score_error"] ** 2, of_a_share(1.0, n)) for each in (row, other))
    else:
        rows = sum(of_a_share(each["score"], n) for each in (row, other))
    several = [each for each in (row, other) if "score_spread" in each]
    seeds = sum(each["score_spread"] ** 2 / len(each["seeds"]) for each in several)
    return 1.96 * (rows + seeds) ** 0.5


def of_a_share(s, n):
    """The variance of a share s of n rows, see `noise`."""
    s = (n * s + 2) / (n + 4)
    return s * (1 - s) / (n + 4) if n else 0.0


def beyond_chance(difference, row, other, level=False):
    """True where it is above 0, False where it is below, None where the rows are too few to tell.

    level: is 0 itself above, where no number of rows is known?
    """
    margin = noise(row, other)
    if abs(difference) <= margin and margin:
        return None
    return difference > 0 or (level and difference == 0)


def said(row):
    """ "lora 64.6 %"."""
    return f"{row['name']} {100 * row['score']:.1f} %"


# ------------------------------------------------------------------------------------- all tasks together


def findings(rows):
    """[{"claim", "tasks": {task: {"holds", "numbers"}}}, ...], of the claims that the rows can tell about."""
    found = []
    for claim, holds_in in CLAIMS.items():
        verdicts = {task: holds_in(named) for task, named in by_task(rows).items()}
        told = {task: {"holds": v[0], "numbers": v[1]} for task, v in verdicts.items() if v is not None}
        if told:
            found.append({"claim": claim, "tasks": told})
    return found


def advice(rows):
    """A sentence for each task: the highest score short of full fine-tuning, and the smallest near it."""
    sentences = []
    for task, named in by_task(rows).items():
        methods = [row for row in fine_tuned(named) if row["name"] != "full"]
        if not methods:
            continue
        winners = all_at(max, methods, "score")
        best = winners[0]  # any of them: what is asked of it below is their score
        level = [row for row in methods if 0 < best["score"] - row["score"] <= noise(best, row)]
        near = [row for row in methods if row["score"] >= ENOUGH * best["score"]]
        smallest, quickest = (all_at(min, near, key) for key in ("trainable", "seconds_to_best"))
        among = "of all methods but full fine-tuning, " if "full" in named else ""
        highest = f"{names(winners, 'scores', 'score')} highest ({100 * best['score']:.1f} %)"
        if n := best.get("scored_rows"):
            at_half = best | {"score": 0.5}
            margin, most = (f"{100 * noise(row, row):.0f}" for row in (best, at_half))
            highest += f" of {counted(n, 'row')}; near that, differences below some {margin} points are "
            highest += "chance" if margin == most else f"chance (at 50 %: {most})"
            if any(row.get("score_spread") for row in methods):
                highest += ", larger ones, too, where a method's seeds differ"
        if level:
            highest += f": {', '.join(map(said, level))} cannot be told from it"
        fewest, seconds = smallest[0]["trainable"], quickest[0]["seconds_to_best"]
        sentences.append(
            f"{task}: {among}{highest}; of those that reach {100 * ENOUGH:.0f} % of that, "
            f"{names(smallest, 'trains', 'train')} the fewest parameters ({fewest:,.0f}) and "
            f"{names(quickest, 'is', 'are')} there first ({seconds:.0f} s)."
        )
    return sentences


def all_at(extreme, rows, key):
    """All rows whose `key` is at its extreme, min or max: of a tie, all."""
    value = extreme(row[key] for row in rows)
    return [row for row in rows if row[key] == value]


def names(rows, one, several):
    """ "lora scores"; of a tie "ia3 and lora alike score"."""
    *others, last = [row["name"] for row in rows]
    return f"{', '.join(others)} and {last} alike {several}" if others else f"{last} {one}"


OPEN = "cannot be told"
WORDS = {True: "yes", False: "no", None: OPEN}


def in_words(findings):
    """The findings as a Markdown list: where each holds, where not, and by which numbers."""
    lines = []
    for finding in findings:
        tasks = finding["tasks"]
        of = {word: [] for word in WORDS.values()}
        for task, verdict in tasks.items():
            of[WORDS[verdict["holds"]]].append(task)
        parts = [f"holds on {len(of['yes'])} of {len(tasks)} tasks"] if of["yes"] else []
        parts += [f"{'not' if of['yes'] else 'does not hold'} on {', '.join(of['no'])}"] if of["no"] else []
        parts += [f"cannot be told on {', '.join(of[OPEN])}"] if of[OPEN] else []
        alone = {"yes": "holds", "no": "does not hold", OPEN: OPEN}  # on all tasks alike
        everywhere = [alone[word] for word, named in of.items() if len(named) == len(tasks)]
        where = everywhere[0] if everywhere else ", ".join(parts)
        lines.append(f"- {finding['claim']}: **{where}**.")
        lines += [
            f"    - {task}: {WORDS[verdict['holds']]} ({verdict['numbers']})"
            for task, verdict in tasks.items()
        ]
    return "\n".join(lines)


def by_task(rows):
    """{task: {name: row}}, in the rows' order."""
    tasks = {}
    for row in rows:
        tasks.setdefault(row["task"], {})[row["name"]] = row
    return tasks
