"""Places to eat, each told two or three times: a card, prose, a line of a guide, questions and answers."""

from .. import data_to_text, words

SAID = {  # key: ways to say it; "{}" is the value
    "type": ("it is {a} {}", "you will find {a} {} there"),
    "food": ("it serves {} food", "they cook {} dishes"),
    "price": ("a meal there is {}", "most dishes are {}"),
    "area": ("it is at the {}", "you find it near the {}"),
    "near": ("the next stop is {}", "and {} is not far"),
    "rating": ("guests call it {}", "people say it is {}"),
    "children": ("are there children? {}", "a place for families? {}"),
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


def places(rng):
    """Two places, each in two or three forms."""
    return "\n\n".join(_place(rng) for _ in range(2))


def _place(rng):
    slots = data_to_text.place(rng, "train")
    forms = rng.sample((card, prose, line, questions), rng.randint(2, 3))
    return "\n".join(form(rng, slots) for form in forms)


def card(rng, slots):
    """A line for each value, in any order."""
    mark, shown = rng.choice((" = ", " - ", ": ")), _shuffled(rng, slots)
    return "\n".join(f"* {key}{mark}{value}" for key, value in [("name", slots["name"]), *shown])


def prose(rng, slots):
    """A sentence for each value, two and two joined now and then."""
    said = []
    for key, value in _shuffled(rng, slots):
        form = rng.choice(SAID[key])
        said.append(form.replace("{a}", words.article(value)).format(value))
    joined = rng.choice((". ", ", and ", "; "))
    opening = rng.choice(("we went to {}.", "there is a place called {}.", "do you know {}?", "I like {}."))
    return words.capital(f"{opening.format(slots['name'])} {joined.join(said)}.")


def line(rng, slots):
    """A line of a guide: the name and the values in brackets or behind a colon."""
    values = ", ".join(value for _, value in _shuffled(rng, slots))
    return rng.choice(("guide: {} has {}", "see {}: {}.", "* {} / {}")).format(slots["name"], values)


def questions(rng, slots):
    """A question for each value, answered."""
    form = rng.choice(("- {} - {}.", "Q. {} A. {}", "{} {}!"))
    return "\n".join(form.format(ASKED[key].format(slots["name"]), v) for key, v in _shuffled(rng, slots))


def _shuffled(rng, slots):
    """The (key, value) pairs without the name, in any order."""
    pairs = [pair for pair in slots.items() if pair[0] != "name"]
    return rng.sample(pairs, len(pairs))
