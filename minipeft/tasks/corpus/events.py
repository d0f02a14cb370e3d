"""News from the towns: a report in two or three tellings, or with questions about it."""

from .. import words
from ..summarisation import ASIDES, EVENTS, NUMBERS, happening
from .difficulty import up_to
from .marks import known

BRIEF = (
    "from {town}: {event}, {place}, {outcome} {number}",
    "in {town}, {event} in {place}. people {outcome}: {number}.",
    "people {outcome} in {town}: {number}, by {event}. the {place} is shut.",
)
RETOLD = (
    "have you heard about the {event} in {town}? it was the {place}. {number} were {outcome}.",
    "there were {number} {outcome} when the {event} came to the {place}, here in {town}.",
    "the {place} of {town} had a {event}, and {number} were {outcome}.",
)
ASKED = {
    "event": "what was it?",
    "place": "which building?",
    "town": "in which town?",
    "number": "how many?",
    "outcome": "what became of them?",
}


def events(rng, hard):
    """Two events, each told two or three times."""
    return "\n\n".join(_event(rng, up_to(hard, 0, 3)) for _ in range(2))


def _event(rng, asides):
    facts = happening(rng, "train")
    again = {name: known(fact) for name, fact in facts.items()}
    forms = rng.sample((brief, retold, questions), rng.randint(1, 2))
    return "\n".join([news(rng, facts, asides), *(form(rng, again) for form in forms)])


def news(rng, facts, asides):
    """The town, what happened, and the people among things of less weight."""
    what = rng.choice(EVENTS[facts["event"]]).format(place=facts["place"])
    more = [form.format(day=rng.choice(words.DAYS), number=rng.choice(NUMBERS))
            for form in rng.sample(ASIDES, asides)]  # fmt: skip
    more.insert(rng.randint(0, len(more)), f"{facts['number']} people were {facts['outcome']}.")
    return f"from {facts['town']}, {rng.choice(words.DAYS)}. {what}. {' '.join(more)}"


def brief(rng, facts):
    """One line."""
    return rng.choice(BRIEF).format(**facts)


def retold(rng, facts):
    """The same in a letter."""
    return rng.choice(RETOLD).format(**facts)


def questions(rng, facts):
    """Some of the facts, asked for."""
    form = rng.choice(("Q. {} A. {}", "- {}\n- {}", "{} {}!"))
    return "\n".join(form.format(ASKED[fact], facts[fact]) for fact in rng.sample(list(ASKED), 3))
