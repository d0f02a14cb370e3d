"""What every method promises: exact gradients, frozen weights, its claim at init, its count, merging."""

import numpy as np
import pytest
from every_method import SMALL
from small import CONFIG, scramble, small_batch, small_model, snapshot, texts

from minipeft import (
    Adapter,
    AdapterFusion,
    Full,
    GPT2Config,
    InputError,
    LoRA,
    PeftModel,
    gpt2,
    gradcheck,
    ops,
    train,
)
from minipeft.gpt2 import GPT2
from minipeft.gradcheck import TOLERANCE, check_array
from minipeft.methods import METHODS, Method

CASES = {  # every method, and the settings that take another way through its code
    "full": Full(),
    "lora": LoRA(r=2, lora_alpha=3),
    "lora, all linear layers": LoRA(r=3, target_modules="all-linear"),
    "lora, one layer high up": LoRA(r=2, target_modules=("h.2.mlp.c_fc",)),
    "lora, gaussian": LoRA(r=2, target_modules=("mlp.c_proj",), init_lora_weights="gaussian"),
    "lora and full": [LoRA(r=2), Full()],
    "two loras": [LoRA(r=2, target_modules=("attn.c_attn",)), LoRA(r=1, target_modules=("mlp.c_proj",))],
}
COUNTS = {  # what trains in GPT-2 small, with default settings
    "full": 124_439_808,
    "bitfit": 102_144,
    "ln_tuning": 38_400,
    "layerwise": 14_177_280,
    "sparse": 622_199,
    "prompt_tuning": 15_360,
    "p_tuning": 1_787_136,
    "prefix_tuning": 368_640,
    "lora": 294_912,
    "lora_plus": 294_912,
    "dora": 322_560,
    "ia3": 64_512,
    "vera": 30_720,
    "adapter": 894_528,
    "houlsby": 1_789_056,
    "parallel_adapter": 7_091_712,
    "fusion": 21_252_096,
    "loreft": 18_444,
    "mam": 22_493_984,
    "unipelt": 11_083_376,
}
every_case = pytest.mark.parametrize("method", CASES.values(), ids=CASES)


def logits(model, seed=0):
    return np.concatenate(model.logits(texts(seed=seed)))


def test_every_method_is_tested():
    """Here, or in the file of its group: select, virtual, linear, sublayer, hybrid."""
    assert set(METHODS) == set(COUNTS) == set(SMALL)


@every_case
def test_gradients_are_the_derivatives_of_the_loss(method):
    errors = gradcheck(PeftModel(small_model(), method), small_batch(), elements=3)
    assert max(errors.values()) < TOLERANCE, max(errors, key=errors.get)


@every_case
def test_gradients_are_right_with_dropout(method):
    """The masks come from the seed, so that the loss with dropout is a function, too."""
    peft, batch = PeftModel(small_model(), method), small_batch()
    scramble(peft.trainable, scale=0.05)
    if isinstance(method, LoRA):
        method = peft.method = type(method)(**{**vars(method), "lora_dropout": 0.3})
    _, grads = peft.loss_and_grads(batch, seed=3, dropout=0.2)
    rng = np.random.default_rng(0)
    for name, p in list(peft.trainable.items())[::5]:
        error = check_array(lambda: peft.loss_and_grads(batch, 3, 0.2)[0], p, grads[name], rng, elements=1)
        assert error < TOLERANCE, name


@every_case
def test_every_trainable_tensor_gets_a_gradient_of_its_shape(method):
    peft = PeftModel(small_model(), method)
    _, grads = peft.loss_and_grads(small_batch())
    assert {n: g.shape for n, g in grads.items()} == {n: p.shape for n, p in peft.trainable.items()}


@every_case
def test_training_lowers_the_loss_and_leaves_the_base_bit_identical(method):
    model, batch = small_model(), small_batch()
    before = snapshot(model.weights)
    peft = PeftModel(model, method)
    loss = peft.loss(batch)
    rows = texts((6, 5, 7, 4))
    train(peft, [([], r) for r in rows], steps=20, batch_size=4, learning_rate=3e-3, progress=False)
    assert snapshot(model.weights) == before
    frozen = {n: w for n, w in peft.weights.items() if n not in peft.trainable}
    assert snapshot(frozen) == {n: before[n] for n in frozen}
    fresh = PeftModel(model, method)
    batch = small_batch(shapes=((0, 6),))
    loss = fresh.loss(batch)
    train(fresh, [([], batch.ids.tolist())], steps=20, batch_size=1, learning_rate=3e-3, progress=False)
    assert fresh.loss(batch) < loss - 0.05


@every_case
def test_the_method_is_in_the_path(method):
    peft = PeftModel(small_model(), method)
    before = logits(peft)
    scramble(peft.trainable)
    assert np.abs(logits(peft) - before).max() > 0.01


@every_case
def test_nothing_changes_at_init(method):
    """True of LoRA, whose B is zero, and of methods that only select."""
    model = small_model()
    assert np.array_equal(logits(PeftModel(model, method)), logits(model))


def test_lora_with_b_not_zero_changes_the_output():
    model = small_model()
    assert not np.allclose(logits(PeftModel(model, LoRA(init_lora_weights=False))), logits(model))


@pytest.mark.parametrize("name", METHODS)
def test_parameter_count_of_gpt2_small(name):
    """Counted on shapes alone: arrays that take no memory stand in for the weights."""
    config = GPT2Config()
    zero = np.zeros((), np.float32)
    model = GPT2(config, {n: np.broadcast_to(zero, shape) for n, shape in config.shapes().items()})
    method = AdapterFusion({"a": Adapter(), "b": Adapter()}) if name == "fusion" else METHODS[name]()
    everything = method.init(model, np.random.default_rng(0))
    everything |= {n: w for n, w in model.weights.items() if method.select(n, config)}
    assert sum(a.size for n, a in everything.items() if method.trains(n)) == COUNTS[name]


def test_lora_prints_its_parameters_in_pefts_words(capsys):
    PeftModel(small_model(), LoRA(r=2)).print_trainable_parameters()
    total = sum(w.size for w in small_model().weights.values())
    own = 3 * 2 * (12 + 36)
    share = 100 * own / (total + own)
    expected = f"trainable params: {own:,} || all params: {total + own:,} || trainable%: {share:.4f}\n"
    assert capsys.readouterr().out == expected


@every_case
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-12)])
def test_merged_and_unmerged_agree(method, dtype, tolerance):
    model = small_model(dtype)
    peft = PeftModel(model, method)
    scramble(peft.tensors)
    merged = peft.merge_and_unload()
    size = np.abs(logits(peft)).max()
    assert np.abs(logits(merged) - logits(peft)).max() / size < tolerance
    assert type(merged) is GPT2 and merged.weights.keys() == model.weights.keys()


@pytest.mark.parametrize("name", ["full", "bitfit", "sparse", "lora"])
def test_a_merged_model_stays_as_it_is_when_training_goes_on(name):
    peft = PeftModel(small_model(), SMALL[name])
    merged = peft.merge_and_unload()
    before = snapshot(merged.weights)
    train(peft, [([], ids) for ids in texts((6, 5))], steps=2, progress=False)
    assert snapshot(merged.weights) == before


def test_unmerge_gives_the_base_back():
    model = small_model("float32")
    peft = PeftModel(model, LoRA(r=2, target_modules="all-linear"))
    scramble(peft.tensors)
    again = peft.unmerge(peft.merge_and_unload())
    assert all(np.allclose(again.weights[n], w, atol=1e-6) for n, w in model.weights.items())


def test_a_method_that_cannot_be_merged_says_so():
    with pytest.raises(InputError, match="Method cannot be merged"):
        PeftModel(small_model(), Method()).merge_and_unload()


@pytest.mark.parametrize("method", [Full(), LoRA(r=2, lora_alpha=5, target_modules="all-linear")], ids=type)
def test_saved_and_loaded_is_the_same(method, tmp_path):
    model = small_model("float32")
    peft = PeftModel(model, method)
    scramble(peft.trainable)
    peft.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(model, tmp_path)
    assert snapshot(again.trainable) == snapshot(peft.trainable)
    assert np.array_equal(logits(again), logits(peft))
    if not isinstance(method, Full):
        assert again.method == method


# ------------------------------------------------------------------------------------- what it costs


def count_matmuls(monkeypatch, model, batch):
    """How many gradients of weights and of inputs the linear layers form in one step."""
    formed = []
    backward = ops.linear_backward

    def counted(dy, cache):
        dx, grads = backward(dy, cache)
        formed.extend((["x"] if dx is not None else []) + sorted(grads))
        return dx, grads

    monkeypatch.setattr(ops, "linear_backward", counted)
    monkeypatch.setattr("minipeft.peft_model.num_threads", lambda: 1)
    model.loss_and_grads(batch)
    return {kind: formed.count(kind) for kind in ("x", "weight", "bias")}


def test_full_fine_tuning_forms_every_gradient(monkeypatch):
    counts = count_matmuls(monkeypatch, PeftModel(small_model(), Full()), small_batch())
    assert counts == {"x": 12, "weight": 12, "bias": 12}  # 3 layers of 4


def test_lora_forms_no_gradient_of_a_frozen_weight_and_stops_at_its_lowest_layer(monkeypatch):
    model, batch = small_model(), small_batch()
    counts = count_matmuls(monkeypatch, PeftModel(model, LoRA(r=2)), batch)
    assert counts == {"x": 11, "weight": 0, "bias": 0}  # not through h.0.attn.c_attn, the lowest
    counts = count_matmuls(
        monkeypatch, PeftModel(model, LoRA(r=2, target_modules=("h.2.mlp.c_proj",))), batch
    )
    assert counts == {"x": 0, "weight": 0, "bias": 0}


def arrays_in(cache):
    if isinstance(cache, np.ndarray):
        yield cache
    elif isinstance(cache, tuple | list):
        for item in cache:
            yield from arrays_in(item)


def test_the_cache_of_a_frozen_model_is_small():
    """Evaluation keeps nothing but weights and row scales; LoRA keeps less than full fine-tuning."""

    def kept(method, learns):
        peft, batch = PeftModel(small_model(), method), small_batch()
        _, _, caches = gpt2.forward(batch.ids, batch.layout, peft.step(learns=learns))
        weights = {id(w) for w in [*peft.weights.values(), *peft.tensors.values()]}
        return sum(a.nbytes for a in arrays_in(caches) if id(a) not in weights) / len(batch.ids) / 8

    L = CONFIG.n_layer
    assert kept(LoRA(r=2), learns=False) < 4 * L
    assert kept(LoRA(r=2), learns=True) < 0.75 * kept(Full(), learns=True)
    assert kept(LoRA(r=2, target_modules=("h.2.mlp.c_proj",)), learns=True) < 0.1 * kept(Full(), learns=True)


# ----------------------------------------------------------------------------------------- bad settings


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"r": 0}, "rank r must be 1 or more, not 0"),
        ({"lora_dropout": 1.0}, "lora_dropout must be at least 0 and below 1"),
        (
            {"init_lora_weights": "olora"},
            "init_lora_weights must be true, false, 'gaussian' or 'pissa', not 'olora'",
        ),
        (
            {"target_modules": ("q_proj",)},
            "match no linear layer: there are attn.c_attn, attn.c_proj, mlp.c_fc",
        ),
    ],
)
def test_bad_lora_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        PeftModel(small_model(), LoRA(**settings))


def test_two_methods_that_own_the_same_tensor_are_refused():
    with pytest.raises(InputError, match=r"same tensor 'h.0.attn.c_attn.lora_A'"):
        PeftModel(small_model(), [LoRA(r=2), LoRA(r=2)])


@pytest.mark.parametrize(
    "targets, expected",
    [
        (("c_proj",), {"attn.c_proj", "mlp.c_proj"}),
        (("attn.c_proj",), {"attn.c_proj"}),
        (r"h\.\d+\.mlp\..*", {"mlp.c_fc", "mlp.c_proj"}),
        ("all-linear", {"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"}),
    ],
)
def test_targets_follow_pefts_rules(targets, expected):
    peft = PeftModel(small_model(), LoRA(r=1, target_modules=targets))
    assert {n.split(".", 2)[2].removesuffix(".lora_A") for n in peft.tensors if n.endswith("A")} == expected
