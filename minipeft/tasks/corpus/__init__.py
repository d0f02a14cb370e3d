"""An English corpus written by rules: what the small built-in GPT-2 is pre-trained on.

Every document is made from hand-written words and templates and from invented names, so the corpus has no
author but its rules and no end. `KINDS` shows what it is made of. Nothing in it looks like a built-in task.
"""

from random import Random

from . import bilingual, dialogues, everyday, news, notes, opinions, stories

# name: (function that writes one document, weight)
KINDS = {
    "lost things": (stories.lost_story, 4),
    "trips": (stories.trip_story, 4),
    "help": (stories.help_story, 4),
    "wishes": (stories.wish_story, 3),
    "fables": (stories.fable, 2),
    "diaries": (stories.diary, 3),
    "habits": (stories.habits, 3),
    "cafe orders": (dialogues.cafe_order, 5),
    "table bookings": (dialogues.table_booking, 2),
    "shopping": (dialogues.shopping, 4),
    "stations": (dialogues.station, 2),
    "asking the way": (dialogues.asking_the_way, 2),
    "doctors": (dialogues.surgery, 1),
    "friends": (dialogues.friends, 4),
    "hotels": (dialogues.hotel, 1),
    "lessons": (dialogues.lesson, 1),
    "place reviews": (opinions.place_review, 8),
    "product reviews": (opinions.product_review, 5),
    "book and film reviews": (opinions.work_review, 5),
    "several opinions": (opinions.several_opinions, 2),
    "news": (news.news, 10),
    "history": (news.history, 5),
    "notices": (news.notice, 3),
    "questions": (news.questions, 16),
    "letters": (everyday.letter, 6),
    "recipes": (everyday.recipe, 3),
    "directions": (everyday.directions, 2),
    "animals": (everyday.animals, 4),
    "gardens": (everyday.garden, 2),
    "health": (everyday.health, 2),
    "sport": (everyday.sport, 2),
    "school": (everyday.school, 2),
    "rooms and things": (everyday.interior, 4),
    "definitions": (everyday.definitions, 2),
    "timetables": (everyday.timetable, 3),
    "sums": (everyday.sums, 2),
    "counting": (everyday.counting, 2),
    "lists": (everyday.shopping_list, 6),
    "notes and prose": (notes.notes, 40),
    "tables": (notes.table, 10),
    "errands": (notes.errands, 5),
    "German and French": (bilingual.bilingual, 5),
}

MIN_WORDS = 40
_WRITERS = [writer for writer, weight in KINDS.values() for _ in range(weight)]


def document(rng):
    """One document of a kind drawn by weight; `rng` is a `random.Random`.

    Kinds that are short by nature come in a series, until there are `MIN_WORDS`.
    """
    writer = _WRITERS[int(rng.random() * len(_WRITERS))]
    text = writer(rng)
    while text.count(" ") < MIN_WORDS:
        text += "\n\n" + writer(rng)
    return text


def documents(seed):
    """Endless documents: the same `seed` gives the same text on any machine."""
    rng = Random(seed)
    while True:
        yield document(rng)
