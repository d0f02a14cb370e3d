"""A user's own files as a task: what takes a built-in one takes it, too."""

from collections import Counter
from pathlib import Path
from random import Random

from ..data.metrics import METRICS
from ..data.rows import read_rows
from ..errors import InputError, check_choice, counted

OF_CLASSES = ("accuracy", "macro_f1")  # what is computed besides the metric that was asked for
OF_TEXTS = ("exact_match", "f1", "bleu", "chrf", "rouge_l")


class OwnData:
    """Files of rows (see data/rows.py), each of which may be left out, as a task.

    train       what to learn from
    evaluation  "validation": it chooses the best adapter, so a score on it would be a little too good
    test        "test": it gives the score; without it the evaluation file is parted in two, see `halves`
    metric      PRIMARY, one of METRICS; None: accuracy for classes, else chrF, which, unlike exact match,
                tells near answers from far ones, and in any language
    tokenizer   what MAX_NEW_TOKENS is counted with; None: bytes, of which a token has one or more

    Where all rows to be scored have labels, CHOICES are the labels. A row that is only a text has a loss, but
    no score. `notes` are what a reader of the score ought to know, a sentence each; `source` says where the
    rows are from.
    """

    def __init__(self, train=None, evaluation=None, test=None, metric=None, tokenizer=None):
        if metric is not None:
            check_choice("metric", metric, METRICS)
        files = {"data": train, "eval_data": evaluation, "test_data": test}
        self.source = {name: str(path) for name, path in files.items() if path}
        self.NAME, self.notes = Path(train or evaluation or test).stem, []
        learnt, held_out, scored = (read_rows(path) if path else [] for path in (train, evaluation, test))
        if test is None:
            held_out, scored = self.parted(held_out, evaluation)
        scored = [row for row in scored if "completion" in row]
        if metric and not (evaluation or test) and any("completion" in row for row in learnt):
            raise InputError("a metric needs rows to score: give --eval or --test")
        if metric and not scored:
            raise InputError(f"{test or evaluation or train}: no row with a completion to score by {metric}")
        for row in scored:
            if not row["prompt"]:
                raise InputError(f"{test or evaluation}: a row's prompt is empty: there is nothing to answer")
        self.splits = {"train": learnt, "validation": held_out, "test": scored}

        labelled = bool(scored) and all("label" in row for row in scored)
        texts = [row["completion"] for row in learnt + held_out + scored if "completion" in row]
        self.CHOICES = tuple(sorted(set(texts))) if labelled else None
        self.PRIMARY = metric or ("accuracy" if labelled else "chrf")
        self.metrics = list(dict.fromkeys([self.PRIMARY, *(OF_CLASSES if labelled else OF_TEXTS)]))
        self.MAX_NEW_TOKENS = longest(texts, tokenizer) + 1  # the end token
        self.look_for_surprises(train, evaluation if train and test and test != evaluation else None)

    def rows(self, split, count=None):
        """The rows of "train", "validation" or "test", at most `count` of them."""
        return self.splits[split][:count]

    def score(self, rows, outputs):
        """{metric: 0 ... 1}, PRIMARY first."""
        references = [row["completion"] for row in rows]
        return {name: METRICS[name](outputs, references) for name in self.metrics}

    def parted(self, rows, file):
        """The evaluation rows -> those of "validation" and those of "test"."""
        answerable = [row for row in rows if "completion" in row]
        if not answerable:
            return rows, []
        validation, test = halves(answerable)
        if not validation:
            self.notes.append(f"one prompt is all that {file} has: its rows choose the adapter and score it")
            return rows, rows
        self.notes.append(
            f"no test file: {counted(len(validation), 'row')} of {file} for the choice of the best "
            f"adapter, the other {len(test)} for its score"
        )
        return validation + [row for row in rows if "completion" not in row], test

    def look_for_surprises(self, train, evaluation):
        """Note how many test prompts are in the other files, too, and which labels are not trained on."""
        learnt, held_out, scored = self.splits.values()
        for file, rows in ((train, learnt), (evaluation, held_out)):
            prompts = {row["prompt"] for row in rows if "prompt" in row}
            known = sum(row["prompt"] in prompts for row in scored)
            if file and known:
                self.notes.append(
                    f"{known} of the {len(scored)} test rows have a prompt that is in {file}, too"
                )
        if len(self.CHOICES or ()) == 1:
            label = self.CHOICES[0].strip()
            self.notes.append(
                f"the one label is {label!r}: nothing else can be answered; give --train, with the others"
            )
        unknown = set(self.CHOICES or ()) - {row.get("completion") for row in learnt}
        if learnt and unknown:
            labels = ", ".join(repr(label.strip()) for label in sorted(unknown))
            self.notes.append(f"no row of {train} has one of these labels: {labels}")


def halves(rows):
    """Half of the rows or a little less, drawn at random but always the same, and the others.

    Rows with the same prompt stay together: else one half would know the other's questions.
    """
    counts = Counter(row["prompt"] for row in rows)
    prompts, first, size = sorted(counts), set(), 0
    Random(0).shuffle(prompts)
    for prompt in prompts:
        if 2 * (size + counts[prompt]) <= len(rows):
            first.add(prompt)
            size += counts[prompt]
    parts = {True: [], False: []}
    for row in rows:
        parts[row["prompt"] in first].append(row)
    return parts[True], parts[False]


def longest(texts, tokenizer):
    """The most tokens that one of the texts has; without a tokenizer the most bytes."""
    if tokenizer is None:
        return max(map(len, map(str.encode, texts)), default=0)
    pieces = tokenizer.encode_batch(texts, add_special_tokens=False)
    return max((len(each.ids) for each in pieces), default=0)
