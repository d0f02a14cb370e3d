"""Documents that are no text: tokens drawn at random from the whole vocabulary, and said again.

With no meaning to go by, all there is to learn is where to look: at what came after the same token before, or
at what stood before it. A model that has read text for some million tokens learns both from these within half
a million, and then has both for text. And every token is met, those too that no text of this corpus holds.
"""

from .difficulty import up_to

LONGEST, RECORDS = 40, 12  # tokens that are said twice; lines of a table


def pieces(rng, hard, config):
    """-> ids with the end token, and for each whether it counts."""
    drawn = rng.sample(range(config.vocab_size - 1), LONGEST)  # all different
    ids, counts = rng.choice((twice, turned))(rng, hard, drawn, config.n_positions - 1)
    return [*ids, config.eos_token_id], [*counts, True]


def twice(rng, hard, drawn, room):
    """Two to LONGEST tokens, and again."""
    said = drawn[: rng.randint(2, min(up_to(hard, 4, LONGEST), room // 2))]
    return said + said, [False] * len(said) + [True] * len(said)


def turned(rng, hard, drawn, room):
    """A table of two columns, a token behind each line; then turned round, in another order.

    "a b ; c d ; d c ; b a ;" and, once it gets harder, "a - b ; c - d ; d - c ; b - a ;"
    """
    end, middle, *drawn = drawn
    between = [middle] if hard > 0.2 and rng.random() < 0.5 else []
    lines = rng.randint(1, min(up_to(hard, 2, RECORDS), room // (6 + 2 * len(between))))
    pairs = list(zip(drawn[:lines], drawn[lines : 2 * lines], strict=True))
    ids = [token for first, second in pairs for token in (first, *between, second, end)]
    counts = [False] * len(ids)
    for first, second in rng.sample(pairs, lines):
        ids += [second, *between, first, end]
        counts += [False] * (1 + len(between)) + [True, False]
    return ids, counts
