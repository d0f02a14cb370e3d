"""A small template language: the whole corpus is written in it.

    (tea|coffee)     one of the alternatives
    [in the park]    this, or nothing
    {dish}           a fact of this document, a grammar rule, an invented name, or a word from a list
    {meal=dish}      the same, and remembered: every later {meal} is that dish
    {animal:plural}  inflected: plural, past, participle, ing, third_person, possessive, capital

The parts nest. A rule is a tuple of templates, of which one is chosen.
"""

import re
from functools import cache

from .. import words
from . import grammar, names

RULES = {}  # rule name -> tuple of templates; each subject's module adds its own

INFLECTIONS = {
    "plural": grammar.plural,
    "past": grammar.past,
    "participle": grammar.participle,
    "ing": grammar.ing,
    "third_person": grammar.third_person,
    "possessive": grammar.possessive,
    "capital": grammar.capital,
}


def write(rng, template, facts=None):
    """Expand `template` and tidy the result. What `{name=...}` remembers is added to `facts`."""
    return grammar.tidy(expand(rng, template, {} if facts is None else facts))


def slot(source):
    """The template that is one slot: "dish" -> "{dish}"."""
    return "{" + source + "}"


def writer_of(rule):
    """A function that writes one document by `rule`, about invented people `a`, `b`, `c` and a town `t`."""

    def write_document(rng):
        return write(rng, slot(rule), names.cast(rng, "a", "b", "c") | {"t": names.town(rng)})

    return write_document


def expand(rng, template, facts):
    """`template` with every choice made and every slot filled; no tidying."""
    return "".join(_expand_part(rng, part, facts) for part in _parse(template))


def _expand_part(rng, part, facts):
    if isinstance(part, str):
        return part
    if isinstance(part, list):
        return expand(rng, pick(rng, part), facts)
    key, source, inflection = part
    value = facts.get(key)
    if value is None:
        value = _draw(rng, source, facts)
        if key != source:
            facts[key] = value
    return INFLECTIONS[inflection](value) if inflection else value


def _draw(rng, source, facts):
    if source in RULES:
        return expand(rng, _unused(rng, source, RULES[source], facts), facts)
    if source in names.MAKERS:
        return names.MAKERS[source](rng)
    return _unused(rng, source, getattr(words, source.upper()), facts)


def _unused(rng, source, options, facts):
    """An option that this document has not used yet, as long as there is one."""
    used = facts.setdefault(f"used {source}", [])
    if len(used) >= len(options):
        used.clear()
    option = pick(rng, options)
    while option in used:
        option = pick(rng, options)
    used.append(option)
    return option


def pick(rng, options):
    """One of `options`, each as likely. The same on every machine and Python version, and fast."""
    return options[int(rng.random() * len(options))]


_SLOT = re.compile(r"(?:([\w.]+)=)?([\w.]+)(?::(\w+))?$")


@cache
def _parse(template):
    """The parts of a template: text, [alternatives], or a slot (key, source, inflection)."""
    parts, text, position = [], "", 0
    while position < len(template):
        letter = template[position]
        if letter not in "([{":
            text, position = text + letter, position + 1
            continue
        end = _closing(template, position)
        inner = template[position + 1 : end]
        if letter == "{":
            key, source, inflection = _SLOT.match(inner).groups()
            part = (key or source, source, inflection)
        else:
            part = _alternatives(inner) if letter == "(" else [inner, ""]
        parts, text, position = [*parts, text, part], "", end + 1
    return [part for part in [*parts, text] if part != ""]


def _closing(template, start):
    depth = 0
    for position in range(start, len(template)):
        depth += (template[position] in "([{") - (template[position] in ")]}")
        if depth == 0:
            return position
    raise ValueError(f"unbalanced bracket in template: {template!r}")


def _alternatives(text):
    """Split at the "|" that are not inside brackets."""
    options, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "|" and depth == 0:
            options.append("")
        else:
            options[-1] += letter
    return options
