"""Data to text: the attributes of a place to eat -> one or more sentences that state all of them.

    prompt      name : The Copper Lantern | type : pub | food : Italian | near : Alderham Park ||
    completion  " The Copper Lantern is an Italian pub near Alderham Park."

Splits: the names of "test" and "validation" never occur in "train", and neither do their pairs of values. A
name is built from adjective i, noun j and style k, and belongs to the split of (i + 2j + k) mod 8. A pair of
food and area belongs to the split of (their positions in `VALUES`, added) mod 8; a pair of type and price to
that of the same sum mod 4. Remainder 0 is test, 1 is validation, and all others are train. Every row keeps to
names and pairs of its own split; in "test" and "validation" it holds at least one of the two pairs.
"""

import re
from random import Random

from ..metrics import bleu
from . import words
from .corpus.grammar import articles, capital
from .corpus.names import town

NAME = "data-to-text"
PRIMARY = "slots"  # the score to compare methods by
CHOICES = None
MAX_NEW_TOKENS = 64  # enough for any completion

KEYS = ("name", "type", "food", "price", "area", "near", "rating", "children")  # in the prompt's order
NAME_STYLES = ("The {} {}", "{} {} House", "{} {} Kitchen")
LANDMARKS = ("Station", "Bridge", "Park", "Museum", "Theatre", "Church")
TYPES = ("pub", "restaurant", "cafe", "bistro", "wine bar", "tea room", "diner", "inn")
FOODS = (
    "Italian",
    "French",
    "Indian",
    "Chinese",
    "English",
    "Japanese",
    "Mexican",
    "Greek",
    "Thai",
    "Turkish",
    "Spanish",
    "Polish",
)
PRICES = {
    "cheap": ("cheap", "low"),
    "moderate": ("moderately priced", "moderate"),
    "expensive": ("expensive", "high"),
}
AREAS = {
    "riverside": "by the river",
    "city centre": "in the city centre",
    "harbour": "at the harbour",
    "old town": "in the old town",
    "market square": "on the market square",
    "seafront": "by the sea",
    "university quarter": "in the university quarter",
    "suburbs": "in the suburbs",
}

# key -> value -> (adjective before the noun, phrase after the noun, a sentence). These forms, and no others,
# state a value: completions are written with them and outputs are read with them.
FORMS = {
    "type": {kind: (kind, "", "") for kind in TYPES},
    "food": {food: (food, "", f"the kitchen is {food}") for food in FOODS},
    "price": {value: (adjective, "", f"prices are {level}") for value, (adjective, level) in PRICES.items()},
    "area": {area: ("", where, f"it lies {where}") for area, where in AREAS.items()},
    "rating": {
        value: ("", f"with {value} reviews", f"reviews are {value}")
        for value in ("excellent", "good", "average", "poor")
    },
    "children": {
        "yes": ("family-friendly", "", "children are welcome"),
        "no": ("adults-only", "", "only adults are admitted"),
    },
}
VALUES = {key: tuple(forms) for key, forms in FORMS.items()}
PAIRS = (("food", "area", 8), ("type", "price", 4))


def rows(split, count, seed=0):
    """`count` rows of "train", "validation" or "test": dicts with "prompt", "completion" and "slots"."""
    if split not in ("train", "validation", "test"):
        raise ValueError(f"split must be 'train', 'validation' or 'test', not {split!r}")
    rng, drawn = Random(f"{NAME} {split} {seed}"), []
    for _ in range(count):
        slots = _slots(rng, split)
        prompt = " | ".join(f"{key} : {value}" for key, value in slots.items()) + " ||"
        drawn.append({"prompt": prompt, "completion": " " + _describe(rng, slots), "slots": slots})
    return drawn


def split_of(remainder):
    """The split that a remainder stands for (see the top of this file)."""
    return {0: "test", 1: "validation"}.get(remainder, "train")


def _slots(rng, split):
    """Three to five slots: a name and values, drawn again until name and pairs belong to `split`."""
    while True:
        keys = rng.sample(KEYS[1:], rng.randint(2, 4))
        if split == "train" or any(first in keys and second in keys for first, second, _ in PAIRS):
            break
    slots = {key: rng.choice(VALUES[key]) for key in KEYS if key in keys and key in VALUES}
    slots["name"] = _name(rng, split)
    if "near" in keys:
        slots["near"] = f"{town(rng)} {rng.choice(LANDMARKS)}"
    for first, second, modulus in PAIRS:
        while first in slots and second in slots and pair_split(slots, first, second, modulus) != split:
            slots[first], slots[second] = rng.choice(VALUES[first]), rng.choice(VALUES[second])
    return {key: slots[key] for key in KEYS if key in slots}


def pair_split(slots, first, second, modulus):
    """The split of a pair of values."""
    position, other = VALUES[first].index(slots[first]), VALUES[second].index(slots[second])
    return split_of((position + other) % modulus)


def _name(rng, split):
    while True:
        i, j = rng.randrange(len(words.SIGN_ADJECTIVE)), rng.randrange(len(words.SIGN_NOUN))
        k = rng.randrange(len(NAME_STYLES))
        if split_of((i + 2 * j + k) % 8) == split:
            return NAME_STYLES[k].format(words.SIGN_ADJECTIVE[i], words.SIGN_NOUN[j])


def _describe(rng, slots):
    """One of two ways: woven into one sentence, or a short sentence for each value, two and two joined."""
    forms = {key: _forms(key, value) for key, value in slots.items() if key not in ("name", "type")}
    name, kind = slots["name"], slots.get("type", "place")
    if rng.random() < 0.5:
        before = [forms[key][0] for key in ("price", "children", "food") if key in forms]
        after = [forms[key][1] for key in ("area", "near", "rating") if key in forms]
        sentences = [" ".join([name, "is a", *before, kind, *after])]
    else:
        said = [sentence for _, _, sentence in forms.values()]
        sentences = [f"{name} is a {kind}"]
        sentences += [", and ".join(said[i : i + 2]) for i in range(0, len(said), 2)]
    return articles(" ".join(capital(sentence) + "." for sentence in sentences))


def _forms(key, value):
    """(adjective, phrase, sentence) for one slot."""
    if key == "near":
        return "", f"near {value}", f"it is close to {value}"
    return FORMS[key][value]


def stated(text):
    """key -> the values that `text` states for it; names and landmarks are known by how they are built."""
    found = {"name": set(_NAME.findall(text)), "near": set(_LANDMARK.findall(_NAME.sub("", text)))}
    for key, patterns in _PATTERNS.items():
        found[key] = {value for value, pattern in patterns.items() if pattern.search(text)}
    return found


def _either(options):
    return "|".join(re.escape(option) for option in options if option)


_SIGN = f"(?:{_either(words.SIGN_ADJECTIVE)}) (?:{_either(words.SIGN_NOUN)})"
_NAME = re.compile(rf"\b(?:The )?{_SIGN}\b(?: House\b| Kitchen\b)?")
_LANDMARK = re.compile(rf"\b[A-Z]\w+ (?:{_either(LANDMARKS)})\b")
_PATTERNS = {
    key: {value: re.compile(rf"\b(?:{_either(said)})\b", re.IGNORECASE) for value, said in forms.items()}
    for key, forms in FORMS.items()
}


def score(rows, outputs):
    """How well `outputs` (generated texts) state the slots of `rows`.

    "slots": the share of slots for which the text states the right value and no other.
    "exact": the share of rows with every slot right and nothing stated that the prompt did not give.
    "bleu": against the completion, one of the ways to say it (Papineni et al. 2002).
    """
    right = total = exact = 0
    for row, output in zip(rows, outputs, strict=True):
        found = stated(output)
        hits = sum(found[key] == {value} for key, value in row["slots"].items())
        invented = any(found[key] for key in KEYS if key not in row["slots"])
        right, total = right + hits, total + len(row["slots"])
        exact += hits == len(row["slots"]) and not invented
    written = bleu(outputs, [row["completion"] for row in rows])
    return {"slots": right / total, "exact": exact / len(rows), "bleu": written}
