"""The corpus that the embedded model is trained on: documents written by rules.

Every document tells a few facts and then tells them again in other forms: a card and prose, a passage and
questions about it, an order and the slip for the kitchen. So most of what comes second can be read off what
came first, and a model learns to look there. The facts are those of the tasks, of the split "train" alone;
the forms are others: no task's prompt occurs here. A word has a space before it wherever it stands, so that
it is the same token when it comes again.
"""

from random import Random

from . import events, lessons, lists, opinions, orders, people, places, tables

KINDS = {  # name: (writes one document, weight)
    "places": (places.places, 4),
    "people": (people.people, 7),
    "orders": (orders.orders, 3),
    "opinions": (opinions.opinions, 4),
    "events": (events.events, 3),
    "lessons": (lessons.lessons, 4),
    "lists": (lists.lists, 3),
    "tables": (tables.tables, 4),
}
_WRITERS = [writer for writer, weight in KINDS.values() for _ in range(weight)]


def documents(seed):
    """Endless documents: the same `seed` gives the same text on any machine."""
    rng = Random(seed)
    while True:
        yield rng.choice(_WRITERS)(rng)
