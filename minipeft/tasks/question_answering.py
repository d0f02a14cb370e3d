"""Question answering: a passage about two or three people and a question -> a word of the passage.

    prompt      passage: Anna is a baker and lives in Alder. Ben has a cat. Ben lives in Dover.
                question: who lives in Dover?
                answer:
    completion  " Ben"

Splits: a person and what is said of this person are a pair that belongs to one split (`splits.partner`).
"""

from random import Random

from ..data.metrics import exact_match, f1
from . import words
from .splits import check_split, partner

NAME = "question-answering"
PRIMARY = "exact"  # the score to compare methods by
CHOICES = None
MAX_NEW_TOKENS = 6

# A trait: the values it may have, how a passage states it, and the questions for its value and for its owner.
TRAITS = {
    "job": (words.JOBS, "is a {}", "what is the job of {}?", "who is a {}?"),
    "home": (words.TOWNS, "lives in {}", "where does {} live?", "who lives in {}?"),
    "pet": (words.PETS, "has a {}", "which animal does {} have?", "who has a {}?"),
    "hobby": (words.HOBBIES, "likes {}", "what does {} like?", "who likes {}?"),
}


def rows(split, count, seed=0):
    """`count` rows of "train", "validation" or "test": dicts with "prompt" and "completion"."""
    check_split(split)
    rng, drawn = Random(f"{NAME} {split} {seed}"), []
    for _ in range(count):
        people = group(rng, split)
        question, answer = ask(rng, people)
        prompt = f"passage: {passage(rng, people)}\nquestion: {question}\nanswer:"
        drawn.append({"prompt": prompt, "completion": f" {answer}"})
    return drawn


def group(rng, split):
    """{name: {trait: value}}: two or three people with two traits each; no value occurs twice."""
    names, people, taken = rng.sample(words.PEOPLE, rng.randint(2, 3)), {}, set()
    for name in names:
        people[name] = {}
        for trait in rng.sample(list(TRAITS), 2):
            value = partner(rng, split, name, [v for v in TRAITS[trait][0] if v not in taken])
            if value is None:  # no free value forms a pair of this split with the name: begin again
                return group(rng, split)
            people[name][trait] = value
            taken.add(value)
    return people


def passage(rng, people):
    """Prose that states every trait: two in a sentence or one in each, the people in any order."""
    sentences = []
    for name, traits in people.items():
        said = [_with_article(TRAITS[trait][1], value) for trait, value in traits.items()]
        rng.shuffle(said)
        sentences += (
            [f"{name} {' and '.join(said)}."] if rng.random() < 0.5 else [f"{name} {s}." for s in said]
        )
    rng.shuffle(sentences)
    return " ".join(sentences)


def ask(rng, people):
    """A question about one trait, and its answer: the value, or its owner."""
    name = rng.choice(list(people))
    trait = rng.choice(list(people[name]))
    value, (_, _, of_value, of_owner) = people[name][trait], TRAITS[trait]
    if rng.random() < 0.5:
        return of_value.format(name), value
    return _with_article(of_owner, value), name


def _with_article(form, value):
    return form.replace("a {}", f"{words.article(value)} {{}}").format(value)


def score(rows, outputs):
    """ "exact": the share of right answers; "f1": the mean F1 of their words."""
    answers = [row["completion"] for row in rows]
    return {"exact": exact_match(outputs, answers), "f1": f1(outputs, answers)}
