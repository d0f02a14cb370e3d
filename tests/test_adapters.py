"""Several adapters on one model: names, switching, and batches in which each row has its own."""

import numpy as np
import pytest
from every_method import CASES, LAST_TOKENS
from small import logits, scramble, small_batch, small_model, snapshot, texts

from minipeft import (
    IA3,
    Adapter,
    BitFit,
    Full,
    InputError,
    LoRA,
    PeftModel,
    PrefixTuning,
    PromptTuning,
    train,
)
from minipeft.speed import fast

BASE = "__base__"


def model_with(**methods):
    """One model under all of these, each away from where it began."""
    first, *others = methods
    peft = PeftModel(small_model(), methods[first], adapter_name=first)
    for name in others:
        peft.add_adapter(name, methods[name])
    for i, name in enumerate(methods):
        scramble(peft.adapter(name).trainable, seed=i)
    return peft


def under(peft, name, sequences):
    """The logits of each sequence under one adapter."""
    if name == BASE:
        with peft.disable_adapter():
            return peft.logits(sequences)
    peft.set_adapter(name)
    return peft.logits(sequences)


# ----------------------------------------------------------------------------------------- one at a time


def test_switching_gives_each_adapters_own_results():
    peft = model_with(a=LoRA(r=2), b=PrefixTuning(3))
    alone = {n: PeftModel(small_model(), m) for n, m in {"a": LoRA(r=2), "b": PrefixTuning(3)}.items()}
    for i, (name, model) in enumerate(alone.items()):
        scramble(model.trainable, seed=i)
        peft.set_adapter(name)
        assert np.array_equal(logits(peft), logits(model))
        assert peft.active_adapter == name and peft.trainable.keys() == model.trainable.keys()


def test_a_disabled_adapter_leaves_the_base_and_comes_back():
    peft = model_with(a=LoRA(r=2), b=BitFit())
    peft.set_adapter("b")
    before = logits(peft)
    with pytest.raises(ZeroDivisionError), peft.disable_adapter():
        assert np.array_equal(logits(peft), logits(small_model())) and not peft.trainable
        1 / 0  # noqa: B018
    assert np.array_equal(logits(peft), before)


def test_a_disabled_adapter_stays_so_to_the_end_of_the_outer_block_and_is_not_saved(tmp_path):
    peft = model_with(a=LoRA(r=2))
    peft.set_adapter("a")
    before = logits(peft)
    with peft.disable_adapter():
        with peft.disable_adapter():
            pass
        assert np.array_equal(logits(peft), logits(small_model()))
        with pytest.raises(InputError, match="the adapter is disabled here"):
            peft.save_pretrained(tmp_path)
    assert np.array_equal(logits(peft), before)


def test_adapters_share_the_base():
    peft = model_with(a=LoRA(r=2), b=LoRA(r=1))
    for name, weight in peft.model.weights.items():
        assert all(adapter.weights[name] is weight for adapter in peft.adapters.values())


def test_deleting_and_loading(tmp_path):
    peft = model_with(a=LoRA(r=2), b=LoRA(r=1))
    peft.set_adapter("b")
    peft.save_pretrained(tmp_path)
    peft.load_adapter(tmp_path, "c")
    assert snapshot(peft.adapter("c").tensors) == snapshot(peft.adapter("b").tensors)
    peft.set_adapter("c")
    peft.delete_adapter("b")
    assert list(peft.adapters) == ["a", "c"]
    again = PeftModel.from_pretrained(peft.model, tmp_path, adapter_name="d")
    assert list(again.adapters) == ["d"] and snapshot(again.tensors) == snapshot(peft.tensors)


def test_wrong_names_are_refused():
    peft = model_with(a=LoRA(r=2))
    for refused, message in (
        (lambda: peft.set_adapter("b"), "no adapter is called 'b': choose from a"),
        (lambda: peft.add_adapter("a", LoRA()), "there is an adapter 'a' already"),
        (lambda: peft.add_adapter(BASE, LoRA()), "there is an adapter '__base__' already"),
        (lambda: peft.delete_adapter("a"), "'a' is active: set another one"),
        (lambda: peft.delete_adapter(BASE), "'__base__' is the base itself, no adapter"),
        (lambda: peft.mixed(["a", "b"]), "no adapter is called 'b'"),
        (lambda: peft.mixed(["a"]).logits(texts((3, 4))), "2 sequences, and names of adapters for 1"),
        (lambda: peft.mixed(["a"]).scores(small_batch()), "4 sequences, and names of adapters for 1"),
    ):
        with pytest.raises(InputError, match=message):
            refused()


# -------------------------------------------------------------------------------------- each row its own

SELECTING = {name for name, method in CASES.items() if PeftModel(small_model(), method).selected}
SHARING = [name for name in CASES if name not in SELECTING and "pissa" not in name]  # the base is as it was


@pytest.mark.parametrize("name", SHARING)
def test_a_mixed_batch_gives_what_each_row_gives_alone(name):
    """Beside LoRA, a prompt, and the base alone; in no order."""
    peft = model_with(a=CASES[name], b=LoRA(r=2, target_modules="all-linear"), c=PromptTuning(2))
    names, sequences = ["b", "a", BASE, "c", "a", BASE, "b"], texts((5, 3, 4, 6, 1, 2, 7))
    together = peft.mixed(names).logits(sequences)
    for name_, ids, z in zip(names, sequences, together, strict=True):
        np.testing.assert_allclose(z, under(peft, name_, [ids])[0], rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SHARING if name not in LAST_TOKENS])
@pytest.mark.parametrize("options", [{}, {"use_cache": False}, {"num_beams": 2}], ids=str)
def test_mixed_generation_is_that_of_each_row_alone(name, options):
    peft = model_with(a=CASES[name], b=IA3(), c=PromptTuning(2))
    names, prompts = ["c", "a", BASE, "b", "a"], texts((3, 5, 4, 2, 6))
    together = peft.mixed(names).generate_ids(prompts, max_new_tokens=5, **options)
    for name_, prompt, output in zip(names, prompts, together, strict=True):
        if name_ == BASE:
            with peft.disable_adapter():
                assert peft.generate_ids([prompt], max_new_tokens=5, **options) == [output]
        else:
            peft.set_adapter(name_)
            assert peft.generate_ids([prompt], max_new_tokens=5, **options) == [output]


def test_tokens_are_told_by_the_row_that_they_belong_to():
    peft, told = model_with(a=LoRA(r=2), b=Adapter(reduction_factor=4)), [[], [], []]
    model = peft.mixed(["b", "a", "b"])
    tell = lambda row, token: told[row].append(token)
    assert model.generate_ids(texts((3, 5, 4)), max_new_tokens=4, on_token=tell) == told


@pytest.mark.parametrize("threads", ["1", "3"])
def test_mixed_evaluation(threads, monkeypatch):
    monkeypatch.setenv("MINIPEFT_THREADS", threads)
    peft, batch = model_with(a=LoRA(r=2), b=PrefixTuning(3)), small_batch(shapes=((2, 5), (3, 4), (1, 6)))
    names = ["b", "a", "b"]
    logprobs, hits = peft.mixed(names).scores(batch)
    alone = []
    for i, name in enumerate(names):
        peft.set_adapter(name)
        alone.append(peft.scores(batch.take([i]))[0])
    np.testing.assert_allclose(logprobs, np.concatenate(alone), rtol=0, atol=1e-12)
    assert len(hits) == len(logprobs)


@pytest.mark.parametrize("name", ["full", "bitfit", "sparse", "lora, pissa", "prefix and full"])
def test_what_changes_the_base_cannot_share_a_batch(name):
    peft = model_with(a=CASES[name], b=LoRA(r=2))
    with pytest.raises(InputError, match="'a' changes weights of the base"):
        peft.mixed(["a", "b"])


def test_the_base_is_run_once(monkeypatch):
    """As many products of linear layers as for one adapter: 4 in each of 3 layers."""
    calls, linear = [], fast.linear
    monkeypatch.setattr(fast, "linear", lambda *args: calls.append(1) or linear(*args))
    model_with(a=LoRA(r=2), b=IA3(), c=PromptTuning(2)).mixed(["a", "b", "c", BASE]).logits(
        texts((3, 4, 2, 5))
    )
    assert len(calls) == 12


def test_a_base_that_is_given_up_has_what_trains_in_it_once():
    model, pairs = small_model("float32"), [(ids[:2], ids[2:]) for ids in texts()]
    before, losses = snapshot(model.weights), []
    for give_up in (False, True):
        peft = PeftModel(model, Full())
        if give_up:
            peft.give_up_base()
        assert all((model.weights[name] is W) == give_up for name, W in peft.selected.items())
        history = train(peft, pairs, steps=3, progress=False)
        losses.append([row["loss"] for row in history.steps])
        assert (snapshot(model.weights) == before) != give_up
    assert losses[0] == losses[1]


def test_an_adapter_that_is_set_while_all_are_disabled_is_active_afterwards():
    peft = model_with(a=LoRA(r=2), b=LoRA(r=2))
    peft.set_adapter("b")
    b, base = logits(peft), logits(peft.model)
    peft.set_adapter("a")
    with peft.disable_adapter():
        peft.set_adapter("b")
        assert np.array_equal(logits(peft), base)
    assert peft.active_adapter == "b" and np.array_equal(logits(peft), b)


@pytest.mark.parametrize("base", ["gpt2", PeftModel(small_model())])
def test_methods_are_put_on_a_gpt2(base):
    with pytest.raises(InputError, match="want a GPT2, not "):
        PeftModel(base, LoRA())
