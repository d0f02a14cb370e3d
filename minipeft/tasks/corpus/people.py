"""People and what is known of them: a passage or a register, then talk in which it is asked for.

One person and one trait, or two, at first; at last four people with two traits each. Every trait may be asked
for by its owner and by its value, so a document has as many questions as facts, or more.
"""

from .. import question_answering as qa
from .. import words
from ..splits import partner
from .difficulty import up_to
from .marks import known

SAID = {
    "job": ("works as a {}", "wants to be a {}", "began as a {}"),
    "home": ("comes from {}", "has a house in {}", "moved to {}"),
    "pet": ("keeps a {}", "looks after a {}", "feeds a {}"),
    "hobby": ("is fond of {}", "talks about {} all day", "never tires of {}"),
}
OF_VALUE = {
    "job": ("what does {} work as?", "which job for {}?", "{}: the job?"),
    "home": ("where is {} from?", "which town for {}?", "{}: the town?"),
    "pet": ("which pet is kept by {}?", "which pet for {}?", "{}: the pet?"),
    "hobby": ("what is {} fond of?", "which hobby for {}?", "{}: the hobby?"),
}
OF_OWNER = {
    "job": ("do you know the {}?", "who is the {}?", "{}: which name?"),
    "home": ("who is from {}?", "whose town is {}?", "{}: which name?"),
    "pet": ("whose is the {}?", "who keeps the {}?", "{}: which name?"),
    "hobby": ("who is fond of {}?", "whose hobby is {}?", "{}: which name?"),
}
ANSWERED = ("Q. {} A. {}", "- {}\n- {}", "{} {}!", "- {} - {}.")


def people(rng, hard):
    """One group of people or more: the smaller, the more. Each is told once and asked about."""
    persons, traits = up_to(hard, 1, 4), 1 + (rng.random() < 0.25 + 0.5 * hard)
    groups = max(1, min(3, 6 // (persons * traits)))
    form = rng.choice(ANSWERED)
    return "\n\n".join(_group(rng, persons, traits, form) for _ in range(groups))


def _group(rng, persons, traits, form):
    group = drawn(rng, persons, traits)
    told = rng.choice((prose, prose, register))(rng, group)
    return f"{told}\n{questions(rng, group, form)}"


def drawn(rng, persons, traits):
    """{name: {trait: value}} of the split "train"; no value occurs twice."""
    group, taken = {}, set()
    for name in rng.sample(words.PEOPLE, persons):
        group[name] = {}
        for trait in rng.sample(list(qa.TRAITS), traits):
            value = partner(rng, "train", name, [v for v in qa.TRAITS[trait][0] if v not in taken])
            if value is not None:
                group[name][trait] = value
                taken.add(value)
    return group


def prose(rng, group):
    """A sentence for each person or for each trait, in any order."""
    sentences = []
    for name, traits in group.items():
        said = [rng.choice(SAID[trait]).format(value) for trait, value in traits.items()]
        rng.shuffle(said)
        sentences += (
            [f"{name} {' and '.join(said)}."] if rng.random() < 0.5 else [f"{name} {s}." for s in said]
        )
    rng.shuffle(sentences)
    return rng.choice(("it is known that ", "so: ", "- ")) + " ".join(sentences)


def register(rng, group):
    """A line for each person."""
    form = rng.choice(("* {}: {}", "- {} - {}", "for {}, {}"))
    return "\n".join(form.format(name, ", ".join(traits.values())) for name, traits in group.items())


def questions(rng, group, form):
    """Up to eight questions, in any order: for the value of a trait, or for its owner."""
    asked = []
    for name, traits in group.items():
        for trait, value in traits.items():
            asked.append((rng.choice(OF_VALUE[trait]).format(name), value))
            asked.append((rng.choice(OF_OWNER[trait]).format(value), name))
    some = rng.sample(asked, min(8, len(asked)))
    return "\n".join(form.format(question, known(answer)) for question, answer in some)
