"""The model: packing, shards, sites, positions, stopping."""

import numpy as np
import pytest
from every_site import EverySite
from small import CONFIG, scramble, small_batch, small_model, texts

from minipeft import GPT2, Full, GPT2Config, InputError, LoRA, PeftModel, gpt2, gradcheck, pack
from minipeft.config import config_of_size
from minipeft.gradcheck import TOLERANCE


def test_a_batch_gives_what_its_sequences_give_one_by_one():
    model = small_model()
    together = model.logits(texts((5, 1, 8)))
    for ids, z in zip(texts((5, 1, 8)), together, strict=True):
        assert z.shape == (len(ids), CONFIG.vocab_size)
        assert np.allclose(z, model.logits([ids])[0], rtol=1e-12, atol=1e-12)


def test_a_token_does_not_see_what_comes_after_it():
    model, (ids,) = small_model(), texts((8,))
    assert np.allclose(model.logits([ids])[0][:5], model.logits([ids[:5]])[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", [Full(), LoRA(r=2, target_modules="all-linear"), EverySite()], ids=type)
def test_shards_add_up_to_the_batch(method, monkeypatch):
    peft, batch, results = PeftModel(small_model(), method), small_batch(), []
    for n in (1, 2, 3, 9):
        monkeypatch.setenv("MINIPEFT_THREADS", str(n))
        results.append(peft.loss_and_grads(batch))
        assert np.isclose(peft.loss(batch), results[-1][0], rtol=1e-12)
    for loss, grads in results[1:]:
        assert np.isclose(loss, results[0][0], rtol=1e-12)
        assert all(np.allclose(g, results[0][1][n], rtol=1e-9, atol=1e-13) for n, g in grads.items())


def test_the_same_step_gives_the_same_bits():
    peft, batch = PeftModel(small_model("float32"), LoRA(r=2, lora_dropout=0.1)), small_batch()
    one, other = (peft.loss_and_grads(batch, seed=5, dropout=0.1) for _ in range(2))
    assert one[0] == other[0] and all(np.array_equal(g, other[1][n]) for n, g in one[1].items())
    assert peft.loss_and_grads(batch, seed=6, dropout=0.1)[0] != one[0]


LORA = LoRA(r=2, init_lora_weights=False)  # B is not zero


@pytest.mark.parametrize(
    "methods", [EverySite(), [EverySite(), Full()], [EverySite(1), LORA, EverySite(2, "b")]], ids=str
)
def test_every_site_passes_its_gradients_on(methods):
    peft = PeftModel(small_model(), methods)
    errors = gradcheck(peft, small_batch(), elements=0, scramble=0)
    assert max(errors.values()) < TOLERANCE, max(errors, key=errors.get)


def test_with_rows_in_front_the_first_token_of_a_text_is_predicted_too():
    batch = small_batch(shapes=((0, 6), (0, 3)))
    assert len(PeftModel(small_model()).scores(batch)[0]) == 5 + 2
    assert len(PeftModel(small_model(), EverySite()).scores(batch)[0]) == 6 + 3


@pytest.mark.parametrize("methods", [[], EverySite()], ids=["rows predict", "rows in front predict"])
def test_scores_are_in_the_order_of_the_batch_however_many_threads(methods, monkeypatch):
    monkeypatch.setenv("MINIPEFT_THREADS", "3")
    peft, batch = PeftModel(small_model(), methods), small_batch()
    together = peft.scores(batch)
    alone = [peft.scores(batch.take([s])) for s in range(len(batch))]
    np.testing.assert_allclose(together[0], np.concatenate([a[0] for a in alone]), rtol=0, atol=1e-12)
    assert together[1].tolist() == np.concatenate([a[1] for a in alone]).tolist()


def test_text_after_virtual_tokens_has_later_positions():
    """With positions 4 on: the same as moving the rows of wpe by 4, when the method does nothing else."""

    class Shift(EverySite):
        def embed(self, x, layout, step):
            return x, layout.shifted(4), None

        linear_input = LoRA.linear_input
        linear = lambda self, name, x, y, step: (y, None)
        keys_values = LoRA.keys_values
        sublayer = LoRA.sublayer

    model = small_model()
    moved = GPT2(CONFIG, model.weights | {"wpe.weight": np.roll(model.weights["wpe.weight"], -4, axis=0)})
    ids = texts((6,))
    assert np.allclose(PeftModel(model, Shift()).logits(ids)[0], moved.logits(ids)[0], rtol=1e-12)


def test_the_backward_pass_stops_below_the_lowest_layer_that_trains(monkeypatch):
    visited, block_backward = [], gpt2.block_backward
    counted = lambda dx, cache, step: (visited.append(1), block_backward(dx, cache, step))[1]
    monkeypatch.setattr(gpt2, "block_backward", counted)
    for targets, blocks in ((("h.2.mlp.c_fc",), 1), (("h.1.attn.c_attn",), 2), (("c_attn",), 3)):
        visited.clear()
        monkeypatch.setenv("MINIPEFT_THREADS", "1")
        PeftModel(small_model(), LoRA(r=1, target_modules=targets)).loss_and_grads(small_batch())
        assert len(visited) == blocks


def test_an_untied_head_has_a_gradient_of_its_own():
    config = GPT2Config(**(vars(CONFIG) | {"tie_word_embeddings": False}))
    peft = PeftModel(small_model(config=config), Full())
    assert max(gradcheck(peft, small_batch(), elements=2).values()) < TOLERANCE
    assert "lm_head.weight" in peft.trainable


def test_a_base_that_trains_is_copied_and_one_that_does_not_is_shared():
    model = small_model()
    full, lora = PeftModel(model, Full()), PeftModel(model, LoRA(r=1))
    scramble(full.trainable)
    assert all(lora.weights[n] is w for n, w in model.weights.items())
    assert not any(full.weights[n] is w for n, w in model.weights.items())


def test_random_has_gpt2s_initialisation():
    config = GPT2Config(n_layer=2, n_embd=64, n_head=4, vocab_size=1000, n_positions=128)
    w, larger = GPT2.random(config, seed=3).weights, GPT2.random(config, seed=3, std=0.1).weights
    assert w["h.0.ln_1.weight"].min() == 1 and not w["h.1.mlp.c_fc.bias"].any()
    assert abs(w["wte.weight"].std() / 0.02 - 1) < 0.02
    assert abs(w["h.1.mlp.c_proj.weight"].std() / (0.02 / 2) - 1) < 0.03  # sqrt(2 L) = 2
    assert all(a.dtype == np.float32 for a in w.values())
    assert all(np.allclose(larger[name], a * (5 if a.ndim == 2 else 1)) for name, a in w.items())


@pytest.mark.parametrize(
    "size, count",
    [
        ("gpt2", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
    ],
)
def test_parameter_counts_of_the_published_sizes(size, count):
    shapes = config_of_size(size).shapes().values()
    assert sum(int(np.prod(s)) for s in shapes) == count


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"n_embd": 10, "n_head": 3}, "n_embd 10 cannot be divided"),
        ({"n_layer": 0}, "n_layer must be 1 or more"),
    ],
)
def test_impossible_shapes_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        GPT2Config(**fields)


def test_too_long_or_unknown_tokens_are_refused_before_any_work():
    peft = PeftModel(small_model(), EverySite())
    with pytest.raises(InputError, match="4 virtual \\+ 21 tokens do not fit the model's 24 positions"):
        peft.loss(pack([([], [1] * 21)]))
    with pytest.raises(InputError, match=r"not in 0 \.\.\. 60"):
        peft.loss_and_grads(pack([([], [1, 61])]))
    with pytest.raises(InputError, match="24 virtual tokens leave no room"):
        PeftModel(small_model(), EverySite(P=12))
    with pytest.raises(InputError, match="no token of the batch has a label"):
        peft.loss_and_grads(pack([([1, 2], [])]))
