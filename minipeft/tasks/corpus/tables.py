"""Tables of two columns: who has what, told line by line, then turned round and told in another order.

"Anna - baker" becomes "baker - Anna". To say the second, a model has to find the word and look at what stood
before it, not behind it: the step that "whose is the cat?" needs as well, here many times in a document.
"""

from .. import question_answering as qa
from .. import words
from ..splits import partner
from .codes import code
from .difficulty import up_to
from .marks import known

FORWARD = ("* {} {}", "* {} - {}", "* {}, {}", "- {} -> {}", "| {} | {} |")
TURNED = ("- {1} {0}", "- {1} - {0}", "- {1}? {0}!", "* {1} = {0}", "| {1} | {0} |")


def tables(rng, hard):
    """One or two tables of one to seven rows, each in three tellings."""
    rows = up_to(hard, 1, 7)
    return "\n\n".join(_table(rng, rows) for _ in range(1 if rows > 3 else 2))


def _table(rng, rows):
    pairs = rng.choice((owners, owners, numbered, coded))(rng, rows)
    said = rng.choice(FORWARD)
    told = [said.format(*pair) for pair in pairs]
    again = rng.choice((FORWARD, TURNED))
    for forms in rng.sample((TURNED, again), 2):
        told += retold(rng, pairs, rng.choice(forms))
    return "\n".join(told)


def retold(rng, pairs, form):
    """The lines again: what stands second can be read off; in the order of before, all of it can."""
    turned = form in TURNED
    in_order = rng.random() < 0.3
    lines = []
    for left, right in pairs if in_order else rng.sample(pairs, len(pairs)):
        left, right = (known(left), right) if turned else (left, known(right))
        if in_order:
            left, right = (left, known(right)) if turned else (known(left), right)
        lines.append(form.format(left, right))
    return lines


def owners(rng, rows):
    """[(name, value)]: people and one trait; no value occurs twice."""
    values, pairs = list(rng.choice(list(qa.TRAITS.values()))[0]), []
    for name in rng.sample(words.PEOPLE, rows):
        value = partner(rng, "train", name, values)
        if value is not None:
            values.remove(value)
            pairs.append((name, value))
    return pairs


def numbered(rng, rows):
    """[(thing, number)], the numbers in digits."""
    numbers = map(str, rng.sample(range(1, 1000), rows))
    return list(zip(rng.sample(words.THINGS, rows), numbers, strict=True))


def coded(rng, rows):
    """[(name, code)]."""
    return [(name, code(rng)) for name in rng.sample(words.PEOPLE, rows)]
