"""From easy to hard: one person and one thing first, then two, and soon anything.

A model that is shown five people with two traits each from the start learns to guess among them, and stays
there; shown one, then one or two, then more, it learns to look up whose a thing is. Repeating one step alone
until it is learnt makes the next one harder: so the steps are short, and easy documents stay in the mix.
"""

RAMP = 60_000  # documents until the hardest may come


def hardness(rng, n):
    """How hard document number n is: from 0, the easiest, to a limit that grows with n from 0.1 to 1."""
    return rng.random() * (0.1 + 0.9 * min(1.0, n / RAMP))


def up_to(hard, low, high):
    """A whole number from `low` (hard = 0) to `high` (hard = 1), each for an equal share of the way."""
    return low + min(high - low, int(hard * (high - low + 1)))
