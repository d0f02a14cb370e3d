"""The corpus that the embedded model is trained on: documents written by rules.

Every document tells a few facts and then tells them again in other forms: a card and prose, a passage and
questions about it, an order and the slip for the kitchen. So most of what comes second can be read off what
came first, and a model learns to look there. Which characters these are is marked (marks.py), and each kind
of document begins easy (difficulty.py). The facts are those of the tasks, of the split "train" alone; the
forms are others: no task's prompt occurs here. Words have a space before them but where a line begins, so
that they are the same tokens when they come again.

A kind is a function of a random generator and of how hard the document may be, from 0 to 1. It returns the
document with its marks.
"""

from itertools import count
from random import Random

from . import codes, events, lessons, lists, opinions, orders, people, places, sorts, tables
from .difficulty import hardness
from .marks import without_marks

KINDS = {  # name: (writes one document, weight)
    "people": (people.people, 12),
    "tables": (tables.tables, 8),
    "lists": (lists.lists, 4),
    "opinions": (opinions.opinions, 6),
    "places": (places.places, 6),
    "orders": (orders.orders, 3),
    "events": (events.events, 2),
    "lessons": (lessons.lessons, 3),
    "codes": (codes.codes, 3),
    "sorts": (sorts.sorts, 3),
}
_NAMES = [name for name, (_, weight) in KINDS.items() for _ in range(weight)]


def document(seed, n):
    """Document number n of the corpus `seed`, with its marks: the same on any machine, from anywhere."""
    rng = Random(f"{seed} {n}")
    write, _ = KINDS[rng.choice(_NAMES)]
    return write(rng, hardness(rng, n))


def documents(seed, first=0):
    """Endless documents as they are read, from number `first` on."""
    return (without_marks(document(seed, n)) for n in count(first))
