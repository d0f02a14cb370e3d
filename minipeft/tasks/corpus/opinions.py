"""Opinions, each with what followed from it: would they come again, how many stars, glad or sorry."""

from .. import words
from ..sentiment import judged

VERDICTS = (  # (after a good opinion, after a bad one)
    ("I will come again.", "I will not come again."),
    ("we were glad.", "we were sorry."),
    ("five stars", "one star"),
    ("so, yes.", "so, no."),
    ("and {who} liked it.", "and {who} hated it."),
    ("that is a positive word.", "that is a negative word."),
)
OPENINGS = (
    "by {who}: {text} {verdict}",
    "so: {text} {verdict}",
    "here {who} writes that {text} {verdict}",
    "- {text} {verdict}",
)


def opinions(rng):
    """Three to six opinions; the verdicts of a document are all of one kind."""
    verdicts, opening, lines = rng.choice(VERDICTS), rng.choice(OPENINGS), []
    for _ in range(rng.randint(3, 6)):
        text, positive = judged(rng, "train", contrasts=0.4, negations=0.3)  # more than the task has
        who = rng.choice(words.PEOPLE)
        verdict = verdicts[0 if positive else 1].format(who=who)
        lines.append(opening.format(who=who, text=text, verdict=verdict))
    return "\n".join(lines)
