"""Files that are broken, or meant to break something: one clear line, in little time and little memory."""

import json
import os
import re
import struct
import sys
import time
import tracemalloc
from pathlib import Path

import hostile
import numpy as np
import pytest
from every_method import CASES
from hypothesis import given, settings
from hypothesis import strategies as st
from small import scramble, small_model

from minipeft import GPT2, InputError, LoRA, PeftModel, Sparse, VeRA, evaluate, train
from minipeft.app.info import describe, in_words
from minipeft.data.rows import read_rows
from minipeft.errors import LONGEST, SettingError
from minipeft.files.json_files import as_json, parse_json, read_json, write_json
from minipeft.files.tensors import read_safetensors, write_safetensors
from minipeft.methods.linear.targets import fits

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import fuzz

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("MINIPEFT_THREADS", "1")


@pytest.fixture
def folder(tmp_path):
    """A small GPT-2."""
    small_model("float32").save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def saved(name, path):
    """The adapter of a case of every_method, away from where it began, in a folder."""
    peft = PeftModel(small_model("float32"), CASES[name])
    scramble(peft.trainable)
    peft.save_pretrained(path)
    return path


def edit(path, **values):
    write_json(path, read_json(path) | values)


def rewrite(path, change):
    """Read the tensors and the metadata, let `change` have the dict, write them again."""
    tensors, metadata = read_safetensors(path)
    tensors = {name: a.copy() for name, a in tensors.items()}
    change(tensors)
    write_safetensors(path, tensors, metadata)


def refused(load, message):
    with pytest.raises(InputError, match=message) as error:
        load()
    assert len(str(error.value)) <= LONGEST and str(error.value).isprintable()


# ------------------------------------------------------------------------------------------ any file at all


@settings(max_examples=300, deadline=5000)
@given(st.sampled_from(hostile.KINDS), st.integers(0, 2**32))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_broken_file_is_refused_in_one_line_or_still_good(tmp_path_factory, kind, seed):
    assert hostile.outcome(kind, seed, tmp_path_factory.mktemp("mutant")) in ("loaded", "refused")


@pytest.mark.parametrize("kind", hostile.KINDS)
def test_what_the_mutants_are_made_of_is_good(kind, tmp_path):
    for path, data in hostile.good(kind).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    hostile.read(kind, tmp_path)


# -------------------------------------------------------------------------------------------------- messages


def test_a_message_is_one_line_of_visible_characters():
    text = str(InputError("name \x1b[31mred\x07\nnext\u202e \ud83d é 日"))
    assert text == r"name \x1b[31mred\x07\nnext\u202e \ud83d é 日"
    assert str(SettingError("r", "{} is \x1b")) == r"r is \x1b"
    long = str(InputError("front " + "x" * 1000 + " end"))
    assert len(long) == LONGEST and long.startswith("front x") and long.endswith("x end")


def test_what_is_shown_of_a_folder_has_no_control_characters(tmp_path):
    edit(saved("lora", tmp_path) / CONFIG, **{"\x1b[2J": "\x1b[31m\nred\u202e"})
    text = in_words(describe(tmp_path))
    assert r"\x1b[2J \x1b[31m\nred\u202e" in text and all(map(str.isprintable, text.split("\n")))


def test_json_that_python_gives_up_at_is_one_line():
    for text, message in {
        "[" * 100_000: "brackets in brackets, too deep",
        "[" * 500 + "]" * 500: "brackets in brackets, too deep",
        "9" * 5000: "Exceeds the limit",
        "[NaN]": "NaN is no finite number",
        "1e999": "1e999 is no finite number",
        '{"a": 1,}': "not JSON",
    }.items():
        refused(lambda text=text: parse_json(text, "file"), f"^file: .*{message}")
    assert parse_json("[" * 99 + "]" * 99, "file")[0]


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for read in (read_json, read_safetensors):
        refused(lambda read=read: read(tmp_path / "pipe"), "pipe: not a file")


def test_json_that_is_written_has_no_nan():
    assert as_json({"a": [float("nan"), 1.5], "b": (float("-inf"),)}) == '{"a": [null, 1.5], "b": [null]}'


# ------------------------------------------------------------------------------------------------ checkpoints


@pytest.mark.parametrize(
    "values, message",
    [
        ({"n_layer": 10**12}, r"n_layer must be 1 or more and below 1000, not 1000000000000"),
        ({"n_layer": 900}, "h.3.ln_1.weight is missing"),
        ({"n_embd": "12"}, "n_embd must be a whole number, not '12'"),
        ({"n_embd": 10**400}, "n_embd must be a whole number"),
        ({"n_head": True}, "n_head must be a whole number, not True"),
        ({"vocab_size": 2**40}, "vocab_size must be 1 or more and below 2147483648"),
        ({"layer_norm_epsilon": -1}, "layer_norm_epsilon must be above 0 and below 1, not -1"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings must be true or false"),
        ({"eos_token_id": {"a": 1}}, "eos_token_id must be a whole number or none"),
        ({"model_type": ["gpt2"]}, r"model_type is \['gpt2'\]"),
    ],
)  # fmt: skip
def test_odd_values_of_a_model_are_refused_by_name(values, message, folder):
    edit(folder / "config.json", **values)
    refused(lambda: GPT2.from_pretrained(folder), message)


def into_shards(folder, places):
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").rename(folder / "one.safetensors")


@pytest.mark.parametrize(
    "places",
    [None, [], "one.safetensors", {"a": 1}, {"a": ["one.safetensors"]}, {"a": None}],
)
def test_a_weight_map_that_is_none_is_refused(places, folder):
    into_shards(folder, places)
    refused(lambda: GPT2.from_pretrained(folder), "want weight_map, an object of file names")


def test_shards_lie_in_the_folder_of_their_index(folder, tmp_path):
    into_shards(folder, {"wte.weight": "one.safetensors"})
    assert GPT2.from_pretrained(folder).config.n_layer == 3
    (tmp_path / "out.safetensors").write_bytes((folder / "one.safetensors").read_bytes())
    (folder / "link.safetensors").symlink_to(tmp_path / "out.safetensors")
    (folder / "loop.safetensors").symlink_to(folder / "loop.safetensors")
    outside = (
        "../out.safetensors",
        str(tmp_path / "out.safetensors"),
        "link.safetensors",
        "..",
        "",
        "a\0b",
        "\ud83d",
    )
    for name in outside:
        edit(folder / "model.safetensors.index.json", weight_map={"wte.weight": name})
        refused(lambda: GPT2.from_pretrained(folder), "is not in this folder")
    for name in ("nowhere.safetensors", "x" * 5000, "loop.safetensors"):
        edit(folder / "model.safetensors.index.json", weight_map={"wte.weight": name})
        refused(lambda: GPT2.from_pretrained(folder), "no such file|name too long|symbolic links")


def test_a_tensor_that_is_there_twice_is_refused(folder):
    rewrite(folder / "model.safetensors", lambda t: t.update({"ln_f.bias": np.ones(12, "f4")}))
    refused(lambda: GPT2.from_pretrained(folder), "a tensor is there twice")


def test_links_as_the_hubs_cache_has_them_are_followed(folder, tmp_path):
    into_shards(folder, {"wte.weight": "one.safetensors"})
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshots").mkdir()
    folder = folder.rename(tmp_path / "snapshots" / "main")
    (folder / "one.safetensors").rename(tmp_path / "blobs" / "abc")
    (folder / "one.safetensors").symlink_to("../../blobs/abc")
    assert GPT2.from_pretrained(folder).config.n_layer == 3


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_weights_that_are_no_numbers_are_refused_by_name(number, dtype, tmp_path):
    small_model("float64").save_pretrained(tmp_path, dtype=dtype)
    rewrite(tmp_path / "model.safetensors", lambda t: t["transformer.ln_f.bias"].put(3, number))
    refused(lambda: GPT2.from_pretrained(tmp_path), "tensor ln_f.bias has a number that is not finite")


def test_a_number_that_no_float32_holds_is_refused_and_the_largest_that_one_holds_is_not(tmp_path):
    small_model("float64").save_pretrained(tmp_path)
    rewrite(
        tmp_path / "model.safetensors", lambda t: t["transformer.ln_f.bias"].fill(3e38)
    )  # the sum overflows
    GPT2.from_pretrained(tmp_path)
    rewrite(tmp_path / "model.safetensors", lambda t: t["transformer.ln_f.bias"].put(3, 1e300))
    refused(lambda: GPT2.from_pretrained(tmp_path), "tensor ln_f.bias has a number that is not finite")


@pytest.mark.parametrize("kind, number", [("I32", "i4"), ("I64", "i8"), ("U8", "u1"), ("BOOL", "?")])
def test_whole_numbers_are_no_weights(kind, number, folder):
    zeros = np.zeros(12, number)
    rewrite(folder / "model.safetensors", lambda t: t.update({"transformer.ln_f.bias": zeros}))
    refused(lambda: GPT2.from_pretrained(folder), f"ln_f.bias is of type {kind}; want F64 or F32")


def test_a_shape_of_many_dimensions_is_refused(tmp_path):
    header = {"a": {"dtype": "F32", "shape": [1] * 100, "data_offsets": [0, 4]}}
    text = json.dumps(header).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    refused(lambda: read_safetensors(tmp_path / "a.safetensors"), "a has 100 dimensions")


# --------------------------------------------------------------------------------------------------- adapters


@pytest.mark.parametrize(
    "name, values, message",
    [
        ("lora", {"r": 2.5}, "r must be a whole number, not 2.5"),
        ("lora", {"r": [2]}, r"r must be a whole number, not \(2,\)"),
        ("lora", {"lora_alpha": {"a": 1}}, "lora_alpha must be a finite number"),
        ("lora", {"target_modules": [1]}, "target_modules must be a list or text"),
        ("lora", {"target_modules": {"a": 1}}, "target_modules must be a list or text"),
        ("lora", {"rank_pattern": {"c_attn": "x"}}, "rank_pattern must be a dict"),
        ("lora", {"rank_pattern": {"(": 2}}, "is no regular expression: missing"),
        ("lora", {"rank_pattern": {"(?i)C_ATTN": 2}}, "is no regular expression: global flags"),
        ("lora", {"target_modules": "(c_attn"}, r"'\(c_attn' is no regular expression"),
        ("lora", {"modules_to_save": "wte"}, "modules_to_save must be a list or none, not 'wte'"),
        ("lora", {"modules_to_save": [3]}, "modules_to_save must be a list or none"),
        ("lora", {"exclude_modules": 3}, "exclude_modules must be a list or text or none"),
        ("lora", {"use_dora": "yes"}, "use_dora must be true or false or none"),
        ("lora", {"peft_type": ["LORA"]}, "peft_type must be text or none"),
        ("lora", {"bias": {}}, "bias must be text"),
        ("lora", {"layers_to_transform": ["1"]}, "layers_to_transform must be a list or a whole number"),
        ("prompt_tuning", {"num_virtual_tokens": "3"}, "num_virtual_tokens must be a whole number"),
        ("vera", {"projection_prng_key": -1}, "projection_prng_key must be 0 or more and below 4294967296"),
        ("loha", {"r": "2"}, "r must be a whole number"),
        ("sparse", {"fraction": [1]}, "fraction must be a finite number"),
        ("mam", {"config": {"architecture": "union", "configs": [1, 2]}}, "configs must be a list, not"),
        ("mam", {"config": {"architecture": "union", "configs": 3}}, "configs must be a list, not 3"),
        ("mam", {"config": [1]}, "config is missing"),
        ("adapter", {"name": 5}, "name is missing"),
    ],
)  # fmt: skip
def test_odd_values_of_an_adapter_are_refused_by_name(name, values, message, tmp_path):
    edit(saved(name, tmp_path) / CONFIG, **values)
    refused(lambda: PeftModel.from_pretrained(small_model("float32"), tmp_path), message)


@pytest.mark.parametrize(
    "key, value",
    [
        ("reduction_factor", "16"), ("reduction_factor", {"default": [1]}), ("leave_out", ["1"]),
        ("non_linearity", 3), ("scaling", [1]), ("dropout", "0"), ("mh_adapter", 1),
    ],
)  # fmt: skip
def test_odd_values_of_adapterhubs_configuration_are_refused_by_name(key, value, tmp_path):
    config = read_json(saved("adapter", tmp_path) / CONFIG)
    edit(tmp_path / CONFIG, config=config["config"] | {key: value})
    refused(lambda: PeftModel.from_pretrained(small_model("float32"), tmp_path), f"{key} must be")


def test_a_part_of_an_own_file_with_a_setting_that_it_has_not_is_refused(tmp_path):
    chain = read_json(saved("mam and lora", tmp_path) / CONFIG)
    chain["methods"][0]["adapter"]["wings"] = 2
    write_json(tmp_path / CONFIG, chain)
    refused(
        lambda: PeftModel.from_pretrained(small_model("float32"), tmp_path), "wings = 2 is not implemented"
    )


@pytest.mark.parametrize("name", ["lora", "adapter", "sparse", "prefix_tuning"])
def test_tensors_of_an_adapter_that_are_no_numbers_are_refused_by_name(name, tmp_path):
    path = next(saved(name, tmp_path).glob("*.safetensors"))
    tensor = next(n for n in read_safetensors(path)[0] if not n.endswith("_indices"))
    rewrite(path, lambda t: t[tensor].put(0, np.nan))
    tensor = re.escape(tensor.removeprefix("base_model.model.transformer."))
    refused(
        lambda: PeftModel.from_pretrained(small_model("float32"), tmp_path), f"{tensor} has a number that"
    )


@pytest.mark.parametrize("ratio", ["fast", "NaN", "[1]", "-1", "1e999", "9" * 5000])
def test_a_bad_rate_of_lora_plus_is_refused(ratio, tmp_path):
    tensors, metadata = read_safetensors(saved("lora_plus", tmp_path) / TENSORS)
    write_safetensors(tmp_path / TENSORS, tensors, metadata | {"loraplus_lr_ratio": ratio})
    refused(lambda: PeftModel.from_pretrained(small_model("float32"), tmp_path), "loraplus_lr_ratio")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda i: i[::-1], "each once, in order"),
        (lambda i: np.concatenate([i[:1], i[:-1]]), "each once, in order"),
        (lambda i: i - i[0] - 1, "not some of"),
        (lambda i: i + 10**6, "not some of"),
        (lambda i: i[:0], "not some of"),
        (lambda i: i[:, None], "each once, in order"),
        (lambda i: i.astype("f4"), "is of type F32; want I32"),
        (lambda i: i.astype("i8"), "is of type I64; want I32"),
        (lambda i: i[:-1], "has shape"),
    ],
)  # fmt: skip
def test_a_choice_of_weights_that_is_none_is_refused(change, message, tmp_path):
    path = saved("sparse", tmp_path) / TENSORS
    name = "h.1.attn.c_attn.weight_indices"
    rewrite(path, lambda t: t.update({name: np.ascontiguousarray(change(t[name]))}))
    refused(lambda: PeftModel.from_pretrained(small_model("float32"), tmp_path), message)


@pytest.mark.parametrize(
    "name, values, message",
    [
        ("lora", {"r": 30_000_000}, "of a larger adapter than the file holds"),
        ("lora", {"rank_pattern": {"c_attn": 10**12}}, "of a larger adapter than the file holds"),
        ("lora_plus", {"r": 30_000_000, "init_lora_weights": "gaussian"}, "of a larger adapter than"),
        ("loha", {"r": 10**9}, "of a larger adapter than the file holds"),
        ("vera", {"r": 10**7}, r"VeRA's rank r is 10000000, and a vera_lambda_d has shape \(5,\)"),
        ("p_tuning", {"num_virtual_tokens": 10**9}, "leave no room for text"),
        ("two loras", {"methods": [{"peft_type": "MINIPEFT_LORA", "r": 10**8}]}, "of a larger adapter than"),
    ],
)  # fmt: skip
def test_a_size_is_checked_before_there_is_an_array_of_it(name, values, message, tmp_path):
    saved(name, tmp_path)
    base = small_model("float32")
    edit(tmp_path / CONFIG, **values)
    tracemalloc.start()
    refused(lambda: PeftModel.from_pretrained(base, tmp_path), message)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    "names", [["a\0", "b"], ["../up", "b"], ["", "b"], ["x" * 3000, "b"], 3, [3], "food"]
)
def test_names_in_a_fusion_that_are_no_folders_are_refused(names, tmp_path):
    path = next(saved("fusion", tmp_path).glob("*/adapter_fusion_config.json"))
    edit(path, adapter_names=names)
    refused(lambda: PeftModel.from_pretrained(small_model("float32"), tmp_path), "adapter")


def test_a_link_to_nowhere_beside_an_adapter_is_no_matter(tmp_path):
    (saved("lora", tmp_path) / "gone.safetensors").symlink_to(tmp_path / "nowhere")
    PeftModel.from_pretrained(small_model("float32"), tmp_path)


def test_widths_of_adapterhub_are_checked_before_there_is_an_array(tmp_path):
    config = read_json(saved("adapter", tmp_path) / CONFIG)
    for factor, message in {0.001: "has shape", 1e-9: "reduction_factor must be 0.001 or more"}.items():
        edit(tmp_path / CONFIG, config=config["config"] | {"reduction_factor": factor})
        refused(lambda: PeftModel.from_pretrained(small_model("float32"), tmp_path), message)


@pytest.mark.parametrize(
    "pattern",
    [
        "(([a-z0-9._])+)+X", "(a|a)*b", "(a|ab)+c", "((a?)b)*", "(?:a+b?){2,}", r"([\])a+]+)+", "(.*)*",
        ".*.*.*.*.*.*X", r"(.*)\1", "(?P<n>.*)(?P=n)", "(?x)( a+ ) +", "(", "[", "a{2}{3}", "x" * 3000,
        "(" * 900 + ")" * 900, "x{99999999999}", "(?:(?i:a+))+",
    ],
)  # fmt: skip
def test_a_pattern_that_is_none_or_could_run_for_ever_is_refused(pattern):
    begin = time.perf_counter()
    refused(lambda: fits(pattern, "transformer.h.0.attn.c_attn_but_much_longer"), "regular expression")
    assert time.perf_counter() - begin < 1


@pytest.mark.parametrize(
    "pattern, wanted",
    [
        (r".*\.(attn|mlp)\.c_(attn|proj)", True),
        (r"^(?!.*vision)(?=.*attn).*$", True),
        (r"transformer\.h\.([0-9]|1[01])\.attn\.c_attn", True),
        (r"(transformer\.)?h\.\d+\.attn\.c_(attn|proj)", True),
        (r"(?:.*?(?:vision|text).*?)|(?:.*?(?:self_attn|attn).*?(?:q_proj|c_attn).*?)", True),
        (r"(.*)[*+?(|)](.*)", False),
        (r".*\+\*", False),
        (r".*.*.*.*.*X", False),
    ],
)
def test_a_pattern_that_peft_has_is_matched(pattern, wanted):
    assert fits(pattern, "transformer.h.0.attn.c_attn") is wanted


# ------------------------------------------------------------------------------------------------------- rows


@pytest.mark.parametrize(
    "name, content, message",
    [
        (
            "a.jsonl",
            '{"text": "a"}\n{"text": "b", "n": ' + "9" * 5000 + "}",
            "line 2: no JSON that can be read",
        ),
        ("a.jsonl", '{"text": "a"}\n' + "[" * 100_000, "line 2: .*too deep"),
        ("a.jsonl", '{"text": "a"}\n{"text": "\0"}', "line 2: a zero byte"),
        ("a.csv", "prompt,completion\na,b\nc,\0\n", "line 3: a zero byte"),
        ("a.tsv", "text\tlabel\n\0\tb\n", "line 2: a zero byte"),
        ("a.txt", "one\n\ntw\0o\n", "line 3: a zero byte"),
        ("a.csv", "prompt,completion,prompt\na,b,c\n", "line 1: two columns are called 'prompt'"),
        ("a.csv", "text,label,Label\na,b,c\n", "line 1: two columns are called 'label'"),
        ("a.jsonl", '{"text": "a"}\n{"text\x1b[2J": "b"}', "line 2"),
    ],
)
def test_rows_that_break_something_are_refused_by_line(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    refused(lambda: read_rows(tmp_path / name), message)


def test_rows_that_only_look_dangerous_are_read(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "\\u0000a", "id": ' + "9" * 400 + "}\n")
    assert read_rows(tmp_path / "a.jsonl") == [{"text": "\0a"}]
    (tmp_path / "b.jsonl").write_text('{"text": "a", "label": 123456789012345678901234567890}\n')
    assert read_rows(tmp_path / "b.jsonl")[0]["label"] == "123456789012345678901234567890"
    (tmp_path / "c.csv").write_text("id,prompt,completion,id\n1,a,b,2\n")
    assert read_rows(tmp_path / "c.csv") == [{"prompt": "a", "completion": "b"}]


# -------------------------------------------------------------------------------------- losses that are none

PAIRS = [([1, 2], [3, 4]), ([5], [6, 7])]


def spoilt():
    """A model whose numbers overflow: every loss is NaN."""
    model = small_model("float32")
    return model.with_weights(model.weights | {"ln_f.weight": np.full(12, np.nan, "f4")})


def test_a_loss_that_is_no_number_ends_evaluation_and_training(tmp_path):
    refused(lambda: evaluate(PeftModel(spoilt()), PAIRS), "the loss is nan: of 4 tokens it is so on 4")
    peft = PeftModel(spoilt(), LoRA(r=2))
    refused(lambda: train(peft, PAIRS, steps=2, progress=False), "step 1: the loss is nan")
    refused(lambda: train(peft, PAIRS, steps=2, progress=False, skip_bad_steps=9), "all 2 steps were skipped")


def test_an_evaluation_that_is_no_number_leaves_the_last_good_adapter(monkeypatch, tmp_path):
    peft, losses = PeftModel(small_model("float32"), LoRA(r=2)), iter([0.5, np.nan])
    scores = peft.scores
    monkeypatch.setattr(peft, "scores", lambda batch: (np.full(4, -next(losses)), scores(batch)[1]))
    run = lambda: train(peft, PAIRS, PAIRS, tmp_path, steps=4, eval_every=2, progress=False)
    refused(run, "evaluation after step 4: the loss is nan: .*the best adapter so far, of step 2, is kept")
    PeftModel.from_pretrained(small_model("float32"), tmp_path)


def test_what_is_drawn_for_a_file_is_limited_and_nothing_else_is():
    PeftModel(small_model("float32"), LoRA(r=500))
    PeftModel(small_model("float32"), VeRA(r=500))
    PeftModel(small_model("float32"), Sparse(0.5))


def test_the_long_run_sees_what_hangs_takes_memory_or_raises(monkeypatch):
    def outcome(kind, seed, folder):
        if seed == 1:
            time.sleep(60)
        if seed == 2:
            bytearray(10**9)
        if seed == 3:
            raise KeyError("x")
        return "loaded"

    monkeypatch.setattr(hostile, "outcome", outcome)
    monkeypatch.setattr(fuzz, "SECONDS", 1)
    seen, done = {}, 0
    while done < 5:
        for seed, kind, what in fuzz.in_a_fork(done, 5, "rows"):
            seen[seed], done = what, seed + 1
            assert kind == "rows"
    assert seen[0] == seen[4] == "loaded" and seen[1] == "longer than 1 s"
    assert seen[2].startswith("MemoryError") and seen[3].startswith("KeyError: 'x'")
