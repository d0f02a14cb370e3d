"""Beside a weight matrix: what is particular to LoRA and its variants, DoRA, IA3, VeRA; and to `peft`.

reference/make_linear.py made the numbers in reference/linear-*.
"""

from dataclasses import replace

import numpy as np
import pytest
from against import (
    BATCHES,
    EXACT,
    REFERENCE,
    assert_same_gradients,
    assert_same_logits,
    assert_same_loss_and_gradients,
    assert_ten_steps_follow,
    base,
    each_number_of_threads,
    packed_logits,
    stored,
)
from every_method import BOTH, CASES
from small import CONFIG, logits, scramble, small_batch, small_model, texts

from minipeft import InputError, LoRA, PeftModel, gradcheck, pack, train
from minipeft.files.json_files import read_json
from minipeft.files.tensors import read_safetensors
from minipeft.gradcheck import TOLERANCE, check_array
from minipeft.methods.linear.dora import DoRA
from minipeft.methods.linear.ia3 import IA3
from minipeft.methods.linear.lora_plus import LoRAPlus
from minipeft.methods.linear.targets import by_pattern
from minipeft.methods.linear.vera import VeRA
from minipeft.speed import fast

# -------------------------------------------------------------------------------------------- each by itself


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


def test_lora_prints_its_parameters_in_pefts_words(capsys):
    PeftModel(small_model(), LoRA(r=2)).print_trainable_parameters()
    total = sum(w.size for w in small_model().weights.values())
    own = 3 * 2 * (12 + 36)
    share = 100 * own / (total + own)
    expected = f"trainable params: {own:,} || all params: {total + own:,} || trainable%: {share:.4f}\n"
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize(
    "method",
    [LoRA(init_lora_weights=False), IA3(init_ia3_weights=False), VeRA(r=4, init_weights=False)],
    ids=type,
)
def test_settings_for_tests_change_the_output_at_once(method):
    model = small_model()
    assert not np.allclose(logits(PeftModel(model, method)), logits(model))


def test_ia3_with_a_scale_of_zero_cannot_be_unmerged():
    peft = PeftModel(small_model(), IA3())
    peft.tensors["h.0.attn.c_attn.ia3_l"][3] = 0
    with pytest.raises(InputError, match="where a scale is zero"):
        peft.unmerge(peft.merge_and_unload())


def test_ia3_behind_lora_names_the_layer_that_cannot_be_merged():
    peft = PeftModel(small_model(), CASES["lora and ia3"])
    with pytest.raises(
        InputError, match=r"input of h\.0\.mlp\.c_proj cannot be merged with 'h\.0\.mlp\.c_proj\.lora"
    ):
        peft.merge_and_unload()


def test_scaling_follows_rslora_and_the_patterns():
    method = LoRA(r=16, lora_alpha=8, rank_pattern={"c_proj": 4, "mlp.c_fc": 9}, alpha_pattern={"h.0.*": 2})
    scales = {
        n: method.scaling(n)
        for n in ("h.0.attn.c_proj", "h.1.mlp.c_proj", "h.10.mlp.c_fc", "h.1.attn.c_attn")
    }
    assert list(scales.values()) == [2 / 4, 8 / 4, 8 / 9, 8 / 16]
    method = replace(method, use_rslora=True)
    assert [method.scaling(n) for n in scales] == [2 / 2, 8 / 2, 8 / 3, 8 / 4]


def test_pissa_begins_with_the_best_approximation_of_its_rank():
    peft = PeftModel(small_model(), LoRA(r=3, init_lora_weights="pissa", lora_alpha=5))
    for name in ("h.0.attn.c_attn", "h.1.attn.c_attn"):
        W, rest = peft.model.weights[f"{name}.weight"], peft.weights[f"{name}.weight"]
        update = 5 / 3 * peft.tensors[f"{name}.lora_A"] @ peft.tensors[f"{name}.lora_B"]
        np.testing.assert_allclose(rest + update, W, atol=1e-14)
        singular = np.linalg.svd(W, compute_uv=False)
        np.testing.assert_allclose(np.linalg.svd(rest, compute_uv=False)[:-3], singular[3:], atol=1e-12)
        assert np.linalg.matrix_rank(update) == 3


def test_lora_plus_is_lora_with_a_faster_b():
    peft, plain = (PeftModel(small_model(), cls(r=2)) for cls in (LoRAPlus, LoRA))
    before = {n: p.copy() for n, p in peft.trainable.items()}
    for p in (peft, plain):
        settings = {"learning_rate": 1e-3, "weight_decay": 0, "max_grad_norm": 1e9, "warmup_steps": 0}
        scramble(p.trainable, scale=0.1)
        before = {n: t.copy() for n, t in p.trainable.items()}
        train(p, [([], texts((6,))[0])], steps=1, batch_size=1, progress=False, **settings)
        p.moved = {n: t - before[n] for n, t in p.trainable.items()}
    for name, moved in plain.moved.items():
        np.testing.assert_allclose(peft.moved[name], moved * (16 if name.endswith("B") else 1), rtol=1e-9)


def test_lora_plus_leaves_other_methods_of_a_chain_alone():
    chain = PeftModel(small_model(), [LoRAPlus(r=2), LoRA(r=2, target_modules=("c_fc",))]).method
    assert chain.lr_scale("h.0.attn.c_attn.lora_B", CONFIG) == 16
    assert chain.lr_scale("h.0.mlp.c_fc.lora_B", CONFIG) == 1
    assert chain.lr_scale("h.0.attn.c_attn.lora_A", CONFIG) == 1


def test_doras_gradient_is_that_with_its_norms_held_and_the_true_one_differs():
    """By the norms' own derivative, which acts on A and B alone; the magnitude's gradient is true."""
    peft, batch = PeftModel(small_model(), DoRA(r=2)), small_batch()
    scramble(peft.trainable)
    _, grads = peft.loss_and_grads(batch)
    rng = np.random.default_rng(0)

    def errors():
        return {
            n: check_array(lambda: peft.loss(batch), p, grads[n], rng, elements=0)
            for n, p in peft.trainable.items()
        }

    true = errors()
    for name, error in true.items():
        assert error < TOLERANCE if name.endswith("magnitude_vector") else error > 1e-3, name
    peft.method = peft.method.with_constants_held(peft.weights, peft.tensors)
    assert max(errors().values()) < TOLERANCE


def test_the_gradient_check_of_a_method_made_of_dora_is_of_that_method():
    class Wrong(DoRA):
        def linear_backward(self, dy, cache, step):
            dy, dx, grads = super().linear_backward(dy, cache, step)
            return dy, dx, {name: -7 * g for name, g in grads.items()}

    assert max(gradcheck(PeftModel(small_model(), Wrong(r=2)), small_batch()).values()) > 1


def test_a_pattern_of_five_repeats_stands_for_the_end_of_a_name():
    assert by_pattern("h.0.attn.c_attn", {r"h\.[0-9]+\..*c_at+n.*": 3}, 1) == 3
    assert by_pattern("h.0.attn.c_attn", {"c_proj|attn": 3, "c_attn": 4}, 1) == 4


def test_of_two_patterns_that_fit_the_first_counts_and_it_is_the_first_in_a_file_too():
    assert by_pattern("h.0.mlp.c_proj", {"c_proj": 1, "mlp.c_proj": 9}, 5) == 1
    with pytest.raises(
        InputError, match=r"'mlp\.c_proj' and 'c_proj' fit h\.0\.mlp\.c_proj, and a file would"
    ):
        by_pattern("h.0.mlp.c_proj", {"mlp.c_proj": 9, "c_proj": 1}, 5)


def test_dora_computes_its_norms_once_per_step(monkeypatch):
    monkeypatch.setenv("MINIPEFT_THREADS", "3")
    calls, norms = [], DoRA.norms
    monkeypatch.setattr(DoRA, "norms", lambda self, *args: calls.append(1) or norms(self, *args))
    peft = PeftModel(small_model(), DoRA(r=2))
    calls.clear()
    peft.loss_and_grads(small_batch())
    assert len(calls) == 1


def test_doras_weight_has_columns_of_its_magnitudes():
    peft = PeftModel(small_model(), DoRA(r=2))
    scramble(peft.trainable)
    merged = peft.merge_and_unload().weights["h.0.attn.c_attn.weight"]
    lengths = np.linalg.norm(merged, axis=0)
    np.testing.assert_allclose(lengths, np.abs(peft.tensors["h.0.attn.c_attn.lora_magnitude_vector"]))


def test_the_backward_of_ia3_stops_at_the_input_of_its_lowest_layer(monkeypatch):
    monkeypatch.setattr(fast, "gelu_backward", lambda *args: pytest.fail("below the lowest place"))
    peft = PeftModel(small_model(), CASES["ia3, one input high up"])
    _, grads = peft.loss_and_grads(small_batch())
    assert (
        list(grads) == ["h.2.mlp.c_proj.input.ia3_l"]
        and np.abs(grads["h.2.mlp.c_proj.input.ia3_l"]).min() > 0
    )


def test_veras_frozen_projections_are_shared_do_not_train_and_do_not_lengthen_the_backward():
    peft = PeftModel(small_model(), VeRA(r=5, target_modules=("h.1.mlp.c_proj", "h.1.attn.c_attn")))
    assert peft.tensors["vera_A"].shape == (20, 5) and peft.tensors["vera_B"].shape == (5, 36)
    assert not {"vera_A", "vera_B"} & peft.trainable.keys()
    step = peft.step(grad_enabled=True)
    assert step.lowest_trained == step.depth("h.1.attn.c_attn")


def test_veras_projections_follow_from_the_key_alone():
    one, same = (PeftModel(small_model(), VeRA(r=5), seed=seed).tensors for seed in (0, 1))
    other = PeftModel(small_model(), VeRA(r=5, projection_prng_key=1)).tensors
    assert np.array_equal(one["vera_A"], same["vera_A"]) and not np.allclose(one["vera_A"], other["vera_A"])


@pytest.mark.parametrize(
    "method, message",
    [
        (LoRA(r=0), "rank r must be 1 or more, not 0"),
        (LoRA(lora_dropout=1.0), "lora_dropout must be at least 0 and below 1"),
        (
            LoRA(init_lora_weights="olora"),
            "init_lora_weights must be true, false, 'gaussian' or 'pissa', not 'olora'",
        ),
        (
            LoRA(target_modules=("q_proj",)),
            "match no linear layer: there are attn.c_attn, attn.c_proj, mlp.c_fc",
        ),
        (
            LoRA(rank_pattern={"c_attn": 0}),
            "rank_pattern: the rank must be 1 or more, not 0 at h.0.attn.c_attn",
        ),
        (LoRA(r=13, init_lora_weights="pissa"), "'pissa' needs r of at most 12"),
        (LoRA(lora_alpha=0, init_lora_weights="pissa"), "lora_alpha above 0"),
        (LoRA(layers_to_transform=(0, 3)), r"layers_to_transform: there is no layer 3 in h.0 ... h.2"),
        (LoRA(layers_to_transform=0, target_modules="all-linear"), "not with a string"),
        (LoRAPlus(loraplus_lr_ratio=0), "loraplus_lr_ratio must be above 0, not 0"),
        (DoRA(r=0), "rank r must be 1 or more, not 0"),
        (
            IA3(feedforward_modules=("c_fc",)),
            "feedforward_modules must be among target_modules: 'c_fc' is not",
        ),
        (IA3(target_modules=("q_proj",)), "match no linear layer"),
        (VeRA(r=0), "VeRA's rank r must be 1 or more, not 0"),
        (VeRA(vera_dropout=1.0), "vera_dropout must be at least 0 and below 1"),
        (VeRA(target_modules=("q_proj",)), "match no linear layer"),
        ([VeRA(r=2), VeRA(r=2, target_modules=("c_fc",))], "same tensor 'vera_A'"),
        ([LoRA(r=2), LoRA(r=2)], r"same tensor 'h.0.attn.c_attn.lora_A'"),
        ([LoRA(r=2), DoRA(r=2)], "same tensor 'h.0.attn.c_attn.lora_A'"),
    ],
)
def test_bad_settings_are_refused(method, message):
    with pytest.raises(InputError, match=message):
        PeftModel(small_model(), method)


# ----------------------------------------------------------------------------------------------- against peft

FOLDERS = {
    "linear-rslora": LoRA, "linear-patterns": LoRA, "linear-pissa": LoRA, "linear-dora": DoRA,
    "linear-ia3": IA3, "linear-vera": VeRA, "linear-vera-key": VeRA,
}  # fmt: skip
each_folder = pytest.mark.parametrize("folder", FOLDERS)


def our_name(key):
    """A tensor's name in `peft` -> here."""
    name = key.removeprefix("base_model.model.transformer.").removeprefix("base_model.")
    name = name.removesuffix(".default").removesuffix(".weight")
    return name.replace("mlp.c_proj.ia3_l", "mlp.c_proj.input.ia3_l")


def our_layout(value):
    """A tensor as `peft` lays it out -> as it is here: matrices are (in, out), IA3's scales are vectors."""
    return value.ravel() if 1 in value.shape else value.T


def tiny(folder):
    """The tiny GPT-2 with the adapter that `peft` wrote, in float64."""
    fields = FOLDERS[folder].__dataclass_fields__
    settings = {k: v for k, v in read_json(REFERENCE / folder / "adapter_config.json").items() if k in fields}
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    peft = PeftModel(base(), FOLDERS[folder](**settings))
    tensors, _ = read_safetensors(REFERENCE / folder / "adapter_model.safetensors")
    tensors = {our_name(key): our_layout(value) for key, value in tensors.items()}
    frozen = {"vera_A", "vera_B"} - tensors.keys()  # not stored: they follow from the key
    assert tensors.keys() == peft.tensors.keys() - frozen
    for name, value in tensors.items():
        assert peft.tensors[name].shape == value.shape, name
        peft.tensors[name][...] = value
    return peft


def reference(folder):
    """The numbers of `peft`, gradients by our names and as they lie here."""
    true = {}
    for key, value in stored(folder).items():
        kind, grad, name = key.rpartition("grad ")  # "dropout grad ...", "grad ...", or no gradient
        true[kind + grad + our_name(name)] = our_layout(value) if grad else value
    return true


def some_logits(model):
    """Of the first columns."""
    return packed_logits(model)[:, :40]


@each_folder
@each_number_of_threads
def test_logits_loss_and_every_gradient_are_those_of_peft(folder, threads, monkeypatch):
    monkeypatch.setenv("MINIPEFT_THREADS", str(threads))
    true, peft = reference(folder), tiny(folder)
    assert_same_logits(some_logits(peft), true["logits"])
    assert_same_loss_and_gradients(peft, true)


@pytest.mark.parametrize("folder", ["linear-dora", "linear-vera"])
def test_with_dropout_loss_and_gradients_are_those_of_peft(folder, monkeypatch):
    """The reference always drops every fourth column; so does this."""

    def dropout(x, p, rng):
        mask = np.broadcast_to((np.arange(x.shape[1]) % 4 != 0) / 0.75, x.shape) if p else None
        return (x, None) if mask is None else (x * mask, mask)

    monkeypatch.setattr(fast, "dropout", dropout)
    true, key = reference(folder), "dropout "
    loss, grads = tiny(folder).loss_and_grads(pack(BATCHES[0]), seed=0)
    assert loss == pytest.approx(float(true["dropout loss"]), rel=EXACT)
    assert_same_gradients(grads, {n.removeprefix(key): g for n, g in true.items() if n.startswith(key)})


@each_folder
def test_merged_logits_are_those_of_peft(folder):
    assert_same_logits(some_logits(tiny(folder).merge_and_unload()), stored(folder)["merged"])


@each_folder
def test_ten_training_steps_follow_the_curve_of_peft(folder):
    assert_ten_steps_follow(stored(folder)["curve"], tiny(folder))


def test_ten_training_steps_of_lora_plus_follow_the_curve_of_peft():
    lora = PeftModel.from_pretrained(base(), REFERENCE / "tiny-lora-all")
    peft = PeftModel(lora.model, LoRAPlus(**vars(lora.method)))
    for name, tensor in peft.tensors.items():
        tensor[...] = lora.tensors[name]
    assert_ten_steps_follow(stored("linear-lora-plus")["curve"], peft)


def test_pissa_begins_as_in_peft():
    true = stored("linear-init")
    peft = PeftModel(base(), LoRA(r=4, lora_alpha=6, target_modules=BOTH, init_lora_weights="pissa"))
    name = "h.1.attn.c_attn"
    update = 1.5 * peft.tensors[f"{name}.lora_A"] @ peft.tensors[f"{name}.lora_B"]
    np.testing.assert_allclose(update, true["pissa update"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(peft.weights[f"{name}.weight"], true["pissa base"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("folder", ["linear-vera", "linear-vera-key"])
def test_veras_projections_are_number_by_number_those_of_peft(folder):
    true, peft = stored("linear-init"), tiny(folder)
    drawn = peft.method.init(peft.model, np.random.default_rng(0))
    for matrix in "AB":
        assert np.array_equal(drawn[f"vera_{matrix}"], true[f"{folder} {matrix}"].T)
