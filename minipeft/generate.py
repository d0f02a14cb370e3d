"""Generation: a KV cache, greedy decoding, sampling, beam search; any model with `step` (GPT2, PeftModel)."""

from copy import copy
from dataclasses import replace
from itertools import pairwise
from types import NoneType

import numpy as np

from . import gpt2
from .backend import like, to_host, xp_of
from .config import check_sequences
from .errors import InputError, SettingError, counted, whole_characters
from .layout import pack_ids
from .settings import fits, seeded
from .speed.parallel import map_shards, num_shards

ONE_PART = range(7, 17)  # so many sequences of a decode step are not dealt out: see `next_logits`


class KVCache:
    """Keys and values of every layer for S sequences, each with room for `capacity` rows.

    k[layer], v[layer]: (S capacity, C); sequence s owns rows from s * capacity, and uses the first
    lengths[layer, s]; the others are zeros. What a method put in front (a prefix) is part of it.
    """

    def __init__(self, config, S, capacity, like_array):
        xp, shape = xp_of(like_array), (S * capacity, config.n_embd)
        self.capacity = capacity
        self.k = [xp.zeros(shape, like_array.dtype) for _ in range(config.n_layer)]
        self.v = [xp.zeros(shape, like_array.dtype) for _ in range(config.n_layer)]
        self.lengths = np.zeros((config.n_layer, S), int)

    def append(self, layer, k, v, layout):
        """Add the rows of each sequence. -> all keys, all values, and the (begin, end) of each sequence's."""
        self.lengths[layer] += layout.lengths
        lengths = self.lengths[layer].tolist()
        spans = tuple((s * self.capacity, s * self.capacity + n) for s, n in enumerate(lengths))
        if layer == 0:  # the new rows are the same in every layer
            new = zip(spans, layout.lengths, strict=True)
            self.rows = like(k, np.concatenate([np.arange(end - n, end) for (_, end), n in new]))
        self.k[layer][self.rows] = k
        self.v[layer][self.rows] = v
        return self.k[layer], self.v[layer], spans

    def select(self, sequences):
        """Keep these sequences, in this order; one may be taken several times (beams)."""
        for cache in (self.k, self.v):
            for layer, each in enumerate(cache):
                rows = each.reshape(-1, self.capacity, each.shape[1])
                cache[layer] = rows[sequences].reshape(-1, rows.shape[2])
        self.lengths = self.lengths[:, sequences]

    def part(self, first, last):
        """The cache of the sequences from `first` up to `last` alone. It is the same memory."""
        part, rows = copy(self), slice(first * self.capacity, last * self.capacity)
        part.k, part.v = [k[rows] for k in self.k], [v[rows] for v in self.v]
        part.lengths = self.lengths[:, first:last]
        return part


# ------------------------------------------------------------------------------------ logits of the model


def logits(model, sequences, adapters=None):
    """[ids, ...] -> [(T, V), ...]: row t scores the token after ids[: t + 1]. Virtual tokens have no row.

    adapters: of a mixed batch, see `Layout`.
    """
    check_sequences(sequences, model.config, model.num_virtual_tokens)
    if not len(sequences):
        return []
    step = model.step()
    ids, layout = pack_ids(sequences, adapters)
    x, layout, _ = gpt2.forward(like(step.weights["wte.weight"], ids), layout, step)
    z = gpt2.logits(x[like(x, layout.text_rows)], step)
    return xp_of(z).split(z, np.cumsum([len(s) for s in sequences])[:-1])


def next_logits(step, sequences, adapters=None):
    """Scores of the token after each sequence, (S, V).

    With a KV cache in `step`, `sequences` holds what is new since the last call, and the rest is there.
    The sequences are dealt out to threads, which meet once a token; BLAS's own would meet in every product.
    In a decode step of ONE_PART BLAS's are faster: they share the reading of a weight (docs/performance.md).
    """

    def some(part):
        first, last = part
        own = replace(step, kv_cache=step.kv_cache and step.kv_cache.part(first, last))
        return next_logits_of(own, sequences[first:last], adapters and adapters[first:last])

    lengths = [len(s) for s in sequences]
    together = max(lengths) == 1 and len(lengths) in ONE_PART
    parts = neighbours(lengths, 1 if together else num_shards(step.weights["wte.weight"]))
    scores = map_shards(some, parts)
    return scores[0] if len(scores) == 1 else np.concatenate(scores)  # on a GPU there is one part


def neighbours(lengths, n):
    """Sequences of these lengths -> (first, last) of n parts, or fewer, with about as many tokens in each."""
    ends = np.cumsum(lengths)
    cuts = np.searchsorted(ends, ends[-1] * np.arange(1, n) / n) + 1
    return list(pairwise(sorted({0, *cuts.tolist(), len(lengths)})))


def next_logits_of(step, sequences, adapters=None):
    """The same, in one thread."""
    ids, layout = pack_ids(sequences, adapters)
    if step.kv_cache is not None and step.kv_cache.lengths[0].any():
        layout = replace(layout, starts=tuple(step.kv_cache.lengths[0].tolist()), fresh=False)
    x, layout, _ = gpt2.forward(like(step.weights["wte.weight"], ids), layout, step)
    last = np.array([b - 1 for _, b in layout.spans])
    return gpt2.logits(x[like(x, last)], step)


# --------------------------------------------------------------------------------------------- decoding


def generate_ids(
    model,
    prompts,
    max_new_tokens=40,
    do_sample=False,
    temperature=1.0,
    top_k=0,
    top_p=1.0,
    repetition_penalty=1.0,
    num_beams=1,
    length_penalty=1.0,
    seed=0,
    use_cache=True,
    eos_token_id=None,
    on_token=None,
    adapters=None,
):
    """Continue each prompt: [ids, ...] -> [new ids, ...], up to but without the end token.

    Names and meanings are those of `transformers`' generate. top_k 0 or None and top_p 1 keep every token;
    repetition_penalty counts the prompt too; num_beams > 1 is beam search, scored by the sum of
    log-probabilities over length ** length_penalty. eos_token_id: the token that ends a text, or a list of
    several (None: the model's end token). on_token(i, id) is called as tokens come, of one beam.
    adapters: of a mixed batch, see `Layout`. Two defaults are not those of `transformers`: max_new_tokens (20
    there), top_k (50 there, as long as a model's generation_config.json says nothing else).
    Raises InputError where a prompt and its continuation do not fit the model, and for a bad setting.
    """
    check_decoding(max_new_tokens, num_beams, top_k, repetition_penalty, length_penalty)
    if do_sample:
        check_sampling(temperature, top_p)
    if not fits(eos_token_id, int | tuple[int, ...] | NoneType):
        raise SettingError(
            "eos_token_id", f"{{}} must be a token id, or a list of them, not {eos_token_id!r}"
        )
    check_sequences(prompts, model.config, model.num_virtual_tokens, max_new_tokens)
    if not len(prompts):
        return []
    if num_beams > 1:
        if on_token:
            raise InputError("beam search knows its tokens at the end alone: leave out on_token and on_text")
        if do_sample:
            raise SettingError("do_sample", "beam search does not sample: leave out {}, or use one beam")
        if eos_token_id is not None:
            raise InputError("beam search ends a text with the model's end token: leave out eos_token_id")
        return [
            beam_search(model, p, max_new_tokens, num_beams, length_penalty, repetition_penalty, adapter)
            for p, adapter in zip(prompts, adapters or [None] * len(prompts), strict=True)
        ]
    rng = seeded(seed)

    def choose(_, z, so_far):
        z = penalised(z, so_far, repetition_penalty)
        return sample(z, temperature, top_k or 0, top_p, rng) if do_sample else int(z.argmax())

    if not do_sample and repetition_penalty == 1:
        choose = None
    if fits(eos_token_id, int):
        eos_token_id = [eos_token_id]
    return decode(model, prompts, max_new_tokens, choose, use_cache, on_token, adapters, eos_token_id)


def check_decoding(max_new_tokens, num_beams, top_k, repetition_penalty, length_penalty):
    """Raise SettingError for the first setting that is not of its type, or out of its range."""
    for name, number, least in (("max_new_tokens", max_new_tokens, 1), ("num_beams", num_beams, 1),
                                ("top_k", top_k or 0, 0)):  # fmt: skip
        if not fits(number, int) or number < least:
            raise SettingError(name, f"{{}} must be a whole number, {least} or more, not {number!r}")
    if not fits(repetition_penalty, float) or repetition_penalty <= 0:
        raise SettingError(
            "repetition_penalty", f"{{}} must be above 0, not {repetition_penalty!r}: 1 changes nothing"
        )
    if not fits(length_penalty, float) or abs(length_penalty) > 50:  # a length to its power is a float
        raise SettingError("length_penalty", f"{{}} must be a number from -50 to 50, not {length_penalty!r}")


def check_sampling(temperature, top_p):
    """The same of the settings that sampling alone reads."""
    if not fits(temperature, float) or temperature <= 0:
        raise SettingError(
            "temperature", f"{{}} must be above 0, not {temperature!r}: without sampling, decoding is greedy"
        )
    if not fits(top_p, float) or not 0 < top_p <= 1:
        raise SettingError("top_p", f"{{}} must be above 0 and at most 1, not {top_p!r}")


def decode(
    model, prompts, max_new_tokens, choose, use_cache=True, on_token=None, adapters=None, eos_token_id=None
):
    """One token at a time for all prompts at once; a sequence leaves the batch when it ends.

    choose(i, z, so_far): the next token of prompt i from its scores (V,), on the host; None: the likeliest,
    so that a number for each prompt is all that leaves a GPU. The tokens of eos_token_id end a prompt (None:
    the model's end token).
    """
    ends = {model.config.eos_token_id} if eos_token_id is None else set(eos_token_id)
    sequences = [list(p) for p in prompts]
    live = list(range(len(sequences)))  # the sequences still in the batch, in its order
    step = model.step(kv_cache=new_cache(model, sequences, max_new_tokens) if use_cache else None)
    new = sequences
    for _ in range(max_new_tokens):
        z = next_logits(step, new, adapters and tuple(adapters[i] for i in live))
        z = to_host(z.argmax(1) if choose is None else z)
        ended = set()
        for row, i in enumerate(live):
            token = int(z[row]) if choose is None else choose(i, z[row], sequences[i])
            if token in ends:
                ended.add(row)
                continue
            sequences[i].append(token)
            if on_token:
                on_token(i, token)
        if ended:
            going = [row for row in range(len(live)) if row not in ended]
            live = [live[row] for row in going]
            if not live:
                break
            if use_cache:
                step.kv_cache.select(going)
        new = [sequences[i][-1:] if use_cache else sequences[i] for i in live]
    return [s[len(p) :] for s, p in zip(sequences, prompts, strict=True)]


def new_cache(model, sequences, max_new_tokens):
    """A KV cache with room for the sequences, what methods put in front, and what is to come."""
    capacity = model.num_virtual_tokens + max(map(len, sequences)) + max_new_tokens
    return KVCache(model.config, len(sequences), capacity, model.weights["wte.weight"])


def penalised(z, so_far, penalty):
    """Scores of tokens that occurred already, divided by the penalty, or multiplied by it where negative.

    Keskar et al. 2019, section 4.1; with the second case as in `transformers`.
    """
    if penalty == 1:
        return z
    z, seen = z.copy(), list(set(so_far))
    z[seen] = np.where(z[seen] > 0, z[seen] / penalty, z[seen] * penalty)
    return z


def sample(z, temperature, top_k, top_p, rng):
    """Draw from softmax(z / temperature), among the top_k likeliest and the top_p nucleus.

    Holtzman et al. 2020, section 3.1: the smallest set of likeliest tokens with probability top_p or more.
    """
    z = z.astype(np.float64)
    with np.errstate(over="ignore"):  # a tiny temperature: the likeliest has 0, all others -inf
        z = (z - z.max()) / temperature
    if 0 < top_k < len(z):
        z[z < np.partition(z, -top_k)[-top_k]] = -np.inf
    p = np.exp(z)
    p /= p.sum()
    if top_p < 1:
        order = np.argsort(-p, kind="stable")
        before = np.cumsum(p[order]) - p[order]  # the probability of what is likelier
        p[order[before >= top_p]] = 0
        p /= p.sum()
    return int(rng.choice(len(p), p=p))


def beam_search(
    model, prompt, max_new_tokens, num_beams, length_penalty=1.0, repetition_penalty=1.0, adapter=None
):
    """The likeliest continuation that `num_beams` beams find, by log-probability / length ** length_penalty.

    A beam that ends is set aside with its score; the search is over when num_beams are set aside and no
    live beam can still beat the worst of them at its present length.
    """
    eos, ended = model.config.eos_token_id, []  # ended: (score, new ids)
    beams, totals = [list(prompt)], np.zeros(1)
    step = model.step(kv_cache=new_cache(model, beams, max_new_tokens))
    new = beams
    for length in range(1, max_new_tokens + 1):
        z = to_host(next_logits(step, new, None if adapter is None else (adapter,) * len(new)))
        z = log_softmax(z)
        z = np.stack([penalised(s, b, repetition_penalty) for s, b in zip(z, beams, strict=True)])
        total = totals[:, None] + z  # (beams, V)
        best = np.argsort(-total, axis=None, kind="stable")[: 2 * num_beams]  # at most half of them end
        parents, tokens = np.unravel_index(best, total.shape)
        going = []
        for rank, (parent, token) in enumerate(zip(parents.tolist(), tokens.tolist(), strict=True)):
            if token != eos:
                going.append((parent, token))
            elif rank < num_beams:
                ended.append((total[parent, token] / length**length_penalty, beams[parent][len(prompt) :]))
        going = going[:num_beams]
        totals = np.array([total[at] for at in going])
        beams = [[*beams[parent], token] for parent, token in going]
        ended = sorted(ended, key=lambda e: -e[0])[:num_beams]
        if len(ended) == num_beams and ended[-1][0] >= totals[0] / length**length_penalty:
            break
        step.kv_cache.select([parent for parent, _ in going])
        new = [b[-1:] for b in beams]
    else:
        ended += [
            (t / max_new_tokens**length_penalty, b[len(prompt) :]) for t, b in zip(totals, beams, strict=True)
        ]
    return max(ended, key=lambda e: e[0])[1]


def log_softmax(z):
    """Row-wise, in float64."""
    z = z.astype(np.float64)
    z -= z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


# ------------------------------------------------------------------------------------------------- text


CONTEXT = 16  # tokens before a text that decide how it is written: with a space, say


def continuation(tokenizer, prompt, ids):
    """The text of the tokens `ids` that follow those of `prompt`. Special tokens are part of it.

    The end of the prompt is decoded, too, and its text cut off: GPT-2's tokens are bytes and need no such
    care, but in other vocabularies a word has its space by what stands before it.
    """
    before = list(prompt[-CONTEXT:])
    whole = tokenizer.decode([*before, *ids], skip_special_tokens=False)
    known = tokenizer.decode(before, skip_special_tokens=False)
    if not whole.startswith(known):  # the prompt ends inside a character
        return tokenizer.decode(list(ids), skip_special_tokens=False)
    return whole[len(known) :]


class TextStream:
    """Tokens -> text as they come. A character may take several tokens: it comes with the last of them.

    prompt: the tokens before the first.
    """

    def __init__(self, tokenizer, prompt=()):
        self.tokenizer, self.before, self.waiting = tokenizer, list(prompt), []

    def add(self, token):
        """-> the text that this token completes; "" inside a character."""
        self.waiting.append(token)
        text = self.rest()
        if text.endswith("\N{REPLACEMENT CHARACTER}"):
            return ""
        self.before, self.waiting = [*self.before[-CONTEXT:], *self.waiting], []
        return text

    def rest(self):
        """-> what stands for a character that never became whole."""
        return continuation(self.tokenizer, self.before, self.waiting)


def generate(model, prompt, on_text=None, **options):
    """Text -> its continuation; a list of texts -> a list of continuations. Options: see `generate_ids`.

    on_text(piece): called with the continuation as it comes, "" where a character is not whole yet; for a
    single prompt.
    Raises InputError if the model has no tokenizer.
    """
    if model.tokenizer is None:
        raise InputError("this model has no tokenizer: use generate_ids, or give it one (model.tokenizer)")
    texts = [prompt] if isinstance(prompt, str) else list(prompt)
    prompts = [model.tokenizer.encode(whole_characters(text, "the prompt")).ids for text in texts]
    if on_text:
        if len(prompts) != 1:
            raise InputError(f"on_text is for one prompt, and there are {counted(len(prompts), 'prompt')}")
        stream = TextStream(model.tokenizer, prompts[0])
        options["on_token"] = lambda _, token: on_text(stream.add(token))
    outputs = model.generate_ids(prompts, **options)
    outputs = [continuation(model.tokenizer, p, ids) for p, ids in zip(prompts, outputs, strict=True)]
    if on_text:
        on_text(stream.rest())
    return outputs[0] if isinstance(prompt, str) else outputs
