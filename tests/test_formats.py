"""Adapters on disk: every method comes back; what `peft` wrote is read, and written again as it was."""

from dataclasses import replace

import numpy as np
import pytest
from against import LOGITS, REFERENCE, assert_same_logits, base, each_dtype, packed_logits, stored
from every_method import BOTH, CASES, EXAMPLES
from small import CONFIG as CONFIG_OF_TESTS
from small import logits, scramble, small_batch, small_model, snapshot

from minipeft import (
    GPT2,
    IA3,
    Adapter,
    BitFit,
    DoRA,
    Full,
    Houlsby,
    InputError,
    Layerwise,
    LNTuning,
    LoRA,
    LoRAPlus,
    Modules,
    PeftModel,
    PrefixTuning,
    PromptTuning,
    PTuning,
    Sparse,
    VeRA,
    train,
)
from minipeft.files.json_files import read_json, write_json
from minipeft.files.tensors import read_safetensors, write_safetensors
from minipeft.methods import Chain

CONFIG, TENSORS, ENCODER = "adapter_config.json", "adapter_model.safetensors", "encoder.safetensors"


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Small as the model is here, threads cost more than they bring."""
    monkeypatch.setenv("MINIPEFT_THREADS", "1")


def trained(method, dtype="float32"):
    """A small model with the method, away from where it began."""
    peft = PeftModel(small_model(dtype), method)
    scramble(peft.trainable)
    return peft


def change(folder, **values):
    """Set keys of the adapter's configuration; a value of `...` takes the key out."""
    config = read_json(folder / CONFIG) | values
    write_json(folder / CONFIG, {key: value for key, value in config.items() if value is not ...})


def rewrite(folder, edit, file=TENSORS):
    """Read the tensors, let `edit` change the dict, write them again."""
    tensors = {name: a.copy() for name, a in read_safetensors(folder / file)[0].items()}
    edit(tensors)
    write_safetensors(folder / file, tensors)


def assert_same_files(ours, theirs):
    """The same tensors, and the same keys of the configuration. A list of modules is a set for `peft`."""
    assert {f.name for f in ours.glob("*.*")} == {f.name for f in theirs.glob("*.*")}
    for file in theirs.glob("*.safetensors"):
        read, expected = (read_safetensors(folder / file.name)[0] for folder in (ours, theirs))
        assert read.keys() == expected.keys()
        assert all(read[key].dtype == expected[key].dtype for key in expected)
        assert snapshot(read) == snapshot(expected)
    for file in theirs.glob("*.json"):
        assert in_order(read_json(ours / file.name)) == in_order(read_json(file))


def in_order(config):
    return {
        key: sorted(v) if key.endswith("_modules") and isinstance(v, list) else v for key, v in config.items()
    }


# ----------------------------------------------------------------------------------- every method comes back


@pytest.mark.slow
@pytest.mark.parametrize("dtype", LOGITS)
@pytest.mark.parametrize("name", CASES)
def test_saved_and_loaded_is_the_same(name, dtype, tmp_path):
    peft = trained(CASES[name], dtype)
    for tensor, V in peft.tensors.items():
        if tensor.endswith("_reflections"):
            np.fill_diagonal(V, -1)  # as AdapterHub's files have it; nothing reads it
    peft.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(peft.model, tmp_path)
    assert snapshot(again.tensors) == snapshot(peft.tensors)
    assert snapshot(again.trainable) == snapshot(peft.trainable)
    assert np.array_equal(logits(again), logits(peft))
    again.save_pretrained(tmp_path / "again")
    assert_same_files(tmp_path / "again", tmp_path)


# ----------------------------------------------------------------------------------------- what `peft` wrote

MADE = {f"formats/{path.name}" for path in (REFERENCE / "formats").iterdir()}
TABLES = {"tiny-prompt", "tiny-p-mlp", "tiny-p-lstm", "tiny-prefix", "tiny-prefix-mlp"}
WITH_GRADIENTS = {  # make_linear.py, make_select.py and make_reference.py made these
    "linear-rslora", "linear-patterns", "linear-pissa", "linear-dora", "linear-ia3", "linear-vera",
    "linear-vera-key", "select-ln_tuning", "tiny-lora-all", "tiny-lora-c_attn",
}  # fmt: skip
each_folder = pytest.mark.parametrize("folder", sorted(MADE | TABLES | WITH_GRADIENTS))


def expected_logits(folder):
    """Of the first columns, in float64."""
    return stored(folder)["logits"] if folder in WITH_GRADIENTS else stored("formats")[folder]


@each_folder
@each_dtype
def test_logits_of_an_adapter_of_peft_are_those_of_peft(folder, dtype):
    peft, true = PeftModel.from_pretrained(base(dtype), REFERENCE / folder), expected_logits(folder)
    assert_same_logits(packed_logits(peft)[:, : true.shape[1]], true)


@each_folder
def test_an_adapter_of_peft_is_written_again_as_it_was(folder, tmp_path):
    PeftModel.from_pretrained(base("float32"), REFERENCE / folder).save_pretrained(tmp_path)
    if folder == "formats/lora-bias-and-ln_f":  # `peft` writes ln_f's bias three times, and reads one of them
        for twice in ("original_module", "modules_to_save"):
            key = f"base_model.model.transformer.ln_f.{twice}.bias"
            value = read_safetensors(REFERENCE / folder / TENSORS)[0][key]
            rewrite(tmp_path, lambda t, key=key, value=value: t.update({key: value}))
    assert_same_files(tmp_path, REFERENCE / folder)


@pytest.mark.parametrize(
    "folder, methods",
    {
        "linear-rslora": [
            LoRA(4, 6, 0.0, BOTH, use_rslora=True, layers_to_transform=(1,)),
        ],
        "formats/lora-one-layer": [LoRA(2, 3, init_lora_weights="gaussian", layers_to_transform=1)],
        "formats/lora-bias-all": [LoRA(2, 3), BitFit()],
        "formats/lora-bias-only": [LoRA(2, 3, layers_to_transform=(0,)), BitFit(("h.0.attn.c_attn",))],
        "formats/lora-bias-and-ln_f": [LoRA(2, 3), BitFit(), Modules(("ln_f",))],
        "formats/lora-wte": [LoRA(2, 3), Modules(("wte",))],
        "formats/lora-lm_head": [LoRA(2, 3), Modules(("lm_head",))],
        "formats/dora-rslora": [DoRA(2, 3, use_rslora=True), BitFit(("c_attn",))],
        "formats/ia3-modules": [IA3(("c_attn",), ()), Modules(("ln_2",))],
        "formats/ln_tuning-modules": [LNTuning(r".*\.ln_[12]"), Modules(("ln_f",))],
        "formats/vera-bias": [VeRA(4), BitFit(("c_attn",)), Modules(("ln_f",))],
        "formats/p-modules": [PromptTuning(2), Modules(("h.1.ln_2",))],
        "tiny-p-lstm": [PromptTuning(4)],
        "tiny-prefix-mlp": [PrefixTuning(3)],
    }.items(),
)
def test_what_peft_says_is_a_method_or_a_chain_here(folder, methods):
    method = PeftModel.from_pretrained(base(), REFERENCE / folder).method
    assert (method.methods if type(method) is Chain else [method]) == methods


def test_wte_alone_parts_from_the_head_that_it_was_tied_to():
    """As in `peft`: the head stays the base's. Of a tied pair that trains together, one is left."""
    model = base()
    parted, alone, tied = (
        PeftModel.from_pretrained(model, REFERENCE / "formats" / name)
        for name in ("lora-wte", "lora-lm_head", "lora-tied")
    )
    W = model.weights["wte.weight"]
    assert np.array_equal(parted.weights["lm_head.weight"], W) and parted.config.head == "lm_head"
    assert not np.array_equal(parted.weights["wte.weight"], W)
    assert np.array_equal(alone.weights["wte.weight"], W) and "lm_head.weight" in alone.trainable
    assert tied.config.head == "wte" and "wte.weight" in tied.trainable
    assert model.config.tie_word_embeddings and "lm_head.weight" not in model.weights


def test_a_loaded_adapter_trains_on():
    for folder in ("tiny-p-lstm", "tiny-prefix-mlp", "formats/lora-wte", "formats/lora-bias-all"):
        peft = PeftModel.from_pretrained(base(), REFERENCE / folder)
        _, grads = peft.loss_and_grads(small_batch())
        assert grads.keys() == peft.trainable.keys()


# ------------------------------------------------------------------------------------------ configurations

EVERY_KEY = {  # of each peft_type, the keys that the library writes
    kind: read_json(REFERENCE / folder / CONFIG)
    for kind, folder in {
        "LORA": "linear-dora", "IA3": "linear-ia3", "LN_TUNING": "select-ln_tuning", "VERA": "linear-vera",
        "PROMPT_TUNING": "tiny-prompt", "P_TUNING": "tiny-p-mlp", "PREFIX_TUNING": "tiny-prefix",
    }.items()
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_new_adapter_has_every_key_that_peft_writes_with_values_of_its_kind(name, tmp_path):
    PeftModel(small_model(), CASES[name]).save_pretrained(tmp_path)
    config = read_json(tmp_path / CONFIG) if (tmp_path / CONFIG).is_file() else {}
    kind = config.get("peft_type", "MINIPEFT_NONE")
    if kind.startswith("MINIPEFT_"):
        return
    assert config.keys() == EVERY_KEY[kind].keys()
    for key in config.keys() & {
        "fan_in_fan_out",
        "inference_mode",
        "peft_version",
        "megatron_core",
        "task_type",
    }:
        assert config[key] == EVERY_KEY[kind][key]


@pytest.mark.parametrize(
    "methods, values",
    [
        ([LoRA(r=2), BitFit()], {"bias": "all", "modules_to_save": None, "use_dora": False}),
        ([BitFit(("c_attn",)), DoRA(r=2)], {"bias": "lora_only", "use_dora": True}),
        ([VeRA(r=4, layers_to_transform=1), BitFit(("h.1.attn.c_attn",))], {"bias": "vera_only"}),
        ([LoRA(r=2), Modules(("wte",))], {"modules_to_save": ["wte", "lm_head"]}),
        ([IA3(("c_fc",))], {"target_modules": ["c_fc"], "feedforward_modules": []}),
        ([LNTuning(r"h\.[12]\.ln_2")], {"target_modules": r"transformer\.(h\.[12]\.ln_2)"}),
        (
            [PromptTuning(2, "TEXT", (5, 6))],
            {"prompt_tuning_init": "RANDOM", "prompt_tuning_init_text": None},
        ),
        ([PrefixTuning(2, True)], {"encoder_hidden_size": 12, "token_dim": 12, "num_layers": 3}),
        ([LoRA(r=2, init_lora_weights="pissa")], {"init_lora_weights": "pissa"}),
    ],
)
def test_methods_are_said_in_pefts_words(methods, values, tmp_path):
    PeftModel(small_model(), methods).save_pretrained(tmp_path)
    config = read_json(tmp_path / CONFIG)
    assert {key: config[key] for key in values} == values


def by_name(*kinds, layers=(0, 1, 2)):
    return [f"h.{i}.{kind}" for i in layers for kind in kinds]


LINEAR = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
LN_F = LNTuning(("ln_f",))


@pytest.mark.parametrize(
    "methods, values",
    [  # of an expression PEFT asks "transformer.h.0.ln_1" and "transformer.h.0.attn", too
        (LoRA(r=2, target_modules=r"h\.0\..*"), {"target_modules": by_name(*LINEAR, layers=(0,))}),
        (DoRA(r=2, target_modules=r".*"), {"target_modules": by_name(*LINEAR)}),
        (
            VeRA(r=2, target_modules=r"transformer\.h\.2\..*"),
            {"target_modules": by_name(*LINEAR, layers=(2,))},
        ),
        (LNTuning(r"h\..*"), {"target_modules": by_name("ln_1", "ln_2")}),
        (LNTuning(r".*ln_.*"), {"target_modules": r".*ln_.*"}),
        (
            LoRA(r=2, target_modules=r"(transformer\.h\.0|h\.1)\.attn\.c_attn"),
            {"target_modules": by_name("attn.c_attn", layers=(0, 1))},
        ),
        (LoRA(r=2, target_modules=r"(?i)h\.0\.MLP\.C_FC"), {"target_modules": ["h.0.mlp.c_fc"]}),
        (LoRA(r=2, target_modules=("c_attn", "ln_1", "wte")), {"target_modules": by_name("attn.c_attn")}),
        (VeRA(r=2, target_modules=("c_fc", "attn")), {"target_modules": by_name("mlp.c_fc")}),
        (  # a layer that is named in whole is not asked for its number there
            LoRA(r=2, target_modules=("transformer.h.0.mlp.c_fc", "c_attn"), layers_to_transform=1),
            {"target_modules": ["h.1.attn.c_attn"], "layers_to_transform": None},
        ),
        (
            IA3(r"h\.0\..*", ("mlp.c_proj",)),
            {
                "target_modules": by_name(*LINEAR, layers=(0,)),
                "feedforward_modules": ["h.0.mlp.c_proj"],
            },
        ),
        (  # which is a word for target_modules alone
            IA3(("c_fc",), "all-linear"),
            {"target_modules": by_name("mlp.c_fc"), "feedforward_modules": by_name("mlp.c_fc")},
        ),
        (IA3(("c_attn", "n"), ("n",)), {"target_modules": ["c_attn", "n"], "feedforward_modules": []}),
        # of modules_to_save every end of a name, of any letters: "attn" is "c_attn", too
        ([LN_F, Modules(("attn",))], {"modules_to_save": by_name("attn")}),
        ([LN_F, Modules(("h",))], {"modules_to_save": ["h.0", "h.1", "h.2"]}),
        ([LN_F, Modules(("h.0.attn", "h.0"))], {"modules_to_save": ["h.0"]}),
        (
            [PrefixTuning(2), Modules(("h.0.mlp", "mlp.c_fc"))],
            {"modules_to_save": ["h.0.mlp", "h.1.mlp.c_fc", "h.2.mlp.c_fc"]},
        ),
        (
            [LoRA(r=2), Modules(("c_fc", "transformer.h.0.mlp.c_fc", "wte"))],
            {"modules_to_save": ["c_fc", "transformer.h.0.mlp.c_fc", "wte", "lm_head"]},
        ),
    ],
    ids=str,
)
def test_peft_finds_in_the_file_the_modules_of_here_and_no_other(methods, values, tmp_path):
    peft = trained(methods, "float64")
    peft.save_pretrained(tmp_path)
    config = read_json(tmp_path / CONFIG)
    assert {key: config[key] for key in values} == values
    assert np.array_equal(logits(PeftModel.from_pretrained(peft.model, tmp_path)), logits(peft))


def test_an_end_of_wte_in_modules_to_save_is_wte(tmp_path):
    peft = PeftModel(small_model().untied(), [LoRA(r=2), Modules(("wte",))])
    peft.save_pretrained(tmp_path)
    change(tmp_path, modules_to_save=["te"])
    assert "wte.weight" in PeftModel.from_pretrained(peft.model, tmp_path).trainable


@pytest.mark.parametrize(
    "method",
    [LoRA(r=2), LNTuning(("ln_1",)), IA3(("c_attn",), ())],
    ids=lambda method: type(method).__name__,
)
@pytest.mark.parametrize(
    "exclude, left",
    [
        (r"h\.0\..*", (0, 1, 2)),
        (r"transformer\.h\.0\..*", (1, 2)),
        (r".*\.0\..*", (1, 2)),
        ("all-linear", (0, 1, 2)),
        (r"c_attn|ln_1", (0, 1, 2)),
        (["h.0.attn.c_attn", "0.ln_1"], (1, 2)),
        (["transformer.h.1.attn.c_attn", "transformer.h.1.ln_1"], (0, 2)),
        (["h.0", "0"], (0, 1, 2)),
    ],
    ids=str,
)
def test_exclude_modules_sees_the_whole_name_as_in_peft(method, exclude, left, tmp_path):
    """A string is a regular expression for "transformer.h.0.attn.c_attn"; a list has such names, or ends."""
    trained(method).save_pretrained(tmp_path)
    change(tmp_path, exclude_modules=exclude)
    without_layers(tmp_path, {0, 1, 2} - {*left})
    peft = PeftModel.from_pretrained(small_model(), tmp_path)
    assert {int(name.split(".")[1]) for name in peft.trainable} == {*left}
    peft.save_pretrained(tmp_path / "again")
    assert read_json(tmp_path / "again" / CONFIG)["exclude_modules"] == exclude


def without_layers(folder, layers):
    """The adapter's tensors, but for those of some layers."""
    keys = lambda tensors: [key for key in tensors if any(f".h.{i}." in key for i in layers)]
    rewrite(folder, lambda tensors: [tensors.pop(key) for key in keys(tensors)])


def test_an_expression_sees_the_whole_name_as_in_peft(tmp_path):
    peft = trained(LoRA(r=2, target_modules=("h.0.attn.c_attn",)))
    peft.save_pretrained(tmp_path)
    change(tmp_path, target_modules=r"(transformer\.h\.0|h\.1)\.attn\.c_attn")
    assert np.array_equal(logits(PeftModel.from_pretrained(peft.model, tmp_path)), logits(peft))
    peft = trained(IA3(("c_attn",), ()))
    peft.save_pretrained(tmp_path)
    change(tmp_path, feedforward_modules=r"h\.0\.attn\.c_attn")  # which is no whole name, and so nothing
    assert np.array_equal(logits(PeftModel.from_pretrained(peft.model, tmp_path)), logits(peft))


def test_the_whole_name_in_a_model_without_a_head_is_shorter(tmp_path):
    """So is that of an expression, and a save is of a model with a head."""
    peft = trained(LoRA(r=2, target_modules=("h.0.attn.c_attn",)))
    peft.save_pretrained(tmp_path)
    rewrite(tmp_path, lambda t: [t.update({k.replace("transformer.", ""): t.pop(k)}) for k in list(t)])
    change(tmp_path, target_modules=r"h\.[01]\.attn\.c_attn", exclude_modules=r"h\.1\..*")
    again = PeftModel.from_pretrained(peft.model, tmp_path)
    assert np.array_equal(logits(again), logits(peft))
    again.save_pretrained(tmp_path / "again")
    config = read_json(tmp_path / "again" / CONFIG)
    assert config["target_modules"] == r"transformer\.(h\.[01]\.attn\.c_attn)"
    assert config["exclude_modules"] == r"transformer\.(h\.1\..*)"


def test_a_whole_name_is_a_target_in_every_layer_as_in_peft(tmp_path):
    peft = trained(LoRA(r=2, target_modules=("h.0.attn.c_attn", "h.1.attn.c_attn")))
    peft.save_pretrained(tmp_path)
    change(tmp_path, target_modules=["transformer.h.0.attn.c_attn", "c_attn"], layers_to_transform=[1])
    assert np.array_equal(logits(PeftModel.from_pretrained(peft.model, tmp_path)), logits(peft))


@pytest.mark.parametrize(
    "methods",
    [
        [LoRA(r=2), Modules(("attn",))],  # PEFT puts no LoRA beside what modules_to_save holds
        [LoRA(r=2), BitFit(("c_fc",))],  # neither all biases nor LoRA's own
        [IA3(), BitFit()],
        [LoRA(r=2), Modules(r"h\.0\.ln_1")],
        [LoRA(r=2), Sparse(0.1)],
        [LoRA(r=2), DoRA(r=2, target_modules=("c_fc",))],
    ],
)
def test_what_peft_cannot_say_is_written_in_our_own_format(methods, tmp_path):
    peft = trained(methods)
    peft.save_pretrained(tmp_path)
    config = read_json(tmp_path / CONFIG)
    assert config["peft_type"] == "MINIPEFT_CHAIN" and len(config["methods"]) == 2
    assert np.array_equal(logits(PeftModel.from_pretrained(peft.model, tmp_path)), logits(peft))


@pytest.mark.parametrize(
    "folder, newer",
    [
        ("linear-ia3", ["exclude_modules", "peft_version", "init_ia3_weights", "modules_to_save"]),
        ("linear-rslora", ["rank_pattern", "alpha_pattern", "use_dora", "layer_replication", "lora_bias",
                           "arrow_config", "target_parameters", "peft_version", "init_lora_weights"]),
        ("linear-vera", ["save_projection", "projection_prng_key", "d_initial", "bias", "peft_version"]),
        ("tiny-p-lstm", ["encoder_num_layers", "encoder_reparameterization_type", "num_layers", "token_dim"]),
        ("tiny-prefix", ["init_weights", "peft_version", "prefix_projection", "encoder_hidden_size"]),
    ],
)  # fmt: skip
def test_an_older_configuration_lacks_keys(folder, newer, tmp_path):
    """Their defaults stand in, and a save writes most of them."""
    for file in (CONFIG, TENSORS):
        (tmp_path / file).write_bytes((REFERENCE / folder / file).read_bytes())
    change(tmp_path, **dict.fromkeys(newer, ...))
    peft, true = PeftModel.from_pretrained(base(), tmp_path), expected_logits(folder)
    assert_same_logits(packed_logits(peft)[:, : true.shape[1]], true)
    peft.save_pretrained(tmp_path / "again")
    assert read_json(tmp_path / "again" / CONFIG).items() >= read_json(tmp_path / CONFIG).items()


def test_four_keys_are_enough(tmp_path):
    peft = trained(LoRA())
    peft.save_pretrained(tmp_path)
    write_json(
        tmp_path / CONFIG, {"peft_type": "LORA", "r": 8, "lora_alpha": 8, "target_modules": ["c_attn"]}
    )
    again = PeftModel.from_pretrained(peft.model, tmp_path)
    assert again.method == LoRA() and np.array_equal(logits(again), logits(peft))
    again.save_pretrained(tmp_path)
    assert read_json(tmp_path / CONFIG).keys() == EVERY_KEY["LORA"].keys()


def test_keys_that_change_nothing_are_kept(tmp_path):
    PeftModel(small_model(), LoRA(r=2)).save_pretrained(tmp_path)
    kept = {"peft_version": "0.99.0", "revision": "main", "base_model_name_or_path": "gpt2", "new_key": None,
            "megatron_core": "megatron", "eva_config": {"rho": 2.0}, "init_lora_weights": "eva",
            "layers_pattern": "h", "another": False}  # fmt: skip
    change(tmp_path, **kept)
    peft = PeftModel.from_pretrained(small_model(), tmp_path)
    assert peft.method == LoRA(r=2)
    peft.save_pretrained(tmp_path / "again")
    assert read_json(tmp_path / "again" / CONFIG).items() >= kept.items()
    peft.method.lora_dropout = 0.5  # another method than the file's: what is beside it stays
    peft.save_pretrained(tmp_path / "again")
    config = read_json(tmp_path / "again" / CONFIG)
    assert config["lora_dropout"] == 0.5 and config["revision"] == "main" and "new_key" not in config


@pytest.fixture
def lora(tmp_path):
    PeftModel(small_model(), LoRA(r=2)).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "values, message",
    [
        ({"peft_type": "OFT"}, "peft_type 'OFT' is not one of LORA, IA3"),
        ({"bias": "some"}, "bias = 'some' is not implemented"),
        ({"lora_bias": True}, "h.0.attn.c_attn.base_layer.bias is missing"),
        ({"lora_bias": True, "use_dora": True}, "lora_bias = True is not implemented beside use_dora"),
        ({"trainable_token_indices": [1]}, "wte.token_adapter.trainable_tokens_delta is missing"),
        ({"trainable_token_indices": {"lm_head": [1]}}, "of lm_head: only wte has tokens"),
        ({"layer_replication": [[0, 2]]}, "layer_replication = "),
        ({"enable_lora": [True, False, True]}, "enable_lora = "),
        ({"use_bdlora": {"nblocks": 2}}, "use_bdlora = "),
        ({"alora_invocation_tokens": [3]}, "alora_invocation_tokens = "),
        ({"layers_pattern": "layers"}, "layers_pattern = 'layers'"),
        ({"task_type": "SEQ_CLS"}, "task_type = 'SEQ_CLS'"),
        ({"new_key": 3}, "new_key = 3 is not implemented"),
        ({"init_lora_weights": "olora"}, "init_lora_weights must be"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights must be"),
        ({"modules_to_save": ["score"]}, "'score' is no module"),
        ({"target_modules": ["q_proj"]}, "match no linear layer"),
        ({"r": "8"}, "r must be a whole number, not '8'"),
        ({"use_rslora": "yes"}, "use_rslora must be true or false, not 'yes'"),
        ({"r": 3}, r"h.0.attn.c_attn.lora_A.weight has shape \(2, 12\), expected \(3, 12\)"),
        ({"target_modules": ["c_attn", "c_fc"]}, "h.0.mlp.c_fc.lora_A.weight is missing"),
        ({"target_modules": ["h.0.attn.c_attn"]}, "h.1.attn.c_attn.lora_A.weight does not belong there"),
        ({"use_dora": True}, "h.0.attn.c_attn.lora_magnitude_vector is missing"),
        ({"bias": "all"}, "tensor h.0.ln_1.bias is missing"),
        ({"modules_to_save": ["ln_f"]}, "tensor ln_f.weight is missing"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(lora, values, message):
    change(lora, **values)
    with pytest.raises(InputError, match=message):
        PeftModel.from_pretrained(small_model(), lora)


def test_another_base_is_refused(lora):
    with pytest.raises(InputError, match=r"lora_A.weight has shape \(2, 12\), expected \(2, 32\)"):
        PeftModel.from_pretrained(base(), lora)
    PeftModel(base(), PrefixTuning(2)).save_pretrained(lora)
    with pytest.raises(InputError, match=r"prompt_embeddings has shape \(2, 128\), expected \(2, 72\)"):
        PeftModel.from_pretrained(small_model(), lora)


def test_a_folder_without_an_adapter_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no adapter_config\.json there"):
        PeftModel.from_pretrained(small_model(), tmp_path)
    for text, message in {"[1]": "want an object of settings", "{}": "no adapter_config"}.items():
        (tmp_path / CONFIG).write_text(text)
        with pytest.raises(InputError, match=message):
            PeftModel.from_pretrained(small_model(), tmp_path)
    write_json(tmp_path / CONFIG, {"peft_type": "LORA"})
    with pytest.raises(InputError, match=r"adapter_model\.safetensors: no such file"):
        PeftModel.from_pretrained(small_model(), tmp_path)


def test_a_folder_of_a_pickle_says_how_to_convert_it(lora):
    (lora / TENSORS).rename(lora / "adapter_model.bin")
    with pytest.raises(
        InputError, match=r"only safetensors are read, .* adapter_model.bin; .*save_pretrained"
    ):
        PeftModel.from_pretrained(small_model(), lora)


def test_an_adapter_of_the_hub_is_fetched(tmp_path, monkeypatch):
    peft, asked = trained(CASES["lora"], "float64"), []
    peft.save_pretrained(tmp_path)
    fetched = lambda repository, **_: asked.append(repository) or str(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)
    again = PeftModel.from_pretrained(peft.model, "someone/gpt2-lora")
    assert asked == ["someone/gpt2-lora"] and np.array_equal(logits(again), logits(peft))


def test_offline_an_adapter_of_the_hub_is_asked_for_as_a_folder(monkeypatch):
    def offline(*_, **__):
        raise ConnectionError("network is unreachable")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(InputError, match=r"could not be downloaded .* no folder here has that name"):
        PeftModel.from_pretrained(small_model(), "someone/gpt2-lora")


def test_a_mistyped_folder_does_not_go_to_the_hub(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    monkeypatch.chdir(tmp_path)
    trained(CASES["lora"], "float64").save_pretrained("runs/lora")
    with pytest.raises(InputError, match=r"runs/lroa: no such folder; did you mean runs/lora\?"):
        PeftModel.from_pretrained(small_model(), "runs/lroa")
    with pytest.raises(InputError, match=r"runs/zzz: no such folder; nothing like it is in runs/"):
        PeftModel.from_pretrained(small_model(), "runs/zzz")


@pytest.mark.parametrize(
    "method, kind, holds",
    [
        ([LoRA(r=2, target_modules="all-linear"), Modules(("wte",))], "LORA", "transformer.wte.weight"),
        ([LoRA(r=2, target_modules="all-linear"), Modules(("ln_f",))], "LORA", "transformer.ln_f.weight"),
        ([LoRA(r=2, target_modules="all-linear"), BitFit()], "LORA", "transformer.h.0.ln_1.bias"),
        ([VeRA(r=3, target_modules="all-linear"), BitFit()], "VERA", "transformer.h.0.ln_1.bias"),
        (
            [LoRA(r=2, target_modules="all-linear"), BitFit("all-linear")],
            "LORA",
            "h.0.attn.c_attn.base_layer.bias",
        ),
        (
            [VeRA(r=3, target_modules="all-linear"), BitFit(("c_attn", "c_proj", "c_fc"))],
            "VERA",
            "c_fc.base_layer.bias",
        ),
        (
            [LoRA(r=2, target_modules=r"h\.0\..*c_.*"), BitFit(r"h\.0\..*c_.*")],
            "LORA",
            "c_fc.base_layer.bias",
        ),
        ([Adapter(non_linearity=None, reduction_factor=4), BitFit()], "MINIPEFT_CHAIN", "h.0.ln_1.bias"),
        ([Houlsby(non_linearity=None, reduction_factor=4), BitFit()], "MINIPEFT_CHAIN", "h.0.ln_1.bias"),
    ],
    ids=str,
)
def test_what_stands_beside_an_adapter_of_all_linear_layers_comes_back(method, kind, holds, tmp_path):
    peft = trained(method, "float64")
    peft.save_pretrained(tmp_path)
    assert read_json(tmp_path / CONFIG)["peft_type"] == kind
    assert any(name.endswith(holds) for name in read_safetensors(tmp_path / TENSORS)[0])
    assert np.array_equal(logits(PeftModel.from_pretrained(small_model(), tmp_path)), logits(peft))


def test_a_chain_of_two_choices_of_weights_comes_back(tmp_path):
    peft = trained([Sparse(fraction=0.2, target_modules=(name,)) for name in ("c_attn", "c_fc")], "float64")
    peft.save_pretrained(tmp_path)
    assert np.array_equal(logits(PeftModel.from_pretrained(small_model(), tmp_path)), logits(peft))


@pytest.mark.parametrize(
    "method", [BitFit(), Layerwise(1), Sparse(fraction=0.2), [Adapter(), BitFit()]], ids=str
)
def test_what_is_loaded_for_use_alone_is_saved_whole(method, tmp_path):
    peft = trained(method, "float64")
    peft.save_pretrained(tmp_path)
    PeftModel.from_pretrained(small_model(), tmp_path, is_trainable=False).save_pretrained(tmp_path)
    assert np.array_equal(logits(PeftModel.from_pretrained(small_model(), tmp_path)), logits(peft))


def test_an_adapter_that_is_loaded_for_use_alone_does_not_train(tmp_path):
    trained(CASES["lora"], "float64").save_pretrained(tmp_path)
    peft = PeftModel.from_pretrained(small_model(), tmp_path, is_trainable=False)
    assert peft.trainable == {} and peft.num_trainable == 0
    with pytest.raises(InputError, match=r"nothing trains: .* is_trainable=True"):
        train(peft, [([1], [2])], steps=1, progress=False)
    assert PeftModel.from_pretrained(small_model(), tmp_path).num_trainable > 0


# ------------------------------------------------------------------------------------------ what is beside it

WITH_ENCODER = [PTuning(3, encoder_hidden_size=5), PTuning(2, "LSTM", 4), PrefixTuning(2, True, 5)]


@pytest.mark.parametrize("method", WITH_ENCODER, ids=["mlp", "lstm", "prefix"])
def test_peft_gets_the_finished_table_and_training_goes_on_with_what_made_it(method, tmp_path):
    peft = trained(method, "float64")
    peft.save_pretrained(tmp_path)
    assert read_safetensors(tmp_path / TENSORS)[0].keys() == {"prompt_embeddings"}
    again = PeftModel.from_pretrained(peft.model, tmp_path)
    assert again.method == method and again.trainable.keys() == peft.trainable.keys()
    (tmp_path / ENCODER).unlink()
    table = PeftModel.from_pretrained(peft.model, tmp_path)
    assert table.method == type(method.without_encoder(peft.tensors)[0])(method.num_virtual_tokens)
    assert len(table.trainable) == 1
    np.testing.assert_allclose(logits(table), logits(peft), rtol=0, atol=1e-12)


def test_names_of_the_encoder_are_pefts(tmp_path):
    """Those of its module `prompt_encoder`, and its layouts: (out, in)."""
    trained(PTuning(3, encoder_hidden_size=5)).save_pretrained(tmp_path)
    shapes = {name: t.shape for name, t in read_safetensors(tmp_path / ENCODER)[0].items()}
    assert shapes == {
        "embedding.weight": (3, 12), "mlp_head.0.weight": (5, 12), "mlp_head.0.bias": (5,),
        "mlp_head.2.weight": (5, 5), "mlp_head.2.bias": (5,), "mlp_head.4.weight": (12, 5),
        "mlp_head.4.bias": (12,),
    }  # fmt: skip


def test_an_encoder_that_does_not_make_the_table_is_passed_over(tmp_path):
    peft = trained([PTuning(3, encoder_hidden_size=5), Modules(("ln_f",))])
    peft.save_pretrained(tmp_path)
    rewrite(tmp_path, lambda tensors: tensors["mlp_head.4.bias"].__iadd__(0.1), ENCODER)
    again = PeftModel.from_pretrained(peft.model, tmp_path)
    assert again.method.methods == [PromptTuning(3), Modules(("ln_f",))]
    np.testing.assert_allclose(logits(again), logits(peft), rtol=0, atol=1e-4)
    rewrite(tmp_path, lambda tensors: tensors.pop("mlp_head.4.bias"), ENCODER)
    with pytest.raises(InputError, match=r"encoder\.safetensors: tensor mlp_head\.4\.bias is missing"):
        PeftModel.from_pretrained(peft.model, tmp_path)


def test_an_encoder_of_an_earlier_save_does_not_stay(tmp_path):
    trained(PTuning(3, encoder_hidden_size=5)).save_pretrained(tmp_path)
    trained(PromptTuning(3)).save_pretrained(tmp_path)
    assert not (tmp_path / ENCODER).exists()


def test_the_rate_of_lora_plus_is_kept_where_peft_does_not_look(tmp_path):
    peft = trained(LoRAPlus(r=2, loraplus_lr_ratio=4.0))
    peft.save_pretrained(tmp_path)
    assert "loraplus_lr_ratio" not in read_json(tmp_path / CONFIG)
    assert PeftModel.from_pretrained(peft.model, tmp_path).method == peft.method


def test_veras_projections_are_stored_or_follow_from_the_key(tmp_path):
    for stores in (True, False):
        peft = trained(VeRA(r=4, projection_prng_key=3, save_projection=stores))
        peft.save_pretrained(tmp_path)
        assert ("base_model.vera_A" in read_safetensors(tmp_path / TENSORS)[0]) == stores
        again = PeftModel.from_pretrained(peft.model, tmp_path)
        assert snapshot(again.tensors) == snapshot(peft.tensors)
    change(tmp_path, save_projection=True)
    with pytest.raises(InputError, match="tensor vera_A is missing"):
        PeftModel.from_pretrained(peft.model, tmp_path)


def test_an_adapter_of_a_model_without_a_head_is_saved_as_of_one_with_it(lora, tmp_path):
    """The keys that are written are those of that one."""
    change(lora, task_type="FEATURE_EXTRACTION")
    PeftModel.from_pretrained(small_model(), lora).save_pretrained(tmp_path / "again")
    assert read_json(tmp_path / "again" / CONFIG)["task_type"] == "CAUSAL_LM"


def test_a_vera_without_its_vectors_is_refused_before_anything_is_drawn(tmp_path):
    PeftModel(small_model(), VeRA(r=3)).save_pretrained(tmp_path)
    change(tmp_path, r=10**9, save_projection=False)
    write_safetensors(tmp_path / TENSORS, {})
    with pytest.raises(InputError, match="VeRA: no vera_lambda_d is there, for any layer"):
        PeftModel.from_pretrained(small_model(), tmp_path)


def test_a_whole_model_of_other_heads_is_no_adapter_of_this_base(tmp_path):
    PeftModel(small_model(config=replace(CONFIG_OF_TESTS, n_head=2)), Full()).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="n_head is 2, and the base's is 3"):
        PeftModel.from_pretrained(small_model(), tmp_path)


def test_names_without_transformer_are_read(lora):
    """As of an adapter that was trained on `GPT2Model`, which has no head."""
    model = small_model()
    expected = logits(PeftModel.from_pretrained(model, lora))

    def shorten(tensors):
        for key in list(tensors):
            tensors[key.replace("transformer.", "")] = tensors.pop(key)

    rewrite(lora, shorten)
    assert np.array_equal(logits(PeftModel.from_pretrained(model, lora)), expected)


# --------------------------------------------------------------------------------------------- our own format


def test_sparse_holds_its_values_and_where_they_are(tmp_path):
    """Not the base's own numbers: it can be put on another base, and needs no data to be chosen from."""
    peft = trained(Sparse(0.1, importance="fisher", examples=EXAMPLES))
    peft.save_pretrained(tmp_path)
    tensors, _ = read_safetensors(tmp_path / TENSORS)
    assert {key.rpartition("_")[2] for key in tensors} == {"indices", "values"}
    assert all(t.dtype == "int32" for key, t in tensors.items() if key.endswith("_indices"))
    other = small_model("float32", seed=5)
    again = PeftModel.from_pretrained(other, tmp_path).merge_and_unload()
    changes = peft.merge_and_unload().weights["wte.weight"] - peft.model.weights["wte.weight"]
    np.testing.assert_allclose(again.weights["wte.weight"] - other.weights["wte.weight"], changes, atol=1e-6)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"peft_type": "MINIPEFT_FOO"}, "peft_type 'MINIPEFT_FOO' is not one of MINIPEFT_FULL"),
        ({"new": 3}, "new = 3 is not implemented"),
        ({"top": "all"}, "top must be a whole number"),
        ({"top": 1}, r"tensor h\.1\.attn\.c_attn\.bias does not belong there"),
        ({"top": 3}, r"tensor h\.0\.ln_1\.weight is missing"),
    ],
)
def test_a_file_of_our_own_that_does_not_fit_is_refused(values, message, tmp_path):
    PeftModel(small_model(), Layerwise(top=2)).save_pretrained(tmp_path)
    change(tmp_path, **values)
    with pytest.raises(InputError, match=message):
        PeftModel.from_pretrained(small_model(), tmp_path)


def test_numbers_of_numpy_are_settings_like_others(tmp_path):
    two, one = np.int64(2), np.int64(1)
    for method, same in (
        (LoRA(r=two, layers_to_transform=one), LoRA(r=2, layers_to_transform=1)),
        (Sparse(fraction=np.float32(0.25), samples=two), Sparse(fraction=0.25, samples=2)),
    ):
        peft = PeftModel(small_model(), method)
        train(peft, EXAMPLES, steps=two, learning_rate=np.float32(0.5), progress=False)
        peft.save_pretrained(tmp_path)
        assert PeftModel.from_pretrained(small_model(), tmp_path).method == same


def test_a_list_of_one_is_that_one(tmp_path):
    PeftModel(small_model(), [LoRA(r=2)]).save_pretrained(tmp_path)
    assert PeftModel.from_pretrained(small_model(), tmp_path).method == LoRA(r=2)
    PeftModel(small_model(), [Full()]).save_pretrained(tmp_path / "full")
    assert GPT2.from_pretrained(tmp_path / "full").config == small_model().config


def test_a_folder_holds_what_was_saved_last(tmp_path):
    for methods in ([LoRA(r=2)], [Full()], [PTuning(2)], [BitFit()], [Full()], [IA3(), Modules()]):
        peft = trained(methods)
        peft.save_pretrained(tmp_path)
        assert np.array_equal(logits(PeftModel.from_pretrained(peft.model, tmp_path)), logits(peft))


def test_the_list_of_a_chain_is_checked(tmp_path):
    write_json(tmp_path / CONFIG, {"peft_type": "MINIPEFT_CHAIN", "methods": {"peft_type": "MINIPEFT_LORA"}})
    write_safetensors(tmp_path / TENSORS, {})
    with pytest.raises(InputError, match="methods must be a list of configurations"):
        PeftModel.from_pretrained(small_model(), tmp_path)


def test_an_adapter_that_needs_a_head_of_its_own_stands_alone():
    peft = PeftModel(base(), LoRA(r=2))
    with pytest.raises(InputError, match="brings embeddings or a head of its own"):
        peft.load_adapter(REFERENCE / "formats" / "lora-wte", "parted")
    peft.load_adapter(REFERENCE / "formats" / "lora-tied", "tied")
    parted = PeftModel.from_pretrained(base(), REFERENCE / "formats" / "lora-wte")
    with pytest.raises(InputError, match="'default' brought embeddings or a head of its own"):
        parted.add_adapter("other", LoRA(r=2))


PLACES = {"wte": "base_model.model.transformer.wte.weight", "lm_head": "base_model.model.lm_head.weight"}


@pytest.mark.parametrize("modules", [("wte", "lm_head"), ("lm_head",), ("wte",)])
def test_embeddings_beside_an_adapter_are_the_bases_and_are_kept(modules, lora, tmp_path):
    rng = np.random.default_rng(0)
    base = small_model()
    new = {m: rng.normal(size=base.weights["wte.weight"].shape).astype("float32") for m in modules}
    rewrite(lora, lambda tensors: tensors.update({PLACES[m]: array for m, array in new.items()}))
    peft = PeftModel.from_pretrained(base, lora)
    wte = new.get("wte", base.weights["wte.weight"])
    by_hand = base if "lm_head" not in new else base.untied()
    head = {"lm_head.weight": new["lm_head"]} if "lm_head" in new else {}
    by_hand = by_hand.with_weights(by_hand.weights | {"wte.weight": wte} | head)
    assert np.array_equal(logits(peft), logits(attached_as(peft, by_hand)))
    assert not {"wte.weight", "lm_head.weight"} & set(peft.trainable)
    peft.save_pretrained(tmp_path / "again")
    assert np.array_equal(logits(PeftModel.from_pretrained(base, tmp_path / "again")), logits(peft))


def attached_as(peft, base):
    """The tensors of an adapter on another base."""
    other = PeftModel(base, peft.method)
    for name, tensor in peft.tensors.items():
        other.tensors[name][...] = tensor
    return other


def test_embeddings_beside_an_adapter_of_another_vocabulary_are_refused(lora):
    rewrite(lora, lambda tensors: tensors.update({PLACES["wte"]: np.zeros((3, 12), "float32")}))
    with pytest.raises(InputError, match=r"wte\.weight"):
        PeftModel.from_pretrained(small_model(), lora)


def test_the_name_of_the_adapter_in_a_key_and_keys_of_the_first_peft_are_read(lora, tmp_path):
    expected = logits(PeftModel.from_pretrained(small_model(), lora))
    named = lambda t: {key.replace(".weight", ".default.weight"): a for key, a in t.items()}
    tensors = {key: a.copy() for key, a in read_safetensors(lora / TENSORS)[0].items()}
    write_safetensors(lora / TENSORS, named(tensors))
    change(lora, merge_weights=True, enable_lora=None)
    assert np.array_equal(logits(PeftModel.from_pretrained(small_model(), lora)), expected)


def test_what_a_file_said_stays_with_its_adapter(lora, tmp_path):
    change(lora, revision="main")
    peft = PeftModel(small_model(), LoRA(r=3))
    peft.load_adapter(lora, "other")
    for name, revision in {"default": None, "other": "main"}.items():
        peft.set_adapter(name)
        peft.save_pretrained(tmp_path / name)
        assert read_json(tmp_path / name / CONFIG)["revision"] == revision


def test_an_end_of_a_name_in_modules_to_save_is_of_any_letters_as_in_peft(tmp_path):
    peft = trained([LoRA(r=2), Modules(("ln_f", "h.0.mlp.c_fc", "h.1.mlp.c_fc", "h.2.mlp.c_fc"))])
    peft.save_pretrained(tmp_path)
    change(tmp_path, modules_to_save=["_f", "p.c_fc"])
    again = PeftModel.from_pretrained(peft.model, tmp_path)
    assert snapshot(again.trainable) == snapshot(peft.trainable)


def test_how_another_beginning_would_have_been_says_nothing(lora):
    expected = logits(PeftModel.from_pretrained(small_model(), lora))
    for init in (True, "gaussian", "orthogonal"):
        change(lora, loftq_config={"loftq_bits": 4}, corda_config={"a": 1}, init_lora_weights=init)
        assert np.array_equal(logits(PeftModel.from_pretrained(small_model(), lora)), expected)
    for key, init in {"loftq_config": "loftq", "corda_config": "corda"}.items():
        change(lora, init_lora_weights=init)
        with pytest.raises(InputError, match=f"{key} = "):
            PeftModel.from_pretrained(small_model(), lora)
        change(lora, **{key: ...})
