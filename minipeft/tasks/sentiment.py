"""Sentiment: a sentence or two of a review -> positive or negative.

    prompt      review: the soup was not bad, but the waiter was nasty.
                sentiment:
    completion  " negative"

The rules: a word of praise is positive and a word of blame negative; "not", "never" and "far from" turn it
round; "very", "really" and "simply" do not. Of two clauses the main one decides: the one after "but" or
"still", the one that "although" does not begin. Two clauses of ten are turned round, and three sentences of
ten hold a contrast: a reader who only knows the words is right more often than not, and never done.

Splits: each thing that is judged belongs to one split (`splits.split_of`), so those of the test rows were
never judged in training.
"""

from random import Random

from ..data.metrics import accuracy
from . import words
from .splits import check_split, split_of

NAME = "sentiment"
PRIMARY = "accuracy"  # the score to compare methods by
CHOICES = (" positive", " negative")  # the only possible completions
MAX_NEW_TOKENS = 3

PLAIN = ("was {}", "was very {}", "was really {}", "was simply {}")
NEGATED = ("was not {}", "was not very {}", "was never {}", "was far from {}")
SINGLE = ("the {a} {main}.", "I must say the {a} {main}.", "they say the {a} {main}.")
# {main} decides, {other} says the contrary.
CONTRAST = (
    "the {b} {other}, but the {a} {main}.",
    "although the {b} {other}, the {a} {main}.",
    "the {a} {main}, although the {b} {other}.",
    "the {b} {other}. still, the {a} {main}.",
)


def rows(split, count, seed=0):
    """`count` rows of "train", "validation" or "test": dicts with "prompt" and "completion"."""
    check_split(split)
    rng = Random(f"{NAME} {split} {seed}")
    return [_row(*judged(rng, split)) for _ in range(count)]


def _row(text, positive):
    return {"prompt": f"review: {text}\nsentiment:", "completion": CHOICES[0 if positive else 1]}


def judged(rng, split, contrasts=0.3, negations=0.2):
    """A sentence and whether it is positive.

    contrasts, negations: the shares of sentences with a contrast and of clauses that are turned round.
    """
    positive = rng.random() < 0.5
    first, second = rng.sample([thing for thing in words.THINGS if split_of(thing) == split], 2)
    form = rng.choice(CONTRAST if rng.random() < contrasts else SINGLE)
    return form.format(
        a=first,
        b=second,
        main=clause(rng, positive, negations),
        other=clause(rng, not positive, negations),
    ), positive


def clause(rng, positive, negations):
    """What is said of a thing: praise, or blame turned round, where it is `positive`."""
    negated = rng.random() < negations
    word = rng.choice(words.PRAISE if positive != negated else words.BLAME)
    return rng.choice(NEGATED if negated else PLAIN).format(word)


def score(rows, outputs):
    """ "accuracy": the share of rows whose output is the right label."""
    return {"accuracy": accuracy(outputs, [row["completion"] for row in rows])}
