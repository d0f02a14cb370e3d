"""Documents that are no text: tokens drawn at random from the whole vocabulary, and said again.

With no meaning to go by, all there is to learn is where to look: at what came after the same token before, or
at what stood before it. A model learns that here within half a million tokens and then uses it in every kind
of text; from text alone it had not after three million. And every token is met, those too that no text of
this corpus holds.
"""

LONGEST, RECORDS = 40, 12  # tokens that are said twice; records of a table


def pieces(rng, config):
    """-> ids with the end token, and for each whether it can be known."""
    drawn = rng.sample(range(config.vocab_size - 1), LONGEST)  # all different
    ids, counts = rng.choice((twice, twice, records, records))(rng, drawn, config.n_positions - 1)
    return [*ids, config.eos_token_id], [*counts, True]


def twice(rng, drawn, room):
    """Two to LONGEST tokens, and again."""
    said = drawn[: rng.randint(2, min(LONGEST, room // 2))]
    return said + said, [False] * len(said) + [True] * len(said)


def records(rng, drawn, room):
    """A table of records of two or three tokens, a token behind each; then by one of its tokens, the first.

    "a b ; c d ; d c ; b a ;" or "a b e ; c d f ; f c ; b a ; d c ; e a ;"
    """
    size, (end, *drawn) = rng.randint(2, 3), drawn
    most = min(RECORDS, len(drawn) // size, room // (4 * size))
    table = [drawn[i * size : (i + 1) * size] for i in range(rng.randint(1, max(1, most)))]
    asked = [(value, key) for key, *values in table for value in values]
    if size == 2 and rng.random() < 0.3:
        asked = table  # by the first token, the second
    ids = [token for record in table for token in (*record, end)]
    counts = [False] * len(ids)
    for given, found in rng.sample(asked, len(asked)):
        ids += [given, found, end]
        counts += [False, True, True]
    return ids, counts
