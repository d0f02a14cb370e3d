"""Language lessons: numbers, dates and times of day in English, German and French."""

from ..translation import english, expression, french, german

FORMS = (
    "* {e} = {g} = {f}",
    "in German, {e} is {g}; in French, {f}.",
    "so {f} is French for {e}, {g} is German.",
    "the German {g} means {e}, and so does the French {f}.",
    "- how do you say {e}? - {g}, or in French {f}.",
)


def lessons(rng):
    """Four to seven expressions in the three languages; all lines of a lesson have one form."""
    form = rng.choice(FORMS)
    meanings = [expression(rng, "train") for _ in range(rng.randint(4, 7))]
    return "\n".join(form.format(e=english(*m), g=german(*m), f=french(*m)) for m in meanings)
