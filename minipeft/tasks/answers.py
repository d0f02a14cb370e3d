"""A model's answers to a task's prompts: the likeliest of a few choices, or what it generates."""

from itertools import groupby

import numpy as np

from ..data.batches import pack
from ..errors import InputError, SettingError, counted
from ..generate import continuation
from ..ops import softmax

CHOOSING, GENERATING = 16, 50  # sequences in a batch


def answer(model, task, prompts, on_long="refuse", one_line=False, progress=True):
    """The model's answer to each prompt of the task, as text.

    Where the task has CHOICES, the likeliest of them (see `choose`), else at most MAX_NEW_TOKENS, greedily
    decoded (see `continue_all`).

    on_long: what to do with a prompt that leaves no room for an answer. "refuse" raises InputError; with
    "cut" and "drop" it loses its beginning (a row too long to train on is answered, too).
    one_line: an answer ends with its line, not with the end token: see `tasks.baselines.few_shot`.
    """
    if model.tokenizer is None:
        raise InputError(
            "the model has no tokenizer: put tokenizer.json (or vocab.json, merges.txt) beside it"
        )
    if task.CHOICES is not None:
        return choose(model, prompts, task.CHOICES, on_long, one_line, progress)
    return continue_all(model, prompts, task.MAX_NEW_TOKENS, on_long, one_line, progress)


def choose(model, prompts, choices, on_long="refuse", one_line=False, progress=True):
    r"""For each prompt the choice that is the likeliest continuation: no text has to be understood.

    $\arg\max_c \sum_t \log p(c_t \mid \mathrm{prompt}, c_{<t})$, over the tokens of the choice and the end
    token, the very sum that training makes large. With its end, " yes" is another answer than " yes, but",
    and a choice of more tokens needs no correction.
    """
    p = choice_probabilities(model, prompts, choices, on_long, one_line, progress)
    return [choices[i] for i in p.argmax(1)]


def choice_probabilities(model, prompts, choices, on_long="refuse", one_line=False, progress=True):
    """The probability of each choice after each prompt, (prompts, choices): normalised over the choices.

    The classes' probabilities, where the choices are labels: each row adds up to 1. See `choose`.
    """
    ids = lambda text: model.tokenizer.encode(text, add_special_tokens=False).ids
    end = ids("\n") if one_line else [model.config.end_token()]
    answers = [[*ids(choice), *end] for choice in choices]
    longest = max(map(len, answers))
    prompts = encoded(model, prompts, on_long, longest, longest)
    pairs, totals = [(prompt, answer) for prompt in prompts for answer in answers], []
    for i in bar(range(0, len(pairs), CHOOSING), progress):
        some = pairs[i : i + CHOOSING]
        logprob, _ = model.scores(pack(some))  # (M,): the answers' tokens, pair by pair
        ends = np.cumsum([len(answer) for _, answer in some])
        totals += [each.sum(dtype="float64") for each in np.split(logprob, ends[:-1])]
    return softmax(np.reshape(totals, (len(prompts), len(choices))))


def continue_all(model, prompts, max_new_tokens, on_long="refuse", one_line=False, progress=True):
    """Greedy decoding. A prompt that leaves room for less than max_new_tokens gets what room there is."""
    prompts = encoded(model, prompts, on_long, 1, max_new_tokens)
    ends = [model.config.eos_token_id, *(line_breaks(model.tokenizer) if one_line else ())]
    limit_of = lambda i: min(max_new_tokens, room_of(model) - len(prompts[i]))
    batches = []
    for limit, rows in groupby(sorted(range(len(prompts)), key=limit_of), key=limit_of):
        rows = list(rows)
        batches += [(limit, rows[i : i + GENERATING]) for i in range(0, len(rows), GENERATING)]
    outputs = {}
    for limit, rows in bar(batches, progress):
        ids = model.generate_ids([prompts[i] for i in rows], max_new_tokens=limit, eos_token_id=ends)
        for row, answer_ids in zip(rows, ids, strict=True):
            outputs[row] = continuation(model.tokenizer, prompts[row], answer_ids)
    return [outputs[i] for i in range(len(prompts))]


def encoded(model, prompts, on_long, least, wanted):
    """Prompts -> token ids, with room behind each for an answer of `least` tokens.

    One that is too long is refused, or keeps its end, so that there is room for `wanted` tokens, and for the
    prompt no less than half of what the model holds.
    """
    room, ids = room_of(model), [each.ids for each in model.tokenizer.encode_batch(list(prompts))]
    for i, prompt in enumerate(ids):
        if not prompt and not model.num_virtual_tokens:
            raise InputError(f"row {i + 1}: an empty prompt: nothing is there to answer")
        if len(prompt) + least <= room:
            continue
        if on_long == "refuse":
            raise SettingError(
                "on_long",
                f"row {i + 1}: a prompt of {counted(len(prompt), 'token')}, and {least} or more to come; the "
                f"model has room for {room}: choose {{}} cut, or shorten it",
            )
        ids[i] = prompt[-min(room - least, max(room - wanted, room // 2)) :]
    return ids


def room_of(model):
    """How many tokens of text the model can hold."""
    return model.config.n_positions - model.num_virtual_tokens


def line_breaks(tokenizer):
    """The tokens that hold a line break."""
    each = [[i] for i in range(tokenizer.get_vocab_size())]
    texts = tokenizer.decode_batch(each, skip_special_tokens=False)
    return [i for i, text in enumerate(texts) if "\n" in text]


def bar(batches, show):
    """The batches, with a progress bar."""
    from tqdm import tqdm

    return tqdm(batches, desc="score", unit="batch", disable=None if show else True)
