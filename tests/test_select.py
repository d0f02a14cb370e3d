"""Methods that train existing weights: what each selects, and what PyTorch and `peft` compute."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from against import (
    BATCHES,
    EXACT,
    REFERENCE,
    assert_same_logits,
    assert_same_loss_and_gradients,
    assert_ten_steps_follow,
    base,
    each_number_of_threads,
    packed_logits,
    stored,
    the_same,
)
from every_method import EXAMPLES
from small import CONFIG, count_products, logits, scramble, small_batch, small_model, snapshot

from minipeft import GPT2, AdamW, Full, InputError, LoRA, PeftModel, PTuning, gpt2, pack, train
from minipeft.files.json_files import read_json
from minipeft.files.tensors import read_safetensors
from minipeft.methods.select.bitfit import BitFit
from minipeft.methods.select.importance import fisher_information, largest
from minipeft.methods.select.layerwise import Layerwise
from minipeft.methods.select.ln_tuning import LNTuning
from minipeft.methods.select.sparse import Sparse


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Small as the model is here, threads cost more than they bring; a reference test has three."""
    monkeypatch.setenv("MINIPEFT_THREADS", "1")


@pytest.mark.parametrize(
    "method, message",
    [
        (LNTuning(target_modules=("attn.c_attn",)), "matches no layer norm: there are ln_1 and ln_2, in h.0"),
        (LNTuning(target_modules="all-linear"), "matches no layer norm"),
        (Layerwise(top=4), "top must be 0 ... 3, the model's blocks, not 4"),
        (Layerwise(bottom=-1), "bottom must be 0 ... 3"),
        (Layerwise(layers=(0, 3)), "layers must be numbers in -3 ... 2, the model's blocks, not 3"),
        (Layerwise(layers=("first",)), "layers must be numbers in -3 ... 2"),
        (Layerwise(layers=("²",)), "layers must be numbers in -3 ... 2"),
        (Layerwise(lr_decay=0.0), "lr_decay must be above 0 and at most 1, not 0.0"),
        (Sparse(fraction=0.0), "fraction must be above 0 and at most 1"),
        (Sparse(fraction=1.5), "fraction must be above 0 and at most 1"),
        (Sparse(fraction=1e-9), "and leave a weight: not 1e-09"),
        (Sparse(importance="taste"), "importance 'taste' is not known: choose from random, magnitude"),
        (Sparse(importance="fisher"), "importance 'fisher' needs examples"),
        (Sparse(importance="fisher", samples=0, examples=EXAMPLES), "samples must be 1 or more, not 0"),
        (Sparse(target_modules=("q_proj",)), "match no layer"),
        (Sparse(chosen={"h.9.ln_1.weight": np.array([0])}), "h.9.ln_1.weight: the chosen weights are"),
        (Sparse(chosen={"ln_f.bias": np.array([12])}), "not some of 12, each once, in order"),
    ],
)  # fmt: skip
def test_bad_settings_are_refused(method, message):
    with pytest.raises(InputError, match=message):
        PeftModel(small_model(), method)


# ---------------------------------------------------------------------------------------- what each selects


def test_bitfit_and_ln_tuning_select_what_their_names_say():
    assert all(name.endswith(".bias") for name in PeftModel(small_model(), BitFit()).trainable)
    names = PeftModel(small_model(), LNTuning()).trainable
    assert names.keys() == {n for n in CONFIG.shapes() if "ln_" in n} and len(names) == 14
    assert PeftModel(small_model(), LNTuning(target_modules=("h.1.ln_1", "ln_f"))).trainable.keys() == {
        "h.1.ln_1.weight", "h.1.ln_1.bias", "ln_f.weight", "ln_f.bias",
    }  # fmt: skip


@pytest.mark.parametrize(
    "settings, blocks, beside",
    [
        ({}, {1, 2}, {"ln_f"}),
        ({"top": 1, "ln_f": False}, {2}, set()),
        ({"top": 0, "bottom": 2}, {0, 1}, {"ln_f"}),
        ({"top": 1, "bottom": 1}, {0, 2}, {"ln_f"}),
        ({"layers": (1,)}, {1}, {"ln_f"}),
        ({"layers": ("-1", "0")}, {0, 2}, {"ln_f"}),  # as the command line gives them
        ({"top": 3, "embeddings": True}, {0, 1, 2}, {"ln_f", "wte", "wpe"}),
    ],
)
def test_layerwise_trains_whole_blocks(settings, blocks, beside):
    names = PeftModel(small_model(), Layerwise(**settings)).trainable
    expected = {n for n in CONFIG.shapes() if n.startswith(tuple(f"h.{i}." for i in blocks))}
    expected |= {n for n in CONFIG.shapes() if n.split(".")[0] in beside}
    assert names.keys() == expected


def test_the_learning_rate_decays_with_depth():
    """The rates as AdamW takes them: with equal gradients its first step moves everything by the rate."""
    method = Layerwise(top=3, embeddings=True, lr_decay=0.5)
    peft = PeftModel(small_model(), [method, LoRA(r=1, target_modules=("h.0.mlp.c_fc",))])
    before = {n: p.copy() for n, p in peft.trainable.items()}
    grads = {n: np.ones_like(p) for n, p in peft.trainable.items()}
    optimizer = AdamW(1e-2, weight_decay=0, lr_scale=lambda name: peft.method.lr_scale(name, peft.config))
    optimizer.step(peft.trainable, grads)
    rates = {n: (before[n] - p).mean() for n, p in peft.trainable.items()}
    expected = {"ln_f": 1, "h.2.": 1, "h.1.": 1 / 2, "h.0.": 1 / 4, "wte": 1 / 8, "wpe": 1 / 8}
    for name, rate in rates.items():
        scale = next(scale for start, scale in expected.items() if name.startswith(start))
        assert rate == pytest.approx(1e-2 * scale, rel=1e-6), name


@pytest.mark.parametrize(
    "method, visited",
    [
        (Layerwise(top=1), [2]),
        (Layerwise(), [2, 1]),
        (Layerwise(layers=(1,)), [2, 1]),  # the gradient must pass through the block above
        (Layerwise(layers=(0,)), [2, 1, 0]),
        (Layerwise(top=0), []),
    ],
)
def test_the_backward_pass_ends_at_the_lowest_block_that_trains(method, visited, monkeypatch):
    """And forms 4 products for the weights of a block that trains; below its lowest layer norm none for x."""
    formed, blocks, block_backward = count_products(monkeypatch), [], gpt2.block_backward

    def seen(dx, cache, step):
        (_, c_attn, *_), _ = cache
        blocks.append(int(c_attn[0].split(".")[1]))
        return block_backward(dx, cache, step)

    monkeypatch.setattr("minipeft.gpt2.block_backward", seen)
    peft = PeftModel(small_model(), method)
    peft.loss_and_grads(small_batch())
    training = {n.split(".")[1] for n in peft.trainable if n.startswith("h.")}
    assert blocks == visited
    assert (formed["x"], formed["weight"]) == (4 * len(visited), 4 * len(training))


# --------------------------------------------------------------------------------------------------- sparse


def test_a_fixed_fraction_trains_and_nothing_else_moves():
    model = small_model()
    peft = PeftModel(model, Sparse(fraction=0.05), seed=4)
    total = sum(w.size for w in model.weights.values())
    assert peft.num_trainable == int(0.05 * total)
    train(peft, EXAMPLES, steps=3, batch_size=4, learning_rate=1e-2, progress=False)
    moved = 0
    for name, w in peft.merge_and_unload().weights.items():
        changed = np.flatnonzero(w != model.weights[name])
        moved += len(changed)
        assert set(changed) <= set(peft.tensors.get(f"{name}_indices", ()))
    assert moved > 0.5 * peft.num_trainable  # some rows of wte and wpe got no gradient


def test_the_choice_is_the_seeds():
    model = small_model()
    a, b, c = (snapshot(PeftModel(model, Sparse(fraction=0.1), seed=s).tensors) for s in (1, 1, 2))
    assert a == b and a != c


def test_magnitude_takes_the_largest():
    model = small_model()
    peft = PeftModel(model, Sparse(fraction=0.1, importance="magnitude"))
    chosen = {n: peft.tensors.get(f"{n}_indices", np.zeros(0, int)) for n in model.weights}
    inside = np.concatenate([abs(w.ravel()[chosen[n]]) for n, w in model.weights.items()])
    outside = np.concatenate([abs(np.delete(w.ravel(), chosen[n])) for n, w in model.weights.items()])
    assert inside.min() >= outside.max()


def test_largest_takes_exactly_so_many_even_of_equals():
    assert largest([np.array([[1.0, 3.0], [3.0, 0.0]]), np.array([3.0, 2.0])], 2).tolist() == [1, 2]
    assert largest([np.zeros(5)], 3).tolist() == [0, 1, 2]
    assert largest([np.arange(4.0)], 4).tolist() == [0, 1, 2, 3]


def test_fisher_information_is_the_mean_of_squared_gradients_of_single_examples():
    model, names = small_model(), ["wte.weight", "h.1.attn.c_attn.weight", "ln_f.bias"]
    fisher = fisher_information(model, names, EXAMPLES)
    full = PeftModel(model, Full())
    for name in names:
        squares = []
        for pair in EXAMPLES:
            _, _, grads = full.loss_and_grad_sums(pack([pair]))
            squares.append(grads[name] ** 2)
        np.testing.assert_allclose(fisher[name], np.mean(squares, axis=0), rtol=1e-12)
    _, _, together = full.loss_and_grad_sums(pack(EXAMPLES))
    assert not np.allclose(fisher["ln_f.bias"], together["ln_f.bias"] ** 2 / len(EXAMPLES), rtol=0.1)


@pytest.mark.parametrize("other", [Full(), BitFit(), LNTuning(), Layerwise()], ids=type)
def test_no_other_method_may_train_what_sparse_chooses_from(other):
    for chain in ([other, Sparse()], [Sparse(), other]):
        with pytest.raises(InputError, match="another needs it for itself"):
            PeftModel(small_model(), chain)


def test_sparse_chooses_from_the_base_alone():
    """An expression that fits everything fits the tensors of a prompt's encoder, too."""
    chain = [PTuning(2, encoder_hidden_size=3), Sparse(fraction=0.1, target_modules=".*")]
    peft = PeftModel(small_model(), chain)
    assert PeftModel(small_model(), chain[0]).trainable.keys() < peft.trainable.keys()


def test_two_models_may_share_one_sparse():
    """The choice lies in the model's tensors, not in the method."""
    method, model = Sparse(fraction=0.1), small_model()
    a, b = PeftModel(model, method, seed=1), PeftModel(model, method, seed=2)
    scramble(a.trainable)
    scramble(b.trainable, seed=1)
    expected = logits(a), logits(b)
    assert np.array_equal(logits(a), expected[0]) and np.array_equal(logits(b), expected[1])
    assert not np.allclose(*expected)


def test_changes_put_back_give_the_base_bit_for_bit():
    model = small_model("float32")
    peft = PeftModel(model, Sparse(fraction=0.1))
    scramble(peft.trainable)
    logits(peft)
    for v in peft.trainable.values():
        v[...] = 0
    assert snapshot(peft.merge_and_unload().weights) == snapshot(model.weights)


def test_values_and_indices_are_all_that_a_file_needs():
    """As loading will do it: the choice comes from the file, no data is at hand."""
    model = small_model("float32")
    peft = PeftModel(model, Sparse(fraction=0.1, importance="fisher", examples=EXAMPLES))
    scramble(peft.trainable)
    stored = {n: t for n, t in peft.tensors.items() if n.endswith(("_indices", "_values"))}
    settings = json.loads(json.dumps(asdict(peft.method)))
    assert settings.keys() == {"fraction", "importance", "target_modules", "samples"}

    chosen = {n.removesuffix("_indices"): t for n, t in stored.items() if n.endswith("_indices")}
    again = PeftModel(model, Sparse(**settings, chosen=chosen))
    for name in again.tensors.keys() & stored.keys():
        again.tensors[name][...] = stored[name]
    assert snapshot(again.tensors) == snapshot(peft.tensors)
    assert np.array_equal(logits(again), logits(peft))


def test_sparse_follows_what_another_method_takes_out_of_the_base():
    class Halves(LoRA):
        def change_base(self, weights, tensors):
            return {n: w / 2 for n, w in weights.items()}

    model = small_model()
    half = GPT2(model.config, {n: w / 2 for n, w in model.weights.items()})
    peft = PeftModel(model, [Halves(r=1), Sparse(fraction=0.1)])
    np.testing.assert_allclose(logits(peft), logits(half), rtol=1e-12)


# ----------------------------------------------------------------------------- PyTorch's and peft's numbers


def ln_tuning_of_peft():
    """The adapter that peft wrote, put into place by hand."""
    config = read_json(REFERENCE / "select-ln_tuning" / "adapter_config.json")
    peft = PeftModel(base(), LNTuning(target_modules=tuple(config["target_modules"])))
    tensors, _ = read_safetensors(REFERENCE / "select-ln_tuning" / "adapter_model.safetensors")
    assert tensors.keys() == {in_peft(name)[0] for name in peft.trainable}
    for name, p in peft.trainable.items():
        p[...] = tensors[in_peft(name)[0]]
    return peft


def in_peft(name, tensor=None):
    place, _, kind = name.rpartition(".")
    return f"base_model.model.transformer.{place}.ln_tuning_layers.{kind}", tensor


def fish():
    examples = [pair for pairs in BATCHES for pair in pairs]
    return PeftModel(base(), Sparse(fraction=0.01, importance="fisher", examples=examples))


MODELS = {
    "bitfit": lambda: PeftModel(base(), BitFit()),
    "ln_tuning": ln_tuning_of_peft,
    "top1": lambda: PeftModel(base(), Layerwise(top=1)),
    "fisher": fish,
    "decay": lambda: PeftModel(base(), Layerwise(top=2, embeddings=True, lr_decay=0.8)),
}


@pytest.mark.parametrize("name", [name for name in MODELS if name != "decay"])
@each_number_of_threads
def test_loss_and_every_gradient_are_those_of_pytorch(name, threads, monkeypatch):
    monkeypatch.setenv("MINIPEFT_THREADS", str(threads))
    theirs = in_peft if name == "ln_tuning" else the_same
    assert_same_loss_and_gradients(MODELS[name](), stored(f"select-{name}"), theirs)


@pytest.mark.parametrize("name", MODELS)
def test_ten_training_steps_follow_pytorchs_curve(name):
    true, peft = stored(f"select-{name}"), MODELS[name]()
    assert_ten_steps_follow(true["curve"], peft)
    np.testing.assert_allclose(packed_logits(peft), true["after"], rtol=0, atol=1e-7)


def test_logits_and_merged_logits_are_those_of_peft():
    true, peft = stored("select-ln_tuning"), ln_tuning_of_peft()
    assert_same_logits(packed_logits(peft), true["logits"])
    assert_same_logits(packed_logits(peft.merge_and_unload()), true["merged"])


def test_the_fisher_information_and_the_choice_are_those_of_pytorch():
    true, peft = stored("select-fisher"), fish()
    chosen = {key.removeprefix("chosen "): i for key, i in true.items() if key.startswith("chosen ")}
    assert {n.removesuffix("_indices") for n in peft.tensors if n.endswith("_indices")} == chosen.keys()
    assert all(np.array_equal(peft.tensors[f"{n}_indices"], i) for n, i in chosen.items())

    fisher = {key.removeprefix("fisher "): F for key, F in true.items() if key.startswith("fisher ")}
    ours = fisher_information(peft.model, list(fisher), [pair for pairs in BATCHES for pair in pairs])
    for name, F in fisher.items():
        np.testing.assert_allclose(ours[name], F, rtol=0, atol=EXACT * F.max())
