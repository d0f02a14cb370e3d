"""Places to eat, each told two or three times: a card, prose, a line of a guide, questions and answers.

All places of a document are told in the same ways. Where a telling keeps the order of the first, all of it
can be read off from the second place on; in another order, the values can.
"""

from .. import data_to_text, words
from .difficulty import up_to
from .marks import known

SAID = {  # key: ways to say it; "{}" is the value
    "type": ("it is {a} {}", "you will find {a} {} there", "they call it {a} {}"),
    "food": ("it serves {} food", "they cook {} dishes", "the cook is {}"),
    "price": ("a meal there is {}", "most dishes are {}", "the bill is {}"),
    "area": ("it is at the {}", "you find it near the {}", "the {} is close"),
    "near": ("the next stop is {}", "and {} is not far", "walk on to {}"),
    "rating": ("guests call it {}", "people say it is {}", "the cooking is {}"),
    "children": ("are there children? {}", "a place for families? {}", "may children come? {}"),
}
ASKED = {
    "type": "what is {}?",
    "food": "what does {} cook?",
    "price": "what are the prices of {}?",
    "area": "where is {}?",
    "near": "what is close to {}?",
    "rating": "how is {}?",
    "children": "may children come to {}?",
}
OPENINGS = ("we went to {}.", "there is a place called {}.", "do you know {}?", "I like {}.", "{}:")


def places(rng, hard):
    """Two places, or three with one attribute each, in two or three forms each."""
    size = up_to(hard, 1, 4)
    forms = rng.sample((card, prose, line, questions), 3 if size < 3 and hard > 0.3 else 2)
    styles = [form(rng) for form in forms]
    in_order = rng.random() < 0.5
    told = []
    for number in range(3 if size == 1 else 2):
        slots = data_to_text.place(rng, "train")
        name, values = slots.pop("name"), list(slots.items())[:size]
        said = rng.sample(values, len(values))
        told.append(styles[0](name, said, lambda text: text, lambda text: text))
        for style in styles[1:]:
            order = said if in_order else rng.sample(values, len(values))
            every = known if in_order and number else lambda text: text
            told.append(every(style(name, order, known, known)))
        told.append("")
    return "\n".join(told).strip()


def card(rng):
    """A line for each value."""
    mark = rng.choice((" = ", " - ", ": "))

    def tell(name, values, name_mark, mark_value):
        lines = [("name", name_mark(name)), *((key, mark_value(value)) for key, value in values)]
        return "\n".join(f"* {key}{mark}{value}" for key, value in lines)

    return tell


def prose(rng):
    """A sentence for each value, two and two joined now and then."""
    ways = {key: rng.choice(said) for key, said in SAID.items()}
    joined, opening = rng.choice((". ", ", and ", "; ")), rng.choice(OPENINGS)

    def tell(name, values, name_mark, mark_value):
        said = [
            ways[key].replace("{a}", words.article(value)).format(mark_value(value)) for key, value in values
        ]
        return f"{words.capital(opening).format(name_mark(name))} {joined.join(said)}."

    return tell


def line(rng):
    """A line of a guide: the name and the values behind a colon or a slash."""
    form = rng.choice(("guide: {} has {}", "see {}: {}.", "* {} / {}", "{} ( {} )"))

    def tell(name, values, name_mark, mark_value):
        return form.format(name_mark(name), ", ".join(mark_value(value) for _, value in values))

    return tell


def questions(rng):
    """A question for each value, answered."""
    form = rng.choice(("- {} - {}.", "Q. {} A. {}", "{} {}!"))

    def tell(name, values, name_mark, mark_value):
        asked = [(ASKED[key].format(name_mark(name)), mark_value(value)) for key, value in values]
        return "\n".join(form.format(question, value) for question, value in asked)

    return tell
