"""Data to text: the attributes of a place to eat -> one or more sentences that state all of them.

    prompt      name : The Copper Lantern | type : pub | food : Italian | near : Alder Park ||
    completion  " The Copper Lantern is an Italian pub near Alder Park."

Splits: the two words of a name, a food and an area, a type and a price are pairs that belong to one split
(`splits.partner`). A row of "test" or "validation" holds at least one pair beside its name.
"""

import re
from random import Random

from ..data.metrics import bleu
from . import words
from .splits import check_split, partner

NAME = "data-to-text"
PRIMARY = "slots"  # the score to compare methods by
CHOICES = None
MAX_NEW_TOKENS = 48

KEYS = ("name", "type", "food", "price", "area", "near", "rating", "children")  # in the prompt's order
NAMES = ("The {} {}", "{} {} House", "{} {} Kitchen")
FIRST = ("Copper", "Golden", "Silver", "Green", "Red", "Blue", "White", "Black", "Old", "Happy", "Lucky",
         "Wild", "Royal", "Crooked", "Hidden", "Sleepy")  # fmt: skip
SECOND = ("Lantern", "Lion", "Horse", "Anchor", "Crown", "Garden", "Barrel", "Swan", "Fox", "Bell", "Oak",
          "Rose", "Wheel", "Star", "Duck", "Bear")  # fmt: skip
LANDMARKS = ("Station", "Bridge", "Park", "Museum", "Theatre", "Church")
TYPES = ("pub", "restaurant", "cafe", "bistro", "bar", "diner", "inn", "canteen")
FOODS = ("Italian", "French", "Indian", "Chinese", "English", "Japanese", "Mexican", "Greek", "Thai",
         "Turkish", "Spanish", "Polish")  # fmt: skip
PRICES = ("cheap", "moderate", "expensive")
AREAS = ("riverside", "canal", "harbour", "suburbs", "castle", "market", "seafront", "university")
RATINGS = ("excellent", "good", "average", "poor")

# key -> value -> (adjective before the noun, phrase after the noun, a sentence). These forms, and no others,
# state a value: completions are written with them and outputs are read with them.
FORMS = {
    "type": {kind: (kind, "", "") for kind in TYPES},
    "food": {food: (food, "", f"the kitchen is {food}") for food in FOODS},
    "price": {price: (price, "", f"prices are {price}") for price in PRICES},
    "area": {area: ("", f"by the {area}", f"it lies by the {area}") for area in AREAS},
    "rating": {value: ("", f"with {value} reviews", f"reviews are {value}") for value in RATINGS},
    "children": {
        "yes": ("family-friendly", "", "children are welcome"),
        "no": ("adults-only", "", "only adults are admitted"),
    },
}
PAIRS = {"food": "area", "type": "price"}


def rows(split, count, seed=0):
    """`count` rows of "train", "validation" or "test": dicts with "prompt", "completion" and "slots"."""
    check_split(split)
    rng, drawn = Random(f"{NAME} {split} {seed}"), []
    for _ in range(count):
        slots = place(rng, split)
        prompt = " | ".join(f"{key} : {value}" for key, value in slots.items()) + " ||"
        drawn.append({"prompt": prompt, "completion": " " + describe(rng, slots), "slots": slots})
    return drawn


def place(rng, split):
    """Three to five slots: a name and values whose pairs belong to `split`."""
    keys = rng.sample(KEYS[1:], rng.randint(2, 4))
    if split != "train" and not any(one in keys and other in keys for one, other in PAIRS.items()):
        return place(rng, split)
    first = rng.choice(FIRST)
    slots = {"name": (first, partner(rng, split, first, SECOND))}
    slots |= {key: rng.choice(tuple(FORMS[key])) for key in KEYS if key in keys and key in FORMS}
    for one, other in PAIRS.items():
        if one in slots and other in slots:
            slots[other] = partner(rng, split, slots[one], tuple(FORMS[other]))
    if None in slots.values() or None in slots["name"]:  # a word without a partner in this split
        return place(rng, split)
    slots["name"] = rng.choice(NAMES).format(*slots["name"])
    if "near" in keys:
        slots["near"] = f"{rng.choice(words.TOWNS)} {rng.choice(LANDMARKS)}"
    return {key: slots[key] for key in KEYS if key in slots}


def describe(rng, slots):
    """One of two ways: woven into one sentence, or a short sentence for each value, two and two joined."""
    forms = {key: form_of(key, value) for key, value in slots.items() if key not in ("name", "type")}
    name, kind = slots["name"], slots.get("type", "place")
    if rng.random() < 0.5:
        before = [forms[key][0] for key in ("price", "children", "food") if key in forms]
        after = [forms[key][1] for key in ("area", "near", "rating") if key in forms]
        noun = " ".join([*before, kind])
        return " ".join([name, "is", words.article(noun), noun, *after]) + "."
    said = [sentence for _, _, sentence in forms.values()]
    sentences = [f"{name} is {words.article(kind)} {kind}"]
    sentences += [", and ".join(said[i : i + 2]) for i in range(0, len(said), 2)]
    return " ".join(words.capital(sentence) + "." for sentence in sentences)


def form_of(key, value):
    """(adjective, phrase, sentence) for one slot."""
    if key == "near":
        return "", f"near {value}", f"it is near {value}"
    return FORMS[key][value]


# --------------------------------------------------------------------------------------- reading it back


def stated(text):
    """key -> the values that `text` states for it; names and landmarks are known by how they are built."""
    found = {"name": set(_NAME.findall(text)), "near": set(_LANDMARK.findall(_NAME.sub("", text)))}
    for key, patterns in _PATTERNS.items():
        found[key] = {value for value, pattern in patterns.items() if pattern.search(text)}
    return found


def _either(options):
    return "|".join(re.escape(option) for option in options if option)


_NAME = re.compile(rf"\b(?:The )?(?:{_either(FIRST)}) (?:{_either(SECOND)})\b(?: House\b| Kitchen\b)?")
_LANDMARK = re.compile(rf"\b[A-Z]\w+ (?:{_either(LANDMARKS)})\b")
_PATTERNS = {
    key: {value: re.compile(rf"\b(?:{_either(said)})\b", re.IGNORECASE) for value, said in forms.items()}
    for key, forms in FORMS.items()
}


def score(rows, outputs):
    """How well `outputs` (generated texts) state the slots of `rows`.

    "slots": the share of slots for which the text states the right value and no other; a text with a "|" is
    no sentence but a copy of the prompt, and states nothing.
    "exact": the share of rows with every slot right and nothing stated that the prompt did not give.
    "bleu": against the completion, one of the ways to say it (Papineni et al. 2002).
    """
    right = total = exact = 0
    for row, output in zip(rows, outputs, strict=True):
        found = stated(output if "|" not in output else "")
        hits = sum(found[key] == {value} for key, value in row["slots"].items())
        invented = any(found[key] for key in KEYS if key not in row["slots"])
        right, total = right + hits, total + len(row["slots"])
        exact += hits == len(row["slots"]) and not invented
    written = bleu(outputs, [row["completion"] for row in rows])
    return {"slots": right / total, "exact": exact / len(rows), "bleu": written}
