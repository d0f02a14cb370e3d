"""What a task's score is worth: answers that need no training, and a prompt of examples for the frozen model.

A fine-tuned model that does not beat them has learnt nothing that was not to be had for free.
"""

from collections import Counter
from random import Random

from ..errors import InputError
from .answers import answer, room_of


def majority(train, test):
    """The most frequent completion of the training rows, for every test row (of several, the first)."""
    ((completion, _),) = Counter(row["completion"] for row in examples_of(train)).most_common(1)
    return [completion] * len(test)


def copying(train, test):
    """The prompt itself, all of it: what there is to gain from the words that were given anyway."""
    return [row["prompt"] for row in test]


BASELINES = {"majority": majority, "copying": copying}


def few_shot(model, task, train, test, shots, seed=0, progress=True):
    """The model's answers with training rows in front of each prompt, and how many of them fitted on average.

    Brown et al. 2020, section 2 ("few-shot"): the rows are drawn anew for each prompt, a line break behind
    each, the prompt comes last, and nothing is trained. An answer ends with its line: a model that has only
    ever read such lines has no reason to know the end token.
    """
    rng, train = Random(f"few-shot {seed}"), examples_of(train)
    drawn = [rng.sample(train, min(shots, len(train))) for _ in test]
    prompts = [fitting(model, task, rows, row["prompt"]) for rows, row in zip(drawn, test, strict=True)]
    outputs = answer(model, task, [text for text, _ in prompts], "cut", one_line=True, progress=progress)
    return outputs, sum(count for _, count in prompts) / len(prompts)


def fitting(model, task, rows, prompt):
    """As many of the rows as leave room for an answer, and the prompt. -> the text, their number."""
    longest = [len(each.ids) + 1 for each in model.tokenizer.encode_batch(list(task.CHOICES or ()))]
    room = room_of(model) - max(longest, default=task.MAX_NEW_TOKENS)
    for first in range(len(rows) + 1):
        lines = [row["prompt"] + row["completion"] for row in rows[first:]]
        text = "\n".join([*lines, prompt])
        if len(model.tokenizer.encode(text).ids) <= room:
            break
    return text, len(lines)


def examples_of(rows):
    """The rows with a completion. Raises InputError where there is none."""
    found = [row for row in rows if "completion" in row]
    if not found:
        raise InputError("there are no training rows with a completion to learn from: give --train")
    return found
