"""People and what is known of them: a passage or a register, then talk in which it is asked for."""

from .. import question_answering as qa

SAID = {
    "job": ("works as a {}", "wants to be a {}"),
    "home": ("comes from {}", "has a house in {}"),
    "pet": ("keeps a {}", "looks after a {}"),
    "hobby": ("is fond of {}", "talks about {} all day"),
}
OF_VALUE = {
    "job": "what does {} work as?",
    "home": "where is {} from?",
    "pet": "which pet is kept by {}?",
    "hobby": "what is {} fond of?",
}
OF_OWNER = {
    "job": "do you know the {}?",
    "home": "who is from {}?",
    "pet": "whose is the {}?",
    "hobby": "who is fond of {}?",
}


def people(rng):
    """Two groups of people, each told once and asked about."""
    return "\n\n".join(_group(rng) for _ in range(2))


def _group(rng):
    group = qa.group(rng, "train")
    told = rng.choice((prose, prose, register))(rng, group)
    return f"{told}\n{questions(rng, group)}"


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
    return "it is known that " + " ".join(sentences)


def register(rng, group):
    """A line for each person."""
    form = rng.choice(("* {}: {}", "- {} - {}", "for {}, {}"))
    return "\n".join(form.format(name, ", ".join(traits.values())) for name, traits in group.items())


def questions(rng, group):
    """Every trait asked for, by its value or by its owner, in any order."""
    asked = [(name, trait, value) for name, traits in group.items() for trait, value in traits.items()]
    rng.shuffle(asked)
    form, lines = rng.choice(("Q. {} A. {}", "- {}\n- {}", "{} {}!")), []
    for name, trait, value in asked:
        if rng.random() < 0.5:
            lines.append(form.format(OF_VALUE[trait].format(name), value))
        else:
            lines.append(form.format(OF_OWNER[trait].format(value), name))
    return "\n".join(lines)
