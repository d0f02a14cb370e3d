r"""What the model can do while it is being trained: asked by small tests, printed with the loss.

    lists        of random words said twice: the share of tokens of the second telling that it says right
    binding      two people with two traits each: the share of questions' tokens answered right
    right        kind of document -> the share of its marked tokens that it says right, of the harder half
    previous     the head that attends most to the token before:       mean of P[t, t - 1]
    induction    the head that attends most to what came after the     mean of P[t, t - L + 1]
                 same token before (in L random tokens said twice)     over the second telling

P = softmax(q k^T / sqrt(D)), causal. The last two are how a model of two layers or more copies (Olsson et al.
2022, "In-context learning and induction heads").
"""

from random import Random

import numpy as np

from ...gpt2 import forward
from . import KINDS, people
from .lists import ANYTHING
from .marks import known
from .reading import marked_ids, packed

EACH = 16  # documents of each kind
LENGTH, LISTS = 8, 32


def probe(model):
    """-> {"lists", "binding", "right": {kind: share}, "previous", "induction"} of a PeftModel."""
    texts = {
        kind: [write(rng, rng.uniform(0.5, 1)) for rng in randoms(kind, EACH)]
        for kind, (write, _) in KINDS.items()
    }
    return {
        "lists": share_right(model, [said_twice(rng) for rng in randoms("lists", LISTS)]),
        "binding": share_right(model, [two_by_two(rng) for rng in randoms("binding", 3 * EACH)]),
        "right": {kind: share_right(model, documents) for kind, documents in texts.items()},
        **attention(model),
    }


def randoms(name, count):
    """Generators for a probe: the same every time, and none of training's."""
    return [Random(f"probe {name} {i}") for i in range(count)]


def said_twice(rng):
    """Words of the corpus, and again."""
    said = ", ".join(rng.sample(ANYTHING, LENGTH))
    return f"there: {said}. and there: {known(said)}"


def two_by_two(rng):
    """A group of two people with two traits each, and questions about it."""
    group = people.drawn(rng, 2, 2)
    return f"{people.prose(rng, group)}\n{people.questions(rng, group, people.ANSWERED[0])}"


def share_right(model, marked):
    """Of the marked tokens of these documents, but the end, the share that the model holds likeliest."""
    read = [marked_ids(text, model.model.tokenizer, model.config) for text in marked]
    end = model.config.eos_token_id
    read = [(ids, [c and i != end for i, c in zip(ids, counts, strict=True)]) for ids, counts in read]
    hits = np.concatenate([model.scores(packed(read[i : i + EACH]))[1] for i in range(0, len(read), EACH)])
    return float(hits.mean()) if len(hits) else 0.0  # a model with few positions may see none


def attention(model):
    """The highest previous-token and induction scores of all heads: {name: [score, layer, head]}.

    model: one of which everything trains, so that every layer keeps its attention.
    """
    rng = np.random.default_rng(0)
    length = min(32, model.config.n_positions // 2)
    first = rng.integers(0, model.config.vocab_size, (EACH, length))
    sequences = np.concatenate([first, first], axis=1)
    batch = packed([(list(ids), [False] * len(ids)) for ids in sequences])
    step = model.step(grad_enabled=True)
    _, _, (_, *blocks) = forward(batch.ids, batch.layout, step)
    t, again = np.arange(1, 2 * length), np.arange(length, 2 * length)
    scores = {"previous": [], "induction": []}
    for (_, _, _, kept, *_), _ in blocks:
        P = np.stack(step.ops.attention_weights(kept))  # (S, H, T, T)
        scores["previous"].append(P[:, :, t, t - 1].mean((0, 2)))
        scores["induction"].append(P[:, :, again, again - length + 1].mean((0, 2)))
    found = {}
    for name, of_layers in scores.items():
        layer, head = np.unravel_index(np.argmax(of_layers), np.shape(of_layers))
        found[name] = [float(of_layers[layer][head]), int(layer), int(head)]
    return found
