"""Tables of two columns: who has what, told line by line, then turned round and told in another order.

"Anna - baker" becomes "baker - Anna". To say the second, a model has to find the word and look at what stood
before it, not behind it: the step that "whose is the cat?" needs as well, here many times in a document.
"""

from .. import question_answering as qa
from .. import words
from ..splits import partner

FORWARD = ("* {} {}", "* {} - {}", "* {}, {}")
TURNED = ("- {1} {0}", "- {1} - {0}", "- {1}? {0}!")


def tables(rng):
    """Two tables, each in three tellings."""
    return "\n\n".join(_table(rng) for _ in range(2))


def _table(rng):
    pairs = _pairs(rng)
    forms = [rng.choice(FORWARD), rng.choice(TURNED), rng.choice(FORWARD + TURNED)]
    return "\n".join(form.format(*pair) for form in forms for pair in rng.sample(pairs, len(pairs)))


def _pairs(rng):
    """[(name, value)] for four to six people and one trait; no value occurs twice."""
    values, pairs = list(rng.choice(list(qa.TRAITS.values()))[0]), []
    for name in rng.sample(words.PEOPLE, rng.randint(4, 6)):
        value = partner(rng, "train", name, values)
        if value is not None:
            values.remove(value)
            pairs.append((name, value))
    return pairs
