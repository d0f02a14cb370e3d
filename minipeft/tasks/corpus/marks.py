"""Which characters of a document can be read off what came before: they stand between ⟨ and ⟩.

"Anna keeps a cat. whose is the cat? ⟨Anna⟩": who pays attention knows the second "Anna", nobody can know the
first. Most of a document written by rules is chance (who keeps what); a model that is asked for all of it
spends its weights on guessing. So in most documents the loss comes to count on the marked tokens alone
(reading.py). Lin et al. 2024, "Rho-1", choose tokens for the same reason.
"""

OPEN, CLOSE = "⟨⟩"


def known(text):
    """The text, marked."""
    return f"{OPEN}{text}{CLOSE}"


def without_marks(marked):
    """The document as it is read."""
    return marked.replace(OPEN, "").replace(CLOSE, "")


def read_marks(marked):
    """-> (the document as it is read, [a bool for each of its characters: is it marked?])."""
    inside, flags = 0, []
    for character in marked:
        if character in OPEN + CLOSE:
            inside += 1 if character == OPEN else -1
        else:
            flags.append(inside > 0)
    return without_marks(marked), flags
