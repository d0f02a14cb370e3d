"""Generation: with a KV cache and without the same tokens, batched and one by one; sampling; beams."""

import math

import numpy as np
import pytest
from every_site import EverySite
from small import CONFIG, scramble, small_model, texts

from minipeft import GPT2, Full, InputError, LoRA, PeftModel, generate
from minipeft.app.pretrain import train_tokenizer
from minipeft.config import GPT2Config
from minipeft.generate import TextStream, neighbours, penalised, sample

METHODS = [[], Full(), LoRA(r=2, target_modules="all-linear"), EverySite(), [EverySite(1), EverySite(1, "b")]]


UNTIED = GPT2Config(**(vars(CONFIG) | {"tie_word_embeddings": False}))  # a tied head tends to repeat itself


def model_with(method):
    peft = PeftModel(small_model(config=UNTIED), method)
    scramble(peft.tensors)
    return peft


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_with_a_cache_and_without_the_same_tokens(method):
    peft, prompts = model_with(method), texts((3, 1, 6))
    cached = peft.generate_ids(prompts, max_new_tokens=9)
    assert cached == peft.generate_ids(prompts, max_new_tokens=9, use_cache=False)
    assert any(len(set(new)) > 2 for new in cached)  # they say something


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_batched_and_one_by_one_the_same_tokens(method):
    peft, prompts = model_with(method), texts((3, 1, 6))
    together = peft.generate_ids(prompts, max_new_tokens=9)
    assert together == [peft.generate_ids([p], max_new_tokens=9)[0] for p in prompts]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("threads", ["1", "3"])
def test_the_number_of_threads_does_not_change_the_tokens(method, threads, monkeypatch):
    peft, prompts = model_with(method), texts((3, 1, 6, 2, 2))
    options = [{}, {"use_cache": False}, {"do_sample": True}, {"num_beams": 2}]
    monkeypatch.setenv("MINIPEFT_THREADS", "2")
    expected = [peft.generate_ids(prompts, max_new_tokens=7, **each) for each in options]
    monkeypatch.setenv("MINIPEFT_THREADS", threads)
    assert [peft.generate_ids(prompts, max_new_tokens=7, **each) for each in options] == expected


@pytest.mark.parametrize(
    "lengths, n, parts",
    [
        ([1] * 8, 2, [(0, 4), (4, 8)]),
        ([1] * 5, 2, [(0, 3), (3, 5)]),
        ([9, 1, 1, 1], 2, [(0, 1), (1, 4)]),
        ([1, 1, 9], 3, [(0, 3)]),
        ([4], 3, [(0, 1)]),
    ],
)
def test_neighbours_share_a_thread(lengths, n, parts):
    assert neighbours(lengths, n) == parts


@pytest.mark.parametrize("S, parts", [(6, 2), (7, 1), (16, 1), (17, 2)])
def test_so_many_sequences_of_a_decode_step_are_one_part(S, parts, monkeypatch):
    seen, run = [], generate.map_shards
    monkeypatch.setenv("MINIPEFT_THREADS", "2")
    monkeypatch.setattr(generate, "map_shards", lambda f, shards: seen.append(len(shards)) or run(f, shards))
    prompts = texts([2 + s % 3 for s in range(S)])
    together = small_model().generate_ids(prompts, max_new_tokens=3, eos_token_id=[])
    assert seen == [2, parts, parts]  # the prompts themselves are dealt out
    assert together == [
        small_model().generate_ids([p], max_new_tokens=3, eos_token_id=[])[0] for p in prompts
    ]


def test_greedy_takes_the_likeliest_token_of_the_logits():
    model, (ids,) = small_model(), texts((4,))
    for token in model.generate_ids([ids], max_new_tokens=6)[0]:
        assert token == model.logits([ids])[0][-1].argmax()
        ids = [*ids, token]


def test_a_sequence_stops_at_the_end_token_and_the_others_go_on():
    model, prompts = small_model(), texts((3, 1, 6, 4))
    free = model.generate_ids(prompts, max_new_tokens=9)
    end = free[0][2]  # as if this had been the end token
    stopping = GPT2(GPT2Config(**(vars(CONFIG) | {"eos_token_id": end})), model.weights)
    expected = [new[: new.index(end)] if end in new else new for new in free]
    assert len(expected[0]) <= 2 and any(len(e) == 9 for e in expected)
    for use_cache in (True, False):
        assert stopping.generate_ids(prompts, max_new_tokens=9, use_cache=use_cache) == expected


def test_the_prompts_are_left_alone_and_tokens_are_streamed():
    model, prompts, seen = small_model(), texts((3, 2)), {0: [], 1: []}
    before = [list(p) for p in prompts]
    new = model.generate_ids(prompts, max_new_tokens=5, on_token=lambda i, t: seen[i].append(t))
    assert prompts == before and [seen[0], seen[1]] == new


def brute_force_best(model, prompt, length):
    """The likeliest of all continuations of a length, by trying every one."""
    V, best = model.config.vocab_size, (-np.inf, None)
    from itertools import product

    for new in product(range(V), repeat=length):
        z = model.logits([[*prompt, *new]])[0][len(prompt) - 1 : -1]
        logp = (z - np.log(np.exp(z).sum(1, keepdims=True)))[np.arange(length), new].sum()
        best = max(best, (logp, list(new)))
    return best[1]


def test_enough_beams_find_the_likeliest_continuation():
    config = GPT2Config(vocab_size=6, n_positions=12, n_embd=8, n_layer=1, n_head=2, eos_token_id=6)
    for seed in range(4):
        model = small_model(config=config, seed=seed)
        model.config.eos_token_id = -1  # no end
        found = model.generate_ids([[1, 2]], max_new_tokens=3, num_beams=36)[0]
        assert found == brute_force_best(model, [1, 2], 3)


def test_sampling_follows_the_distribution():
    z, rng = np.log(np.array([0.5, 0.3, 0.15, 0.05])), np.random.default_rng(0)

    def share(**options):
        options = {"temperature": 1.0, "top_k": 0, "top_p": 1.0} | options
        draws = [sample(z, **options, rng=rng) for _ in range(4000)]
        return np.bincount(draws, minlength=4) / 4000

    assert np.allclose(share(), [0.5, 0.3, 0.15, 0.05], atol=0.03)
    assert np.allclose(share(top_k=2), [0.625, 0.375, 0, 0], atol=0.03)
    assert np.allclose(share(top_p=0.7), [0.625, 0.375, 0, 0], atol=0.03)  # the smallest set with 0.7 or more
    squared = np.array([0.25, 0.09, 0.0225, 0.0025])
    assert np.allclose(share(temperature=0.5), squared / squared.sum(), atol=0.03)


def test_sampling_is_the_same_for_the_same_seed():
    model, prompts = small_model(), texts((3, 2))
    options = {"do_sample": True, "temperature": 2.0, "max_new_tokens": 8}
    one, same, other = (model.generate_ids(prompts, seed=s, **options) for s in (1, 1, 2))
    assert one == same != other


def test_repetition_penalty_divides_positive_and_multiplies_negative_scores():
    z = np.array([2.0, -1.0, 3.0, -4.0])
    assert penalised(z, [0, 1, 0], 2.0).tolist() == [1.0, -2.0, 3.0, -4.0] and z[0] == 2.0


@pytest.mark.parametrize(
    "prompt, options, message",
    [
        ([], {}, "sequence 0 is empty"),
        ([1, 99], {}, "token id 99 is not in 0 ... 60"),
        ([1] * 20, {"max_new_tokens": 9}, "20 tokens \\+ 9 to come do not fit the model's 24 positions"),
        ([1], {"do_sample": True, "temperature": 0}, "temperature must be above 0"),
        ([1], {"do_sample": True, "top_p": 0}, "top_p must be above 0"),
        ([1], {"num_beams": 0}, "num_beams"),
        ([1], {"max_new_tokens": 2.0}, "max_new_tokens must be a whole number, 1 or more, not 2.0"),
        ([1], {"num_beams": 2, "on_token": print, "max_new_tokens": 3}, "leave out on_token"),
        ([1.5], {}, "sequence 0: want a list of token ids"),
        (1, {}, "sequence 0: want a list of token ids"),
        ([1], {"repetition_penalty": 0}, "repetition_penalty must be above 0"),
        ([1], {"repetition_penalty": "1.2"}, r"repetition_penalty must be above 0, not '1\.2'"),
        ([1], {"do_sample": True, "temperature": "hot"}, "temperature must be above 0, not 'hot'"),
        ([1], {"do_sample": True, "top_p": math.nan}, "top_p must be above 0 and at most 1, not nan"),
        ([1], {"top_k": 2.5}, r"top_k must be a whole number, 0 or more, not 2\.5"),
        ([1], {"eos_token_id": "end"}, "eos_token_id must be a token id, or a list of them, not 'end'"),
        ([1], {"num_beams": 2, "length_penalty": 1e5}, "length_penalty must be a number from -50 to 50"),
        ([1], {"num_beams": 2, "do_sample": True, "max_new_tokens": 3}, "beam search does not sample"),
    ],
)
def test_bad_requests_are_refused(prompt, options, message):
    with pytest.raises(InputError, match=message):
        small_model().generate_ids([prompt], **options)


def test_no_prompts_have_no_answers_and_an_end_token_may_stand_alone():
    model = small_model()
    assert model.generate_ids([]) == model.logits([]) == []
    (new,) = model.generate_ids([[1, 2]], max_new_tokens=9)
    for end in (new[3], [new[3]]):
        assert model.generate_ids([[1, 2]], max_new_tokens=9, eos_token_id=end) == [new[: new.index(new[3])]]
    draws = [model.generate_ids([[1]], max_new_tokens=5, do_sample=True, top_k=k) for k in (0, None)]
    assert draws[0] == draws[1]


def test_text_as_it_comes_is_of_one_prompt_of_whole_characters():
    model = small_model()
    model.tokenizer = train_tokenizer(["a"], CONFIG.vocab_size)
    with pytest.raises(InputError, match="on_text is for one prompt, and there are 2 prompts"):
        model.generate(["a", "a"], on_text=print)
    with pytest.raises(InputError, match="the prompt: no text: half a character"):
        model.generate("a\ud83d")


def test_text_needs_a_tokenizer():
    with pytest.raises(InputError, match="no tokenizer"):
        small_model().generate("hello")


def test_a_stream_of_text_is_the_whole_text_and_cuts_no_character():
    tokenizer = train_tokenizer(["Grüße, 世界"], 260)  # most characters take several tokens
    text = "naïve 世界 🙂!"
    ids = tokenizer.encode(text).ids
    stream = TextStream(tokenizer)
    pieces = [stream.add(token) for token in ids]
    assert "".join(pieces) == text and pieces.count("") > 5 and stream.rest() == ""
    for broken in (ids[:-2], ids[8:], [*ids[6:8], *ids]):  # begins or ends inside a character
        stream = TextStream(tokenizer)
        assert "".join(map(stream.add, broken)) + stream.rest() == tokenizer.decode(broken)
