"""Sums of LoRA adapters: what each type promises, and what `peft` makes of the same adapters.

reference/make_combine.py made the numbers in reference/combine.npz.
"""

import numpy as np
import pytest
from against import REFERENCE, base, stored
from every_method import CASES
from reference.draws import Draws
from small import logits, scramble, small_model, snapshot

from minipeft import GPT2, DoRA, InputError, LoRA, LoRAPlus, PeftModel, PrefixTuning
from minipeft.files.json_files import read_json
from minipeft.methods.linear import combine
from minipeft.methods.linear.combine import elected_mean, keep_at_random, keep_largest, merge

EXACT = {"rtol": 0, "atol": 1e-12}
ABC, WEIGHTS = ["a", "b", "c"], [0.7, -0.4, 1.3]
DIFFERENT = {
    "a": LoRA(r=2, lora_alpha=3, rank_pattern={r"h\.1\..*": 4}, alpha_pattern={r"h\.2\..*": 5}),
    "b": LoRA(r=3, lora_alpha=2, use_rslora=True, target_modules=r".*c_(attn|fc)"),
    "c": LoRAPlus(r=1, target_modules=("c_attn", "mlp.c_proj"), layers_to_transform=(0, 2)),
}
ALIKE = {name: LoRA(r=2, lora_alpha=alpha) for name, alpha in (("a", 3), ("b", 5), ("c", 1))}
PRUNING = [t for t in combine.COMBINATION_TYPES if t not in ("cat", "linear", "svd")]


def model_with(methods, dtype="float64"):
    """A small model under all of these, each random."""
    peft = PeftModel(small_model(dtype), [], adapter_name="nothing")
    for i, (name, method) in enumerate(methods.items()):
        peft.add_adapter(name, method)
        scramble(peft.adapter(name).tensors, seed=i)
    return peft


def updates(peft, name):
    """{layer: D} of an adapter; zeros where it does not act."""
    weights = peft.model.weights
    merged = peft.adapter(name).method.merge(weights, peft.adapter(name).tensors)
    return {f"{n}.weight": merged.get(f"{n}.weight", weights[f"{n}.weight"]) - weights[f"{n}.weight"]
            for n in peft.config.linear_layers()}  # fmt: skip


def total(peft, names, weights):
    """{layer: D} of their weighted sum."""
    parts = [updates(peft, name) for name in names]
    return {layer: sum(w * D[layer] for w, D in zip(weights, parts, strict=True)) for layer in parts[0]}


def added(methods, adapters, weights, *args, **options):
    """The model, and {layer: D} of the new adapter."""
    peft = model_with(methods)
    peft.add_weighted_adapter(adapters, weights, "sum", *args, **options)
    return peft, updates(peft, "sum")


def assert_same(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    for layer, D in expected.items():
        np.testing.assert_allclose(found[layer], D, err_msg=layer, **(tolerance or EXACT))


# --------------------------------------------------------------------------------------- the exact types


@pytest.mark.parametrize("methods", [ALIKE, DIFFERENT], ids=["alike", "different"])
@pytest.mark.parametrize("how", [{"combination_type": "cat"}, {"svd_rank": 12}], ids=str)
def test_cat_and_svd_at_full_rank_are_the_weighted_sum(methods, how):
    peft, D = added(methods, ABC, WEIGHTS, **how)
    assert_same(D, total(peft, ABC, WEIGHTS))


def test_the_sum_of_all_is_what_merging_them_one_after_another_gives():
    peft, _ = added(DIFFERENT, ABC, [1, 1, 1], "cat")
    merged = peft.model
    for name in ABC:
        under = PeftModel(merged, DIFFERENT[name])
        for key, tensor in under.tensors.items():
            tensor[...] = peft.adapter(name).tensors[key]
        merged = under.merge_and_unload()
    peft.set_adapter("sum")
    np.testing.assert_allclose(logits(peft), logits(merged), **EXACT)


def test_an_adapter_less_itself_is_nothing():
    peft, _ = added(DIFFERENT, ["a", "b", "a"], [0.5, 0, -0.5], "cat")
    peft.set_adapter("sum")
    np.testing.assert_allclose(logits(peft), logits(small_model()), **EXACT)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_svd_is_as_close_as_that_rank_can_be(rank):
    """The distance is that of the singular values left out (Eckart and Young)."""
    peft, D = added(ALIKE, ABC, WEIGHTS, "svd", rank)
    assert peft.adapter("sum").method.r == rank
    for layer, true in total(peft, ABC, WEIGHTS).items():
        left_out = np.linalg.svd(true, compute_uv=False)[rank:]
        assert np.linalg.norm(D[layer] - true) == pytest.approx(np.linalg.norm(left_out), abs=1e-12)


@pytest.mark.parametrize("combination_type, rank", [("cat", 4 + 3), ("svd", 4)])
def test_the_rank_of_different_adapters_is_what_a_layer_needs(combination_type, rank):
    peft, _ = added(DIFFERENT, ABC, WEIGHTS, combination_type)
    assert peft.adapter("sum").method.r == rank


# ---------------------------------------------------------------------------------------------- "linear"


@pytest.mark.parametrize("weight", [1, 0.3, -0.7])
@pytest.mark.parametrize("how", ["linear", "cat", "svd"])
@pytest.mark.parametrize("name", DIFFERENT)
def test_one_adapter_alone_is_itself_times_its_weight(name, how, weight):
    peft, D = added(DIFFERENT, [name], [weight], how)
    assert_same(D, total(peft, [name], [weight]))


def test_linear_is_the_sum_and_cross_terms():
    """sqrt|w_1 s_1| sqrt|w_2 s_2| (A_1 B_2 - A_2 B_1), where w_2 is negative."""
    peft, D = added(ALIKE, ["a", "b"], [0.7, -0.4], "linear")
    a, b = peft.adapter("a").tensors, peft.adapter("b").tensors
    size = (0.7 * 3 / 2 * 0.4 * 5 / 2) ** 0.5
    expected = total(peft, ["a", "b"], [0.7, -0.4])
    for layer in (key.removesuffix(".lora_A") for key in a if key.endswith("A")):
        A, B = f"{layer}.lora_A", f"{layer}.lora_B"
        cross = size * (a[A] @ b[B] - b[A] @ a[B])
        assert np.abs(cross).max() > 0.1
        expected[f"{layer}.weight"] = expected[f"{layer}.weight"] + cross
    assert_same(D, expected)


# --------------------------------------------------------------------------------------- the pruning types


@pytest.mark.parametrize("combination_type", ["magnitude_prune", "dare_linear"])
@pytest.mark.parametrize("ending, unpruned", [("", "linear"), ("_svd", "svd")])
def test_density_one_prunes_nothing(combination_type, ending, unpruned):
    _, D = added(ALIKE, ABC, WEIGHTS, combination_type + ending, density=1)
    assert_same(D, added(ALIKE, ABC, WEIGHTS, unpruned)[1])


@pytest.mark.parametrize("ending", ["", "_svd"])
def test_ties_and_dare_ties_of_density_one_are_the_same(ending):
    _, D = added(ALIKE, ABC, WEIGHTS, "ties" + ending, density=1)
    assert_same(D, added(ALIKE, ABC, WEIGHTS, "dare_ties" + ending, density=1)[1])


@pytest.mark.parametrize("sign_method", combine.MAJORITY_SIGN_METHODS)
def test_ties_of_one_sign_is_the_mean(sign_method):
    tensors = list(np.random.default_rng(0).uniform(0.1, 1, (3, 4, 5)))
    for sign in (1, -1):
        signed = [sign * t for t in tensors]
        found = merge(signed, WEIGHTS, "ties", 1, sign_method, None)
        np.testing.assert_allclose(found, merge(signed, WEIGHTS, "linear", None, None, None) / 3, **EXACT)


def test_ties_by_hand():
    tensors = [np.array([[5.0, 1, 2, 0, -1, -3]]), np.array([[-1.0, -3, 2, 0, 1, 0]]),
               np.array([[-1.0, 1, 0, 0, -1, 1]])]  # fmt: skip
    weights = [1, 10, -100]
    by_total = [5, -30, (2 + 20) / 2, 0, (-1 + 100) / 2, -3]
    by_frequency = [(-10 + 100) / 2, (1 - 100) / 2, (2 + 20) / 2, 0, (-1 + 100) / 2, -100]  # the last: a tie
    np.testing.assert_allclose(elected_mean(tensors, weights, "total"), [by_total])
    np.testing.assert_allclose(elected_mean(tensors, weights, "frequency"), [by_frequency])


@pytest.mark.parametrize("density", [0.01, 0.3, 0.5, 1])
def test_the_largest_entries_stay(density):
    t = np.random.default_rng(0).standard_normal((7, 9))
    kept = keep_largest(t, density)
    stays = kept != 0
    assert stays.sum() == int(density * 63) and np.array_equal(kept[stays], t[stays])
    assert np.abs(t[stays]).min(initial=9) >= np.abs(t[~stays]).max(initial=0)


def test_dare_keeps_the_expectation():
    t, rng = np.random.default_rng(0).standard_normal((6, 5)), np.random.default_rng(1)
    draws = np.array([keep_at_random(t, 0.3, rng) for _ in range(4000)])
    assert np.all(np.isclose(draws, 0) | np.isclose(draws, t / 0.3))
    error = np.abs(t) * (0.7 / 0.3 / 4000) ** 0.5  # the standard deviation of the mean
    assert np.all(np.abs(draws.mean(axis=0) - t) < 4 * error)


def test_dare_on_the_factors_keeps_what_linear_gives_in_expectation():
    """A and B are drawn apart, so the expectation of A B is the product of theirs."""
    peft = model_with({"a": LoRA(r=2), "b": LoRA(r=2)})
    terms = [(*(peft.adapter(n).tensors[f"h.0.attn.c_attn.lora_{m}"] for m in "AB"), 2.0, 0.5) for n in "ab"]
    rng = np.random.default_rng(1)
    product = lambda kind: np.matmul(*combine.combine(terms, kind, None, 0.5, None, rng))
    draws = np.array([product("dare_linear") for _ in range(4000)])
    error = np.maximum(draws.std(axis=0) / 4000**0.5, 1e-12)
    assert np.all(np.abs(draws.mean(axis=0) - product("linear")) < 5 * error)


def test_the_seed_says_what_dare_keeps():
    first, second, third = (
        added(ALIKE, ABC, WEIGHTS, "dare_linear", density=0.5, seed=seed)[0].adapter("sum").tensors
        for seed in (1, 1, 2)
    )
    assert snapshot(first) == snapshot(second) != snapshot(third)


@pytest.mark.parametrize("combination_type", PRUNING)
def test_how_the_factors_are_written_matters_without_svd_alone(combination_type):
    """A M and M^-1 B are the same adapter as A and B."""
    M, changes = np.array([[1.0, 2.0], [-1.0, 1.0]]), []
    for rewritten in (False, True):
        peft = model_with(ALIKE)
        for key, tensor in peft.adapter("b").tensors.items():
            if rewritten:
                tensor[...] = tensor @ M if key.endswith("A") else np.linalg.inv(M) @ tensor
        peft.add_weighted_adapter(ABC, WEIGHTS, "sum", combination_type, density=0.5)
        changes.append(updates(peft, "sum"))
    difference = max(np.abs(changes[0][layer] - changes[1][layer]).max() for layer in changes[0])
    assert (difference < 1e-12) == combination_type.endswith("_svd")


# ------------------------------------------------------------------------------------------- against `peft`

STORED = read_json(REFERENCE / "combine.json")


def stored_factors(true, key):
    """{tensor's name: array} of an adapter or a case, in this package's layout."""
    found = {k.removeprefix(f"{key} ").replace(" ", "."): v.T for k, v in true.items()}
    return {name: v for name, v in found.items() if name.startswith("h.")}


@pytest.fixture(scope="module")
def true():
    return stored("combine")


@pytest.fixture
def under_pefts_adapters(true, monkeypatch):
    """The tiny model with the adapters; DARE draws as in the library that was compared with."""
    peft = PeftModel(base(), [], adapter_name="nothing")
    for name, settings in STORED["adapters"].items():
        peft.add_adapter(name, LoRA(**settings))
        tensors = stored_factors(true, name)
        assert tensors.keys() == peft.adapter(name).tensors.keys()
        for key, tensor in peft.adapter(name).tensors.items():
            tensor[...] = tensors[key]
    draws = Draws()
    monkeypatch.setattr(combine, "keep_at_random", lambda t, density, _: keep_at_random(t, density, draws))
    return peft


def test_every_type_is_compared_with_peft():
    assert {case["combination_type"] for case in STORED["cases"].values()} == {*combine.COMBINATION_TYPES}


@pytest.mark.parametrize("case", STORED["cases"])
def test_the_sum_is_pefts(case, under_pefts_adapters, true):
    peft, arguments = under_pefts_adapters, STORED["cases"][case]
    peft.add_weighted_adapter(**arguments, adapter_name="sum")
    method, tensors = peft.adapter("sum").method, peft.adapter("sum").tensors
    expected = stored_factors(true, f"case {case}")
    assert {name for name in expected if method.acts_on(name.rpartition(".")[0])} == tensors.keys()
    assert method.r == max(A.shape[1] for name, A in expected.items() if name.endswith("A"))
    if case == "rslora":
        expected = {n: v / method.r**0.5 if n.endswith("B") else v for n, v in expected.items()}
    for layer in (name.removesuffix(".lora_A") for name in tensors if name.endswith("A")):
        D, true_D = (t[f"{layer}.lora_A"] @ t[f"{layer}.lora_B"] for t in (tensors, expected))
        np.testing.assert_allclose(D, true_D, rtol=0, atol=1e-13 * np.abs(true_D).max())
    if arguments["combination_type"] in combine.ON_FACTORS:  # else there are other factors of the same D
        assert_same({name: tensors[name] for name in expected}, expected, rtol=0, atol=1e-14)


# ---------------------------------------------------------------------------------------- beside the others


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("combination_type", combine.COMBINATION_TYPES)
def test_the_others_stay_as_they_are_and_the_new_one_works(combination_type, dtype, tmp_path):
    peft = model_with(ALIKE, dtype)
    before = {name: snapshot(peft.adapter(name).tensors) for name in ABC}
    peft.add_weighted_adapter(ABC, WEIGHTS, "sum", combination_type, density=0.5)
    assert {name: snapshot(peft.adapter(name).tensors) for name in ABC} == before
    assert peft.active_adapter == "nothing" and np.array_equal(logits(peft), logits(small_model(dtype)))
    peft.set_adapter("sum")
    assert all(t.dtype == dtype for t in peft.tensors.values())
    assert peft.method.target_modules == ALIKE["a"].target_modules
    np.testing.assert_allclose(logits(peft), logits(peft.merge_and_unload()), rtol=0, atol=1e-4)
    peft.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(peft.model, tmp_path)
    np.testing.assert_allclose(logits(again), logits(peft), rtol=0, atol=1e-5)


def test_a_saved_sum_of_different_adapters_acts_where_they_did(tmp_path):
    peft, _ = added(DIFFERENT, ABC, WEIGHTS, "cat")
    peft.set_adapter("sum")
    peft.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(peft.model, tmp_path)
    assert again.tensors.keys() == set().union(*(peft.adapter(name).tensors for name in ABC))
    np.testing.assert_allclose(logits(again), logits(peft), **EXACT)


@pytest.mark.parametrize("combination_type", combine.COMBINATION_TYPES)
def test_on_a_device(combination_type, cupy):
    host = model_with(ALIKE)
    weights = {name: cupy.asarray(weight) for name, weight in host.model.weights.items()}
    device = PeftModel(GPT2(host.config, weights), [], adapter_name="nothing")
    for name in ABC:
        device.add_adapter(name, ALIKE[name])
        for key, tensor in device.adapter(name).tensors.items():
            tensor[...] = cupy.asarray(host.adapter(name).tensors[key])
    for peft in (host, device):
        peft.add_weighted_adapter(ABC, WEIGHTS, "sum", combination_type, density=0.5)
    for key, tensor in device.adapter("sum").tensors.items():
        assert type(tensor) is cupy.ndarray
        assert np.array_equal(tensor.get(), host.adapter("sum").tensors[key])


# -------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((["a", "z"], [1, 1], "sum"), "no adapter is called 'z'"),
        ((["a", "b"], [1, 1], "a"), "there is an adapter 'a' already"),
        ((["a", "b"], [1], "sum"), "2 adapters and 1 weight: each adapter needs one"),
        (([], [], "sum"), "0 adapters and 0 weights"),
        ((["a", "b"], [1, 1], "sum", "mean"), "combination_type 'mean' is not known: choose from cat, "),
        ((["a", "b"], [1, 1], "sum", "svd", 0), "svd_rank must be a whole number, 1 or more, not 0"),
        ((["a", "b"], [1, 1], "sum", "svd", 2.5), "svd_rank must be a whole number, 1 or more, not 2.5"),
        ((["a", "b"], [1, float("nan")], "sum"), "a weight must be a finite number, not nan"),
        ((["a", "b"], ["x", 1], "sum"), "a weight must be a finite number, not 'x'"),
        ((["a", "r3"], [1, 1], "sum", "linear"), r"'linear' needs .* at h\.0\.attn.* have 2, 3: use 'cat'"),
        ((["a", "dora"], [1, 1], "sum"), "the adapter 'dora' is DoRA: only LoRA can be added up"),
        ((["prefix", "a"], [1, 1], "sum"), "the adapter 'prefix' is PrefixTuning"),
        ((["a", "__base__"], [1, 1], "sum"), "the adapter '__base__' is Chain"),
        ((["a", "pissa"], [1, 1], "sum"), "the adapter 'pissa' is PiSSA, on a base of its own"),
    ],
)  # fmt: skip
def test_what_cannot_be_added_up_is_refused(arguments, message):
    others = {"dora": DoRA(r=2), "prefix": PrefixTuning(2), "pissa": LoRA(r=2, init_lora_weights="pissa")}
    peft = model_with({"a": LoRA(r=2), "b": LoRA(r=2), "r3": LoRA(r=3), **others})
    names = list(peft.adapters)
    with pytest.raises(InputError, match=message):
        peft.add_weighted_adapter(*arguments)
    assert list(peft.adapters) == names


@pytest.mark.parametrize("combination_type", PRUNING)
@pytest.mark.parametrize("density", [None, 0, -0.1, 1.1, float("nan")])
def test_pruning_needs_a_density(combination_type, density):
    with pytest.raises(InputError, match=f"'{combination_type}' needs a density above 0 and at most 1"):
        added(ALIKE, ABC, WEIGHTS, combination_type, density=density)


def test_a_way_to_elect_that_is_not_known_is_refused():
    with pytest.raises(
        InputError, match="majority_sign_method 'most' is not known: choose from total, frequency"
    ):
        added(ALIKE, ABC, WEIGHTS, "ties", density=0.5, majority_sign_method="most")


@pytest.mark.parametrize("name", [name for name in CASES if type(CASES[name]) not in (LoRA, LoRAPlus)])
def test_other_methods_are_refused_by_name(name):
    peft = PeftModel(small_model(), CASES[name], adapter_name="other")
    with pytest.raises(InputError, match=f"the adapter 'other' is {type(peft.method).__name__}: only LoRA"):
        peft.add_weighted_adapter(["other"], [1], "sum")
