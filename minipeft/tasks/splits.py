"""Which combinations of words training may show, and which are kept for the tests.

Every pair of words that a task combines belongs to one of the splits for good. A row of a split holds pairs
of that split alone: no training row holds a pair of a test row, and no document that the embedded model read
states one, though it has met each of the words.
"""

from zlib import crc32

SPLITS = ("train", "validation", "test")


def split_of(*words):
    """The split of a combination: of every eight one is "test", one "validation", six are "train"."""
    return {0: "test", 1: "validation"}.get(crc32(" ".join(words).encode()) % 8, "train")


def partner(rng, split, word, options):
    """One of `options` that forms with `word` a pair of `split`; None where none does."""
    options = [option for option in options if split_of(word, option) == split]
    return rng.choice(options) if options else None


def check_split(split):
    """Raise ValueError for a split that there is not."""
    if split not in SPLITS:
        raise ValueError(f"split must be 'train', 'validation' or 'test', not {split!r}")
