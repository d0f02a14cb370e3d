"""Summarisation: a short report -> its headline.

    prompt      report: on Monday night a fire broke out in the old mill in Alder. the road was closed until
                Friday. three people were hurt.
                headline:
    completion  " fire at the old mill in Alder: three people hurt"

A headline keeps four facts: the event, the place, the town and what became of people. All else is left out,
the other numbers and the days among it.

Splits: an event and its place, a place and its town, what became of people and how many: each is a pair of
one split (`splits.partner`).
"""

import re
from random import Random

from ..data.metrics import rouge_l
from . import words
from .splits import check_split, partner

NAME = "summarisation"
PRIMARY = "facts"  # the score to compare methods by
CHOICES = None
MAX_NEW_TOKENS = 24

EVENTS = {  # in a headline: in a report
    "fire": ("a fire broke out in the {place}", "the {place} caught fire", "there was a fire in the {place}"),
    "flood": ("water flooded the {place}", "the {place} was under water", "there was a flood in the {place}"),
    "storm": ("a storm damaged the {place}", "the {place} was hit by a storm", "a storm hit the {place}"),
    "crash": ("a lorry ran into the {place}", "a car hit the {place}", "the {place} was hit by a bus"),
    "theft": ("thieves broke into the {place}", "thieves robbed the {place}", "the {place} was robbed"),
}
PLACES = ("old mill", "town hall", "school", "station", "bakery", "library", "hotel", "factory", "farm",
          "bridge", "market hall", "theatre", "post office", "church", "museum", "bank")  # fmt: skip
NUMBERS = words.ONES[2:13]
OUTCOMES = ("hurt", "rescued", "missing", "arrested")
ASIDES = (
    "the police are looking for witnesses.",
    "the road was closed until {day}.",
    "the mayor will speak about it on {day}.",
    "it was over after {number} hours.",
    "{number} firemen came to help.",
    "neighbours had called for help at {number}.",
    "nobody knows yet how it began.",
)


def rows(split, count, seed=0):
    """`count` rows of "train", "validation" or "test": dicts with "prompt", "completion" and "facts"."""
    check_split(split)
    rng, drawn = Random(f"{NAME} {split} {seed}"), []
    for _ in range(count):
        facts = happening(rng, split)
        prompt = f"report: {report(rng, facts)}\nheadline:"
        drawn.append({"prompt": prompt, "completion": f" {headline(facts)}", "facts": facts})
    return drawn


def happening(rng, split):
    """{"event", "place", "town", "number", "outcome"}."""
    place, outcome = rng.choice(PLACES), rng.choice(OUTCOMES)
    event, town = (partner(rng, split, place, options) for options in (tuple(EVENTS), words.TOWNS))
    number = partner(rng, split, outcome, NUMBERS)
    if not (event and town and number):  # no pair of this split with what was drawn first: draw again
        return happening(rng, split)
    return {"event": event, "place": place, "town": town, "number": number, "outcome": outcome}


def report(rng, facts):
    """Three to five sentences: what and where, then what became of people among things of less weight."""
    what = rng.choice(EVENTS[facts["event"]]).format(place=facts["place"])
    when = f"on {rng.choice(words.DAYS)} {rng.choice(('morning', 'evening', 'night'))}"
    more = [form.format(day=rng.choice(words.DAYS), number=rng.choice(NUMBERS))
            for form in rng.sample(ASIDES, rng.randint(1, 3))]  # fmt: skip
    more.insert(rng.randint(0, len(more)), f"{facts['number']} people were {facts['outcome']}.")
    return f"{when} {what} in {facts['town']}. {' '.join(more)}"


def headline(facts):
    """The four facts in their order."""
    return "{event} at the {place} in {town}: {number} people {outcome}".format(**facts)


def score(rows, outputs):
    """ "facts": the share of facts whose words the outputs hold; "rouge_l": ROUGE-L (Lin 2004).

    A text of more than one and a half times the headline's length is no headline, and keeps no fact.
    """
    kept = total = 0
    for row, output in zip(rows, outputs, strict=True):
        facts = row["facts"]
        said = (facts["event"], facts["place"], facts["town"], f"{facts['number']} people {facts['outcome']}")
        title = output if len(output) <= 1.5 * len(row["completion"]) else ""
        kept += sum(bool(re.search(rf"\b{fact}\b", title)) for fact in said)
        total += len(said)
    return {"facts": kept / total, "rouge_l": rouge_l(outputs, [row["completion"] for row in rows])}
