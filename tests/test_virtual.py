"""Virtual tokens: what prompt tuning, P-tuning and prefix tuning claim, and what `peft` computes.

reference/make_virtual.py made the stored numbers and says what each is.
"""

import json

import numpy as np
import pytest
from against import (
    REFERENCE,
    assert_same_logits,
    assert_same_loss_and_gradients,
    assert_ten_steps_follow,
    base,
    each_dtype,
    packed_logits,
    stored,
)
from every_method import TEXT, VIRTUAL
from small import count_products, logits, scramble, small_batch, small_model, snapshot, texts

from minipeft import MAM, GPT2Config, InputError, LoRA, PeftModel, UniPELT, ops
from minipeft.app.pretrain import train_tokenizer
from minipeft.files.json_files import read_json
from minipeft.files.tensors import read_safetensors
from minipeft.gradcheck import TOLERANCE, check_array
from minipeft.methods.embed.lstm import lstm
from minipeft.methods.embed.p_tuning import PTuning
from minipeft.methods.embed.prompt_tuning import PromptTuning
from minipeft.methods.keys_values.prefix_tuning import PrefixTuning

alone = [method for method in VIRTUAL.values() if not isinstance(method, list)]


@pytest.mark.parametrize("method", [m for m in alone if hasattr(m, "encode")], ids=str)
def test_gradients_of_the_encoder_alone(method):
    """Through the model they are faint: here they are of the table itself, along a random direction."""
    tensors, rng = PeftModel(small_model(), method).tensors, np.random.default_rng(0)
    scramble(tensors)
    table, cache = method.encode(tensors)
    direction = rng.standard_normal(table.shape)
    grads = method.encode_backward(direction, cache)
    assert grads.keys() == tensors.keys()
    for name, g in grads.items():
        error = check_array(lambda: (method.encode(tensors)[0] * direction).sum(), tensors[name], g, rng, 20)
        assert error < TOLERANCE, (name, error)


@pytest.mark.parametrize("method", [PromptTuning, PTuning, PrefixTuning])
def test_more_virtual_tokens_than_positions_are_refused(method):
    with pytest.raises(InputError, match="24 virtual tokens leave no room for text"):
        PeftModel(small_model(), method(24))


# --------------------------------------------------------------------------------------- what each one claims


def test_prompt_of_a_text_is_that_text():
    """Rows that are the embeddings of words, at the same positions: nothing tells them from the words."""
    model = small_model()
    peft = PeftModel(model, PromptTuning(len(TEXT), "TEXT", TEXT))
    for text, z in zip(texts(), peft.logits(texts()), strict=True):
        np.testing.assert_allclose(z, model.logits([[*TEXT, *text]])[0][len(TEXT) :], rtol=0, atol=1e-12)
    prompts = [[*TEXT, *text] for text in texts()]
    assert peft.generate_ids(texts(), max_new_tokens=6) == model.generate_ids(prompts, max_new_tokens=6)


def test_prefix_of_a_text_is_that_text():
    """Keys and values of words, the text at the same positions; of a longer one the first P are taken."""
    model = small_model()
    peft = PeftModel(model, PrefixTuning(3, init_text=TEXT))
    for text, z in zip(texts(), peft.logits(texts()), strict=True):
        np.testing.assert_allclose(z, model.logits([[*TEXT[:3], *text]])[0][3:], rtol=0, atol=1e-12)
    prompts = [[*TEXT[:3], *text] for text in texts()]
    assert peft.generate_ids(texts(), max_new_tokens=6) == model.generate_ids(prompts, max_new_tokens=6)


def test_a_shorter_text_is_repeated_and_words_are_rows_of_the_vocabulary():
    model = small_model()
    wte = model.weights["wte.weight"]
    table = PeftModel(model, PromptTuning(6, "TEXT", TEXT)).tensors["prompt_embeddings"]
    assert np.array_equal(table, wte[[*TEXT, *TEXT[:2]]])
    table = PeftModel(model, PromptTuning(6, "SAMPLE_VOCAB")).tensors["prompt_embeddings"]
    assert all((row == wte).all(1).any() for row in table)


def test_a_text_is_read_by_the_models_tokenizer():
    model = small_model(config=GPT2Config(vocab_size=280, n_positions=24, n_embd=12, n_layer=2, n_head=3))
    model.tokenizer = train_tokenizer(["aa ab ba bb " * 20], 280)
    ids = model.tokenizer.encode("aa ab ba").ids
    P = len(ids)
    for as_text, as_ids in (
        (PromptTuning(P, "TEXT", "aa ab ba"), PromptTuning(P, "TEXT", ids)),
        (PrefixTuning(P, init_text="aa ab ba"), PrefixTuning(P, init_text=ids)),
    ):
        tables = [PeftModel(model, method).tensors for method in (as_text, as_ids)]
        assert snapshot(tables[0]) == snapshot(tables[1])


def test_a_prefix_of_zeros_takes_attention():
    """Keys of zero have score 0 and values of zero say nothing: they weaken what attention says."""
    model = small_model()
    peft = PeftModel(model, PrefixTuning(3, init_weights="zero"))
    assert not np.any(peft.tensors["prefix_embeddings"])
    assert np.abs(logits(peft) - logits(model)).max() > 0.01
    shifted = PeftModel(model, [ShiftedPositions(3)])
    assert np.abs(logits(peft) - logits(shifted)).max() > 0.01  # and not by the positions alone


class ShiftedPositions(PrefixTuning):
    """What a prefix does to positions, without a prefix."""

    def init(self, model, rng):
        return {}

    def start(self, tensors, step):
        return tensors, None

    def keys_values(self, layer, k, v, keys, x, step):
        return k, v, keys, None


def test_the_share_of_a_zero_key_is_that_of_score_zero():
    """Of query t, P keys of zero take P / (P + sum exp(s)); their values of zero add nothing."""
    rng, T, P, D = np.random.default_rng(0), 4, 3, 5
    q, k, v = rng.standard_normal((3, T, D))
    zeros = np.zeros((P, D))
    o, _ = ops.attention(q, k, v, [(0, T)], [(0, T)], 1)
    k, v = np.concatenate([zeros, k]), np.concatenate([zeros, v])
    with_zeros, _ = ops.attention(q, k, v, [(0, T)], [(0, T + P)], 1)
    exp = np.tril(np.exp(q @ k[P:].T / D**0.5)).sum(1, keepdims=True)
    np.testing.assert_allclose(with_zeros, o * (1 - P / (P + exp)), rtol=1e-12)


def test_the_first_token_of_a_text_counts_behind_a_prompt_alone():
    batch, P = small_batch(shapes=((0, 5),)), 2
    for method, count in ((PromptTuning(P), 5), (PTuning(P), 5), (PrefixTuning(P), 4)):
        assert PeftModel(small_model(), method).loss_and_grad_sums(batch)[1] == count


@pytest.mark.parametrize("method", [m for m in alone if hasattr(m, "without_encoder")], ids=str)
def test_without_its_encoder_the_model_is_the_same(method):
    model = small_model()
    peft = PeftModel(model, method)
    scramble(peft.trainable)
    small = flattened(peft)
    assert type(small.method) is not PTuning and len(small.tensors) == 1
    assert small.num_trainable <= peft.num_trainable
    assert np.array_equal(logits(small), logits(peft))
    assert small.generate_ids(texts(), max_new_tokens=6) == peft.generate_ids(texts(), max_new_tokens=6)
    assert not any(np.shares_memory(a, b) for a in small.tensors.values() for b in peft.tensors.values())


def flattened(peft):
    """The model with the finished table in place of the encoder."""
    method, tensors = peft.method.without_encoder(peft.tensors)
    small = PeftModel(peft.model, method)
    for name, tensor in tensors.items():
        small.tensors[name][...] = tensor
    return small


def test_a_prefix_stops_the_backward_at_the_first_layers_keys(monkeypatch):
    """Nothing flows through h.0.attn.c_attn or below; a prompt needs all of it."""
    formed = count_products(monkeypatch)
    for method, layers in ((PrefixTuning(2), 11), (PromptTuning(2), 12)):
        formed.clear()
        PeftModel(small_model(), method).loss_and_grads(small_batch())
        assert formed == {"x": layers}


def test_the_lstm_does_not_overflow():
    inputs = [np.full(shape, 1e3, np.float32) for shape in ((4, 2), (2, 12), (3, 12), (12,), (12,))]
    with np.errstate(over="raise", invalid="raise"):
        h, _ = lstm(*inputs)
        lstm(-inputs[0], *inputs[1:])
    np.testing.assert_allclose(h[0], np.tanh(1), rtol=1e-6)  # all gates open: c = 1


@pytest.mark.parametrize(
    "method, message",
    [
        (PromptTuning(0), "num_virtual_tokens must be 1 or more, not 0"),
        (PTuning(0), "num_virtual_tokens must be 1 or more, not 0"),
        (PrefixTuning(-1), "num_virtual_tokens must be 1 or more, not -1"),
        (
            PromptTuning(3, "WORDS"),
            "prompt_tuning_init 'WORDS' is not known: choose from RANDOM, SAMPLE_VOCAB, TEXT",
        ),
        (PromptTuning(3, "TEXT"), "'TEXT' and prompt_tuning_init_text need each other"),
        (PromptTuning(3, "RANDOM", "a text"), "'TEXT' and prompt_tuning_init_text need each other"),
        (PromptTuning(3, "TEXT", "a text"), "no tokenizer: give prompt_tuning_init_text as token ids"),
        (PromptTuning(3, "TEXT", TEXT), "has 4 tokens, more than num_virtual_tokens 3"),
        (PromptTuning(3, "TEXT", ()), "prompt_tuning_init_text is empty"),
        (PromptTuning(3, "TEXT", (1, 61)), r"a token id of prompt_tuning_init_text is not in 0 \.\.\. 60"),
        (PTuning(3, "GRU"), "encoder_reparameterization_type must be 'MLP' or 'LSTM', not 'GRU'"),
        (PTuning(3, encoder_hidden_size=0), r"encoder_hidden_size \(0\)"),
        (PTuning(3, "LSTM", encoder_num_layers=0), r"encoder_num_layers \(0\)"),
        (
            PrefixTuning(3, encoder_hidden_size=0, prefix_projection=True),
            "encoder_hidden_size must be 1 or more",
        ),
        (PrefixTuning(3, init_weights="ones"), "init_weights must be None or 'zero', not 'ones'"),
        (PrefixTuning(5, init_text=TEXT), "init_text has 4 tokens, fewer than num_virtual_tokens 5"),
        (PrefixTuning(3, init_text="a text"), "no tokenizer: give init_text as token ids"),
        (PrefixTuning(3, init_text=TEXT, prefix_projection=True), "init_text goes with neither"),
        (PrefixTuning(3, init_text=TEXT, init_weights="zero"), "init_text goes with neither"),
        ([PrefixTuning(2), PrefixTuning(2)], "two prefixes in one chain"),
    ],
    ids=str,
)
def test_bad_settings_are_refused(method, message):
    with pytest.raises(InputError, match=message):
        PeftModel(small_model(), method)


# ------------------------------------------------------------------------------------- the numbers of `peft`

PROMPTS = read_json(REFERENCE / "generation.json")
METHODS = {
    "tiny-prompt": PromptTuning(3),
    "tiny-p-mlp": PTuning(3, encoder_hidden_size=10),
    "tiny-p-lstm": PTuning(4, "LSTM", encoder_hidden_size=6),
    "tiny-prefix": PrefixTuning(3),
    "tiny-prefix-mlp": PrefixTuning(3, prefix_projection=True, encoder_hidden_size=10),
}
each_reference = pytest.mark.parametrize("name", METHODS)


def tiny(name, dtype="float64"):
    """The tiny GPT-2 with a method, its tensors those that `peft` drew; and the reference."""
    peft, true = PeftModel(base(dtype), METHODS[name]), stored(name)
    for own, tensor in peft.tensors.items():
        key, as_there = in_peft(own, tensor)  # a view, through which `tensor` is written
        as_there[...] = true[f"init {key}"]
    return peft, true


def in_peft(name, tensor):
    """The name that `peft` trains it by. The encoders' matrices are (out, in) there; tables are as here."""
    if name.endswith(("embedding", "_embeddings")):
        return "prompt_encoder.embedding.weight", tensor
    return name.replace("prefix_encoder", "prompt_encoder"), tensor.T


@each_reference
@each_dtype
def test_logits_are_those_of_peft(name, dtype):
    peft, true = tiny(name, dtype)
    assert_same_logits(packed_logits(peft), true["logits32" if dtype == "float32" else "logits"])


@each_reference
def test_loss_and_every_gradient_are_those_of_peft(name):
    peft, true = tiny(name)
    assert_same_loss_and_gradients(peft, true, in_peft)


@each_reference
def test_ten_training_steps_follow_pefts_curve(name):
    peft, true = tiny(name)
    assert_ten_steps_follow(true["curve"], peft)


@each_reference
def test_generation_gives_the_tokens_that_peft_gives(name):
    peft, true = tiny(name)
    outputs = peft.generate_ids(PROMPTS["prompts"], max_new_tokens=PROMPTS["max_new_tokens"])
    assert outputs == json.loads(str(true["generated"]))


@each_reference
def test_the_finished_table_is_what_peft_saves(name):
    peft, _ = tiny(name, "float32")
    table = next(
        iter((flattened(peft) if hasattr(peft.method, "without_encoder") else peft).tensors.values())
    )
    tensors, _ = read_safetensors(REFERENCE / name / "adapter_model.safetensors")
    assert tensors.keys() == {"prompt_embeddings"}
    np.testing.assert_allclose(table, tensors["prompt_embeddings"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "methods",
    [
        [PrefixTuning(2), PrefixTuning(3)],
        [PrefixTuning(2), PrefixTuning(3, True, 4)],
        [MAM(PrefixTuning(2)), PrefixTuning(2)],
        [UniPELT(PrefixTuning(2)), LoRA(r=2), PrefixTuning(2)],
    ],
)
def test_two_prefixes_in_a_chain_are_refused_when_it_is_built(methods):
    with pytest.raises(InputError, match="two prefixes in one chain"):
        PeftModel(small_model(), methods)
