"""Opinions, each with what followed from it: would they come again, how many stars, glad or sorry.

Plain praise and blame first; then "not" and "far from", which turn them round; then two clauses, of which one
decides. What is asked of a sentence with two: what became of each thing, and of the whole.
"""

from .. import words
from ..sentiment import CONTRAST, clause, judged
from ..splits import split_of
from .marks import known

VERDICTS = (  # (form, after a good opinion, after a bad one)
    ("I will {}.", "come again", "not come again"),
    ("we were {}.", "glad", "sorry"),
    ("{}", "five stars", "one star"),
    ("so, {}.", "yes", "no"),
    ("and {who} {} it.", "liked", "hated"),
    ("that is a {} word.", "positive", "negative"),
    ("praise or blame? {}.", "praise", "blame"),
    ("like it? {}!", "yes", "no"),
    ("( {} )", "+", "-"),
    ("so it was {}.", "good", "bad"),
    ("{who} went home {}.", "happy", "sad"),
)
OPENINGS = (
    "by {who}: {text} {verdict}",
    "so: {text} {verdict}",
    "here {who} writes that {text} {verdict}",
    "- {text} {verdict}",
)
WORDS = ("good", "bad")


def opinions(rng, hard):
    """Four to seven opinions, their verdicts of one to three kinds; or three sentences with two opinions."""
    if hard > 0.4 and rng.random() < 0.4:
        return "\n".join(aspects(rng, hard) for _ in range(3))
    verdicts, opening = rng.sample(VERDICTS, rng.randint(1, 3)), rng.choice(OPENINGS)
    return "\n".join(_opinion(rng, hard, verdicts, opening) for _ in range(rng.randint(4, 7)))


def _opinion(rng, hard, verdicts, opening):
    contrasts, negations = 0.8 * max(0, hard - 0.3), min(0.5, 1.2 * hard)
    text, positive = judged(rng, "train", contrasts, negations)
    who = rng.choice(words.PEOPLE)
    said = [
        form.format(known(good if positive else bad), who=who)
        for form, good, bad in rng.sample(verdicts, len(verdicts))
    ]
    return opening.format(who=who, text=text, verdict=" ".join(said))


def aspects(rng, hard):
    """Two things in a sentence, and what is thought of each and in all."""
    positive = rng.random() < 0.5
    a, b = rng.sample([thing for thing in words.THINGS if split_of(thing) == "train"], 2)
    main, other = clause(rng, positive, 0.5 * hard), clause(rng, not positive, 0.5 * hard)
    of_main, of_other = map(known, WORDS if positive else WORDS[::-1])
    asked = rng.sample([f"{a}? {of_main}", f"{b}? {of_other}"], 2)
    text = rng.choice(CONTRAST).format(a=a, b=b, main=main, other=other)
    return f"{text} {', '.join(asked)}, in all: {of_main}"
