"""Adapters in AdapterHub's format: what its library wrote is read, and written again; and with it, both ways.

The folders in reference/ are the library's: see make_adapters.py and make_adapterhub_files.py there. The
tests at the end need `adapters` itself, and are skipped without.
"""

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
from against import LOGITS, REFERENCE, assert_same_logits, base, each_dtype, packed_logits, stored
from every_method import HYBRID, SUBLAYER
from small import CONFIG, logits, scramble, small_batch, small_model, snapshot

from minipeft import (
    GPT2,
    MAM,
    AdamW,
    Adapter,
    AdapterFusion,
    Houlsby,
    InputError,
    LoRA,
    LoReFT,
    ParallelAdapter,
    PeftModel,
    PrefixTuning,
    UniPELT,
    gradcheck,
)
from minipeft.files.adapters import adapterhub
from minipeft.files.adapters.adapterhub import CONFIG as SETTINGS
from minipeft.files.adapters.adapterhub import TENSORS
from minipeft.files.json_files import read_json, write_json
from minipeft.files.tensors import read_safetensors, write_safetensors

PREFIX = PrefixTuning(4, True, 12)
FOLDERS = {  # and what they hold
    "tiny-seq_bn": Adapter(reduction_factor=4),
    "tiny-double_seq_bn": Houlsby(reduction_factor=4, scaling="channel"),
    "tiny-par_bn": ParallelAdapter(),
    "tiny-par_bn-learned": ParallelAdapter(reduction_factor=8, scaling="learned", non_linearity="gelu"),
    "tiny-loreft": LoReFT(r=3, suffix_positions=2),
    "tiny-fusion": AdapterFusion(
        {"food": Adapter(reduction_factor=4), "people": Adapter(reduction_factor=8)}
    ),
    "hub-leave_out": Adapter(
        mh_adapter=True, leave_out=(0,), scaling="learned", non_linearity="gelu", init_weights="houlsby",
        reduction_factor=8, dropout=0.1,
    ),
    "hub-widths": Adapter(
        reduction_factor={"1": 16, "default": 6}, non_linearity="tanh", original_ln_before=False
    ),
    "hub-parallel": ParallelAdapter(
        mh_adapter=True, scaling="channel", non_linearity="gelu_new", reduction_factor=16
    ),
    "hub-loreft": LoReFT(r=2),
    "hub-loreft-ends": LoReFT(r=3, layers=(1,), suffix_positions=2, non_linearity="tanh", dropout=0.0),
    "hub-direft": LoReFT(
        r=2, layers=(0,), suffix_positions=1, tied_weights=True, orthogonality=False,
        subtract_projection=False,
    ),
    "hub-fusion": AdapterFusion(
        {"food": Adapter(reduction_factor=8), "people": Adapter(reduction_factor=16, scaling="learned")}
    ),
    "hub-fusion-static": AdapterFusion(
        {
            "food": Adapter(True, True, 16, "swish", False, leave_out=(0,)),
            "people": Adapter(True, True, 8, "relu", False, leave_out=(0,)),
        },
        value=False,
    ),
    "hub-mam": MAM(PREFIX, ParallelAdapter(reduction_factor=8)),
    "hub-mam-flat": MAM(PrefixTuning(4), ParallelAdapter(reduction_factor=16, scaling="learned")),
    "hub-unipelt": UniPELT(PREFIX, Adapter(reduction_factor=8), r=2),
}  # fmt: skip
ROUNDED = {"tiny-loreft"}  # its logits are with a rotation in float64, which its file has in float32
SHARP = {"tiny-fusion"}  # a softmax over adapters with scores far apart: float32 rounding grows tenfold
each_folder = pytest.mark.parametrize("name", FOLDERS)


@pytest.fixture
def seq_bn(tmp_path):
    """A copy of an adapter's folder."""
    return copy("tiny-seq_bn", tmp_path)


def copy(name, tmp_path):
    return shutil.copytree(REFERENCE / name, tmp_path / name)


def change(path, **values):
    """Set keys of the inner configuration of a file."""
    whole = read_json(path)
    whole["config"] |= values
    path.write_text(json.dumps(whole))


def tensors(folder):
    """{file: its tensors} of a folder and its sub-folders, without heads."""
    paths = [path for path in folder.rglob("*.safetensors") if "head" not in path.name]
    return {str(path.relative_to(folder)): read_safetensors(path)[0] for path in paths}


def configs(folder):
    """{file: its JSON}, likewise."""
    paths = [path for path in folder.rglob("*.json") if "head" not in path.name]
    return {str(path.relative_to(folder)): read_json(path) for path in paths}


# ------------------------------------------------------------------------------- what the library wrote


@each_dtype
@each_folder
def test_what_the_library_wrote_has_its_logits(name, dtype):
    peft = PeftModel.from_pretrained(base(dtype), REFERENCE / name)
    true = stored(name)["logits"]
    one_token = [[i] for i in range(5)]  # what UniPELT's are of
    ours = np.concatenate(peft.logits(one_token)) if "unipelt" in name else packed_logits(peft)[: len(true)]
    atol = 1e-5 if name in ROUNDED and dtype == "float64" else LOGITS[dtype]
    atol *= 10 if name in SHARP and dtype == "float32" else 1
    np.testing.assert_allclose(ours, true, rtol=0, atol=atol)
    assert peft.dtype == dtype
    plain = packed_logits(base(dtype))[: len(true)]
    assert np.abs(plain - true).max() > 0.1  # there is something in the file


@each_folder
def test_the_method_is_what_the_library_was_told(name):
    peft = PeftModel.from_pretrained(base(), REFERENCE / name)
    assert adapterhub.reads(REFERENCE / name) and adapterhub.writes(peft.method)
    assert peft.method == FOLDERS[name]
    assert peft.tensors.keys() == PeftModel(base(), FOLDERS[name]).tensors.keys()


@each_folder
def test_a_save_after_a_load_is_the_same_tensor_by_tensor_and_key_by_key(name, tmp_path):
    adapterhub.save(PeftModel.from_pretrained(base("float32"), REFERENCE / name), tmp_path)
    again, first = tensors(tmp_path), tensors(REFERENCE / name)
    assert again.keys() == first.keys()
    for file in first:
        assert again[file].keys() == first[file].keys()
        for key, tensor in first[file].items():
            assert again[file][key].dtype == tensor.dtype and np.array_equal(again[file][key], tensor), key
    written = configs(tmp_path)
    if name == "tiny-fusion":  # of which the library wrote no list
        del written[adapterhub.SETUP]
    assert written == configs(REFERENCE / name)


@each_folder
def test_a_fresh_method_is_written_with_the_librarys_keys_and_shapes(name, tmp_path):
    model = base("float32")
    adapterhub.save(PeftModel(model, FOLDERS[name]), tmp_path)
    text = json.dumps(configs(tmp_path)).replace('"minipeft"', '"x"').replace(model.name, "gpt2-tiny")
    written, shapes = json.loads(text), shapes_in(tmp_path)
    if name == "tiny-fusion":  # whose folder has a name of its own, and no list
        del written[adapterhub.SETUP]
        written, shapes = (
            {file.replace("food,people", "fusion"): value for file, value in files.items()}
            for files in (written, shapes)
        )
    assert written == configs(REFERENCE / name)
    theirs = shapes_in(REFERENCE / name)
    unused = {"hub-loreft": ".units.1.", "hub-fusion-static": ".h.0."}.get(name)  # ends and layers left out
    if unused:
        theirs = {f: {k: s for k, s in inner.items() if unused not in k} for f, inner in theirs.items()}
    assert shapes == theirs


def shapes_in(folder):
    """{file: {key: shape}}; the adapter is called x."""
    return {
        file: {key.replace(".minipeft.", ".x."): t.shape for key, t in inner.items()}
        for file, inner in tensors(folder).items()
    }


def test_training_goes_on_from_a_file_as_without_it(tmp_path):
    def step(peft):
        _, grads = peft.loss_and_grads(small_batch())
        AdamW(1e-2, weight_decay=0.1).step(peft.trainable, grads)
        return logits(peft)

    peft = PeftModel(small_model(), LoReFT(r=2, suffix_positions=1))
    step(peft)
    adapterhub.save(peft, tmp_path)
    again = PeftModel.from_pretrained(small_model(), tmp_path)
    assert np.array_equal(step(again), step(peft))


# ----------------------------------------------------------------------------- what this package writes

OURS = {name: method for name, method in (SUBLAYER | HYBRID).items() if not isinstance(method, list)}


def scrambled(method, dtype="float64"):
    """A small model with the method, away from where it began; of reflections, what is read of them.

    In numbers that a float32 has, whatever the type.
    """
    peft = PeftModel(small_model(dtype), method)
    scramble(peft.trainable)
    for name, t in peft.tensors.items():
        t[...] = t.astype("float32")
        if name.endswith("_reflections"):
            t[...] = np.tril(t, -1) - np.eye(*t.shape)
    return peft


@pytest.mark.parametrize("name", OURS)
def test_what_is_written_is_read_bit_for_bit(name, tmp_path):
    assert adapterhub.writes(OURS[name]) and not adapterhub.writes(LoRA())
    peft = scrambled(OURS[name])
    adapterhub.save(peft, tmp_path)
    assert adapterhub.reads(tmp_path)
    again = PeftModel.from_pretrained(small_model(), tmp_path)
    assert again.method == peft.method
    assert snapshot(again.tensors) == snapshot(peft.tensors)
    assert again.trainable.keys() == peft.trainable.keys()
    assert np.array_equal(logits(again), logits(peft))


def test_a_chain_of_one_is_written_as_that_one(tmp_path):
    adapterhub.save(PeftModel(small_model(), [Adapter(reduction_factor=4)]), tmp_path)
    assert PeftModel.from_pretrained(small_model(), tmp_path).method == Adapter(reduction_factor=4)


@pytest.mark.parametrize("name", ["fusion", "loreft, both ends", "mam, flat", "unipelt"])
def test_a_model_on_a_gpu_is_written_and_read_alike(name, cupy, tmp_path):
    model = GPT2.random(CONFIG, device="cuda")
    device, host = PeftModel(model, OURS[name]), PeftModel(GPT2.random(CONFIG), OURS[name])
    adapterhub.save(device, tmp_path / "device")
    adapterhub.save(host, tmp_path / "host")
    written, expected = tensors(tmp_path / "device"), tensors(tmp_path / "host")
    assert written.keys() == expected.keys()
    for file, inner in expected.items():
        assert all(np.array_equal(written[file][key], t) for key, t in inner.items())
    again = PeftModel.from_pretrained(model, tmp_path / "host")
    adapterhub.save(again, tmp_path / "again")
    written = tensors(tmp_path / "again")
    for file, inner in expected.items():
        assert all(np.array_equal(written[file][key], t) for key, t in inner.items())


def test_no_activation_is_linear_there(tmp_path):
    peft = scrambled(Adapter(reduction_factor=4, non_linearity=None, scaling=2))
    adapterhub.save(peft, tmp_path)
    config = read_json(tmp_path / "adapter_config.json")["config"]
    assert config["non_linearity"] == "linear" and isinstance(config["scaling"], float)
    assert np.array_equal(logits(PeftModel.from_pretrained(small_model(), tmp_path)), logits(peft))


def test_what_says_nothing_here_is_kept(seq_bn, tmp_path):
    path = seq_bn / "adapter_config.json"
    change(path, phm_dim=7, init_weights_seed=3, cross_adapter=True, of_tomorrow=None, another=[])
    path.write_text(json.dumps(read_json(path) | {"config_id": "9076f36a74755ac4", "note": [1, 2]}))
    adapterhub.save(PeftModel.from_pretrained(base(), seq_bn), tmp_path / "again")
    assert configs(tmp_path / "again") == configs(seq_bn)


def test_settings_that_a_file_lacks_are_the_librarys(seq_bn):
    path = seq_bn / "adapter_config.json"
    whole = read_json(path)
    needed = ("mh_adapter", "output_adapter", "reduction_factor", "non_linearity")
    whole["config"] = {key: whole["config"][key] for key in needed}
    path.write_text(json.dumps(whole))
    expected = Adapter(reduction_factor=4, original_ln_before=False)
    assert asdict(PeftModel.from_pretrained(base(), seq_bn).method) == asdict(expected)


def test_a_model_without_head_and_half_precision_are_read(seq_bn):
    path, plain = seq_bn / "adapter.safetensors", PeftModel.from_pretrained(base(), seq_bn)
    stored = tensors(seq_bn)[path.name].items()
    write_safetensors(path, {k.removeprefix("transformer."): t.astype("float16") for k, t in stored})
    again = PeftModel.from_pretrained(base(), seq_bn)
    for name, t in plain.tensors.items():
        assert np.array_equal(again.tensors[name], t.astype("float16"))


def test_a_fusion_may_have_a_name_of_its_own(tmp_path):
    peft = scrambled(OURS["fusion"])
    adapterhub.save(peft, tmp_path)
    folder = (tmp_path / "food,people").rename(tmp_path / "both")
    path = folder / "adapter_fusion_config.json"
    path.write_text(path.read_text().replace('"name": "food,people"', '"name": "both"'))
    path = folder / "model_adapter_fusion.safetensors"
    stored = tensors(folder)[path.name].items()
    write_safetensors(path, {k.replace("food,people", "both"): t.copy() for k, t in stored})
    (tmp_path / "adapter_setup.json").unlink()
    again = PeftModel.from_pretrained(small_model(), tmp_path)
    assert np.array_equal(logits(again), logits(peft))
    adapterhub.save(again, tmp_path / "again")
    assert read_json(tmp_path / "again/adapter_setup.json")["adapter_setup"]["kwargs"] == {"name": "both"}
    assert np.array_equal(logits(PeftModel.from_pretrained(small_model(), tmp_path / "again")), logits(peft))


# ------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    "values, message",
    [
        ({"ln_before": True}, "ln_before = True is not implemented"),
        ({"original_ln_after": False}, "original_ln_after = False is not implemented"),
        ({"residual_before_ln": "post_add"}, "residual_before_ln = 'post_add' is not"),
        ({"phm_layer": True}, "phm_layer = True is not"),
        ({"inv_adapter": "nice"}, "inv_adapter = 'nice' is not"),
        ({"stochastic_depth": 0.1}, "stochastic_depth = 0.1 is not"),
        ({"use_gating": True}, "use_gating = True is not"),
        ({"of_tomorrow": 3}, "of_tomorrow = 3 is not implemented"),
        ({"architecture": "prompt_tuning"}, "architecture = 'prompt_tuning' is not implemented"),
        ({"architecture": "union", "configs": [{}, {}]}, "a union of bottleneck, bottleneck is not"),
        ({"non_linearity": "leakyrelu"}, "non_linearity 'leakyrelu' is not known: did you mean "),
        ({"leave_out": [2]}, "leave_out: there is no layer 2"),
    ],
)
def test_settings_that_are_not_implemented_are_named(seq_bn, values, message):
    change(seq_bn / "adapter_config.json", **values)
    with pytest.raises(InputError, match=message):
        PeftModel.from_pretrained(base(), seq_bn)


@pytest.mark.parametrize(
    "name, path, values, message",
    [
        ("tiny-loreft", "", {"output_reft": False}, "output_reft = False is not implemented"),
        ("tiny-fusion", "fusion/", {"temperature": True}, "temperature = True is not"),
        ("tiny-fusion", "fusion/", {"query_before_ln": True}, "query_before_ln = True is not"),
        ("tiny-fusion", "fusion/", {"dropout_prob": 0.1}, "dropout_prob = 0.1 is not"),
        ("tiny-fusion", "people/", {"is_parallel": True}, "anything but Adapter .* this is ParallelAdapter"),
        ("tiny-fusion", "people/", {"leave_out": [1]}, "the adapters must agree in leave_out"),
    ],
)
def test_other_settings_that_are_not_implemented_are_named(name, path, values, message, tmp_path):
    folder = copy(name, tmp_path)
    file = "adapter_fusion_config.json" if path == "fusion/" else "adapter_config.json"
    change(folder / path / file, **values)
    with pytest.raises(InputError, match=message):
        PeftModel.from_pretrained(base(), folder)


@pytest.mark.parametrize(
    "name, part, values, message",
    [
        ("hub-mam", 0, {"leave_out": [0]}, r"leave_out = \[0\] is not"),
        ("hub-mam", 0, {"non_linearity": "relu"}, "non_linearity = 'relu' is not"),
        ("hub-mam", 1, {"is_parallel": False}, "is_parallel = False is not implemented beside a prefix"),
        ("hub-unipelt", 0, {"shared_gating": False}, "shared_gating = False is not"),
        ("hub-unipelt", 0, {"use_gating": False}, "use_gating = False is not"),
        ("hub-unipelt", 1, {"is_parallel": True}, "is_parallel = True is not implemented beside a prefix"),
        ("hub-unipelt", 1, {"dropout": 0.1}, "UniPELT's adapter has no dropout"),
        ("hub-unipelt", 2, {"attn_matrices": ["q", "k"]}, r"attn_matrices = \['q', 'k'\] is not"),
        ("hub-unipelt", 2, {"use_dora": True}, "use_dora = True is not"),
    ],
)
def test_settings_of_a_part_that_are_not_implemented_are_named(name, part, values, message, tmp_path):
    folder = copy(name, tmp_path)
    parts = read_json(folder / "adapter_config.json")["config"]["configs"]
    parts[part] |= values
    change(folder / "adapter_config.json", configs=parts)
    with pytest.raises(InputError, match=message):
        PeftModel.from_pretrained(base(), folder)


@pytest.mark.parametrize("key", ["mh_adapter", "reduction_factor"])
def test_a_setting_that_is_needed_and_missing_is_named(seq_bn, key):
    path = seq_bn / "adapter_config.json"
    whole = read_json(path)
    del whole["config"][key]
    path.write_text(json.dumps(whole))
    with pytest.raises(InputError, match=f"{key} is missing"):
        PeftModel.from_pretrained(base(), seq_bn)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"model_type": "bert"}, "model_type = 'bert'; this is a GPT-2"),
        ({"hidden_size": 768}, "hidden_size = 768, and the model's is 32"),
        ({"version": None}, "version is missing: not written by `adapters`, or by too old a one"),
        ({"config": None}, "config is missing"),
    ],
)
def test_files_for_other_models_and_of_other_times_are_refused(seq_bn, values, message):
    path = seq_bn / "adapter_config.json"
    path.write_text(json.dumps(read_json(path) | values))
    with pytest.raises(InputError, match=message):
        PeftModel.from_pretrained(base(), seq_bn)


UP = "transformer.h.1.output_adapters.adapters.x.adapter_up"


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda t: t.pop(f"{UP}.bias"), f"tensor {UP}.bias is missing"),
        (lambda t: t.update({f"{UP}.more": np.zeros(3)}), f"tensor {UP}.more does not belong there"),
        (lambda t: t.update({f"{UP}.weight": t[f"{UP}.weight"].T}), r"adapter_up.weight has shape \(8, 32\)"),
    ],
)
def test_wrong_tensors_are_named(seq_bn, edit, message):
    path = seq_bn / "adapter.safetensors"
    found = {key: t.copy() for key, t in tensors(seq_bn)[path.name].items()}
    edit(found)
    write_safetensors(path, found)
    with pytest.raises(InputError, match=message):
        PeftModel.from_pretrained(base(), seq_bn)


@pytest.mark.parametrize(
    "n_layer, message",
    [
        (2, r"tensor transformer.h.2.output_adapters.adapters.minipeft.\S+ does not belong there"),
        (4, r"tensor transformer.h.3.output_adapters.adapters.minipeft.\S+ is missing"),
    ],
)
def test_an_adapter_for_another_number_of_layers_is_refused(n_layer, message, tmp_path):
    adapterhub.save(PeftModel(small_model(), Adapter(reduction_factor=4)), tmp_path)
    with pytest.raises(InputError, match=message):
        PeftModel.from_pretrained(small_model(config=replace(CONFIG, n_layer=n_layer)), tmp_path)


def test_a_head_is_accepted_only_where_it_is_the_models(tmp_path):
    folder = copy("hub-widths", tmp_path)  # which has one
    path = folder / "model_head.safetensors"
    head = read_safetensors(path)[0]["lm_head.weight"] + np.float32(0.01)
    assert PeftModel.from_pretrained(base(), folder)
    write_safetensors(path, {"lm_head.weight": head})
    with pytest.raises(InputError, match=r"model_head.safetensors: lm_head.weight is not the model's"):
        PeftModel.from_pretrained(base(), folder)


@pytest.mark.parametrize("name", ["tiny-seq_bn", "tiny-fusion"])
def test_a_pickle_file_is_refused_with_how_to_convert_it(name, tmp_path):
    folder = copy(name, tmp_path)
    path = folder / ("fusion/model_adapter_fusion" if "fusion" in name else "adapter")
    old = path.parent / f"pytorch_{path.name}.bin"
    path.with_suffix(".safetensors").rename(old)
    message = (
        rf"only a pickle is there, {old.name}, .* docs/formats.md has the command that makes .*safetensors"
    )
    with pytest.raises(InputError, match=message):
        PeftModel.from_pretrained(base(), folder)


def test_reflections_that_weight_decay_has_spoilt_are_refused(tmp_path):
    """`adapters` reads the diagonal as int(...), and then computes 0 where a sign should be."""
    folder = copy("tiny-loreft", tmp_path)
    path = folder / "adapter.safetensors"
    stored = tensors(folder)[path.name].items()
    write_safetensors(path, {k: t * np.float32(0.999 if k.endswith("original") else 1) for k, t in stored})
    with pytest.raises(InputError, match=r"weight\.original has something else than -1 on its diagonal"):
        PeftModel.from_pretrained(base(), folder)


def test_a_reft_that_does_not_say_whether_it_subtracts_is_refused(tmp_path):
    """The library does not write it: what is saved as DiReFT it loads as NoReFT."""
    with pytest.raises(InputError, match=r'"subtract_projection": true .NoReFT. or false .DiReFT'):
        PeftModel.from_pretrained(base(), REFERENCE / "tiny-direft")
    folder = copy("tiny-direft", tmp_path)
    change(folder / "adapter_config.json", subtract_projection=False)
    assert_same_logits(
        packed_logits(PeftModel.from_pretrained(base(), folder)), stored("tiny-direft")["logits"]
    )


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda f: shutil.rmtree(f / "fusion"), r"no adapter_config\.json there"),
        (lambda f: shutil.rmtree(f / "food"), r"food.adapter_config.json: no such file"),
        (lambda f: shutil.copytree(f / "fusion", f / "second"), "2 sub-folders with adapter_fusion_config"),
        (lambda f: change_name(f / "food/adapter_config.json", "fish"), "the name is 'fish', and its"),
        (lambda f: change_names(f / "fusion/adapter_fusion_config.json", ["../food"]), "not '../food'"),
    ],
)  # fmt: skip
def test_a_fusion_that_is_not_whole_is_refused(edit, message, tmp_path):
    folder = copy("tiny-fusion", tmp_path)
    edit(folder)
    with pytest.raises(InputError, match=message):
        PeftModel.from_pretrained(base(), folder)


def change_name(path, name):
    path.write_text(json.dumps(read_json(path) | {"name": name}))


def change_names(path, names):
    path.write_text(json.dumps(read_json(path) | {"adapter_names": names}))


def test_a_fusion_alone_and_other_setups_are_refused(tmp_path):
    assert adapterhub.reads(REFERENCE / "tiny-fusion/fusion")
    with pytest.raises(InputError, match=r"0 sub-folders with adapter_fusion_config\.json: want one"):
        PeftModel.from_pretrained(base(), REFERENCE / "tiny-fusion/fusion")
    folder = copy("hub-fusion", tmp_path)
    path = folder / "adapter_setup.json"
    path.write_text(path.read_text().replace("Fuse", "Stack"))
    with pytest.raises(InputError, match="a setup of Stack, single, single is not implemented, only Fuse"):
        PeftModel.from_pretrained(base(), folder)


def test_a_fusions_adapters_have_names_that_folders_can_have(tmp_path):
    peft = PeftModel(small_model(), AdapterFusion({"a.b": Adapter(reduction_factor=4)}))
    assert peft.num_trainable and max(gradcheck(peft, small_batch(), elements=1).values()) < 1e-7
    with pytest.raises(InputError, match=r"without . , / or .*: not 'a\.b'"):
        adapterhub.save(peft, tmp_path)


def test_other_formats_are_not_taken_for_this_one(tmp_path):
    assert not adapterhub.reads(REFERENCE / "tiny-lora-all") and not adapterhub.reads(tmp_path)
    assert not adapterhub.reads(REFERENCE / "gpt2-tiny")


# ------------------------------------------------------------------------------------- with the library


@pytest.fixture
def their_base(tmp_path):
    """A function of a type: `small_model` as the library has it; eager attention, for masks with a prefix."""
    torch = pytest.importorskip("torch", reason="needs the library itself")
    pytest.importorskip("adapters", reason="needs the library itself")
    from adapters import init
    from transformers import GPT2LMHeadModel

    def make(dtype):
        small_model(dtype).save_pretrained(tmp_path / "base")
        torch.set_default_dtype(getattr(torch, dtype))  # in which adapters are made, before they are read
        model = GPT2LMHeadModel.from_pretrained(
            tmp_path / "base", dtype=getattr(torch, dtype), attn_implementation="eager"
        )
        init(model)
        return model

    yield make
    torch.set_default_dtype(torch.float32)


def their_logits(model, sequences, start):
    """The logits (N, V) of texts whose positions begin at `start`."""
    import torch

    model.eval()
    with torch.no_grad():
        return torch.cat([
            model(
                input_ids=torch.tensor([ids]), position_ids=torch.arange(start, start + len(ids))[None]
            ).logits[0]
            for ids in sequences
        ]).numpy()  # fmt: skip


def sequences_for(method):
    """Texts; of one token where the library's gates are means over a text.

    None is shorter than LoReFT's suffix_positions: on such the library takes the wrong end's edit.
    """
    ids = [[3, 1, 4, 1, 5, 9, 2, 6], [53, 2], [58, 9, 7]]
    return [[i] for i in range(0, 61, 7)] if isinstance(method, UniPELT) else ids


@each_dtype
@pytest.mark.parametrize("name", OURS)
def test_the_library_reads_what_is_written(name, dtype, their_base, tmp_path, record_property):
    method, peft, theirs = OURS[name], scrambled(OURS[name], dtype), their_base(dtype)
    adapterhub.save(peft, tmp_path / "ours")
    info = {}
    if name == "diReFT":  # which the library makes of no file
        from adapters import DiReftConfig

        theirs.add_adapter("minipeft", config=DiReftConfig(r=method.r))
    if isinstance(method, AdapterFusion):
        setup, _ = theirs.load_adapter_setup(str(tmp_path / "ours"), use_safetensors=True, set_active=True)
        theirs.save_adapter_setup(str(tmp_path / "theirs"), setup, use_safetensors=True)
    else:
        theirs.load_adapter(str(tmp_path / "ours"), use_safetensors=True, with_head=False, loading_info=info)
        theirs.set_active_adapters("minipeft")
    sequences = sequences_for(method)
    got, ours = their_logits(theirs, sequences, peft.num_virtual_tokens), logits(peft, sequences)
    record_property("worst", float(np.abs(got - ours).max()))
    np.testing.assert_allclose(ours, got, rtol=0, atol=LOGITS[dtype])
    assert np.abs(ours - logits(small_model(dtype), sequences)).max() > 0.01
    missing = [k for k in info.get("missing_keys", []) if ".pool." not in k and ".units.1." not in k]
    assert not missing
    if isinstance(method, MAM | UniPELT):  # which the library cannot write
        return
    if not isinstance(method, AdapterFusion):
        theirs.save_adapter(str(tmp_path / "theirs"), "minipeft", use_safetensors=True)
    if isinstance(method, LoReFT) and not method.orthogonality:
        change(tmp_path / "theirs/adapter_config.json", subtract_projection=method.subtract_projection)
    again = PeftModel.from_pretrained(small_model(dtype), tmp_path / "theirs")
    assert snapshot(again.tensors) == snapshot(peft.tensors)


def test_how_to_convert_a_pickle_is_right(their_base, tmp_path, monkeypatch):
    """The command of docs/formats.md, run on what the library writes of a MAM."""
    import subprocess
    import sys

    from adapters import MAMConfig, ParBnConfig, PrefixTuningConfig

    theirs = their_base("float32")
    prefix = PrefixTuningConfig(prefix_length=2, bottleneck_size=5)
    theirs.add_adapter("x", config=MAMConfig(prefix, ParBnConfig(reduction_factor=4)), set_active=True)
    theirs.save_adapter(str(tmp_path / "x"), "x", with_head=False)
    with pytest.raises(InputError, match="only a pickle is there"):
        PeftModel.from_pretrained(small_model("float32"), tmp_path / "x")
    page = (REFERENCE.parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
    command = next(line.strip() for line in page.splitlines() if "torch.load" in line)
    command = command.replace("python", sys.executable, 1)
    subprocess.run(command, shell=True, check=True, cwd=tmp_path / "x")
    peft = PeftModel.from_pretrained(small_model("float32"), tmp_path / "x")
    sequences = sequences_for(peft.method)
    np.testing.assert_allclose(logits(peft, sequences), their_logits(theirs, sequences, 2), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["hub-mam", "hub-mam-flat"])
def test_a_prefix_alone_is_that_of_a_mam_without_its_adapter(name, tmp_path):
    tensors, config = read_safetensors(REFERENCE / name / TENSORS)[0], read_json(REFERENCE / name / SETTINGS)
    prefix = {key: tensor for key, tensor in tensors.items() if ".prefix_tuning." in key}
    write_safetensors(tmp_path / TENSORS, prefix)
    write_json(tmp_path / SETTINGS, config | {"config": config["config"]["configs"][0]})
    peft = PeftModel.from_pretrained(base("float32"), tmp_path)
    mam = PeftModel.from_pretrained(base("float32"), REFERENCE / name)
    assert type(peft.method) is PrefixTuning and peft.tensors.keys() < mam.tensors.keys()
    assert all(np.array_equal(tensor, mam.tensors[key]) for key, tensor in peft.tensors.items())
    peft.save_pretrained(tmp_path / "again")
    assert read_json(tmp_path / "again" / SETTINGS)["peft_type"] == "PREFIX_TUNING"
    again = PeftModel.from_pretrained(base("float32"), tmp_path / "again")
    assert np.array_equal(logits(again), logits(peft))
