"""Which of a model's weights matter most: how `Sparse` chooses the few that it trains."""

import numpy as np

from ...backend import to_host
from ...data.batches import pack
from ...errors import check_choice
from ...speed.quantized import check_can_train, dequantized

KINDS = ("random", "magnitude", "fisher")


def choose(model, names, K, importance, pairs, rng):
    """The K most important weights of the parameters `names`, all together: {name: i}, flat, sorted, int32.

    A parameter with none of them is left out. pairs: of token ids, for "fisher". Raises InputError for an
    importance that is not known.
    """
    check_choice("importance", importance, KINDS)
    check_can_train(model.weights, names)  # before Fisher information is taken
    weights = {name: model.weights[name] for name in names}
    sizes = [w.size for w in weights.values()]
    if importance == "random":
        chosen = np.sort(rng.choice(sum(sizes), K, replace=False, shuffle=False))
    elif importance == "magnitude":
        chosen = largest([abs(to_host(dequantized(w))) for w in weights.values()], K)
    else:
        chosen = largest([to_host(F) for F in fisher_information(model, names, pairs).values()], K)
    ends = np.cumsum(sizes)  # the parameters laid one behind the other
    parts = np.split(chosen, np.searchsorted(chosen, ends[:-1]))
    begins = ends - sizes
    return {
        name: (part - begin).astype(np.int32)
        for name, part, begin in zip(names, parts, begins, strict=True)
        if len(part)
    }


def largest(scores, K):
    """Where the K largest of all the scores are, as indices into them laid one behind the other, sorted.

    Exactly K: of equal scores the first are taken.
    """
    flat = np.concatenate([s.ravel() for s in scores])
    least = np.partition(flat, len(flat) - K)[len(flat) - K]
    above, equal = np.flatnonzero(flat > least), np.flatnonzero(flat == least)
    return np.sort(np.concatenate([above, equal[: K - len(above)]]))


def fisher_information(model, names, pairs):
    r"""$F = \frac1N \sum_n (\nabla_W \log p(y_n | x_n))^2$ for each W of `names`: {name: F, of W's shape}.

    The diagonal of the empirical Fisher information: how much the model's answers depend on each weight.
    pairs: N of (prompt ids x, completion ids y). Each is a batch of its own, because the square of a batch's
    gradient is not the sum of the squares. (Sung et al. 2021, section 3)
    """
    fisher = dict.fromkeys(names, 0.0)
    for pair in pairs:
        for name, g in model.grad_sums(pack([pair]), names).items():  # of -log p(y | x), over y's tokens
            g *= g
            g /= len(pairs)
            fisher[name] += g
    return fisher
