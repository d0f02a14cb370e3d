"""`minipeft bench`, and the arithmetic that it holds a step against, worked out by hand."""

import json

import pytest
from folders import ROWS, write_model

from minipeft import (
    GPT2,
    AdamW,
    Adapter,
    BitFit,
    Full,
    GPT2Config,
    LoHa,
    LoRA,
    PeftModel,
    PrefixTuning,
    PromptTuning,
    pack,
)
from minipeft.app.cli import main
from minipeft.config import SIZES
from minipeft.cost import bench as benchmark
from minipeft.cost.flops import step_flops
from minipeft.methods.named import make_method

# C = 4, F = 8: a block's weights are 48 + 16 + 32 + 32 = 128, of which the first, c_attn, has 48
CONFIG = GPT2Config(vocab_size=10, n_positions=16, n_embd=4, n_layer=2, n_head=2, n_inner=8)
# N = 5 rows; 6 + 3 = 9 pairs of a query and a key that it sees; 3 labels, for nothing predicts a first token
PAIRS = [([1], [2, 3]), ([], [4, 5])]

BLOCKS, C_ATTN = (
    2 * 5 * 2 * 128,
    2 * 5 * 48,
)  # all rows times two blocks; times one c_attn
ATTENTION = 2 * 2 * (2 * 4 * 9)  # two layers, two products of 4 columns and 9 pairs
HEAD = 2 * 3 * 4 * 10
FORWARD = BLOCKS + ATTENTION + HEAD

FLOPS = {
    "nothing": ([], FORWARD, 0),
    # dx and dW of every weight, the head's too; of attention two products more in the backward
    "full": (Full(), FORWARD, 2 * (BLOCKS + ATTENTION + HEAD)),
    # dx alone, down to the bias of the lowest layer norm
    "bitfit": (BitFit(), FORWARD, BLOCKS + 2 * ATTENTION + HEAD),
    # A (4, 1), B (1, 12) beside each c_attn. The lowest c_attn passes nothing on, nor does its A
    "lora": (
        LoRA(r=1),
        FORWARD + 2 * 2 * 5 * (4 + 12),
        BLOCKS - C_ATTN + 2 * ATTENTION + HEAD + 2 * 2 * 5 * (4 + 2 * 12) + 2 * 5 * 4,
    ),
    # A (8, 1), B (1, 4) beside the uppermost layer: the backward ends there
    "lora, high up": (
        LoRA(r=1, target_modules=("h.1.mlp.c_proj",)),
        FORWARD + 2 * 5 * (8 + 4),
        HEAD + 2 * 5 * (8 + 2 * 4),
    ),
    # x dW beside each c_attn, and its gradient x^T dy; dy dW^T beside the upper one alone
    "loha": (
        LoHa(r=1),
        FORWARD + 2 * C_ATTN,
        BLOCKS - C_ATTN + 2 * ATTENTION + HEAD + 2 * C_ATTN + C_ATTN,
    ),
    # D (4, 1), U (1, 4) after each MLP: of the lower block there is no backward
    "adapter": (
        Adapter(reduction_factor=4),
        FORWARD + 2 * 2 * 5 * 8,
        BLOCKS // 2 + ATTENTION + HEAD + 2 * 2 * 5 * (4 + 2 * 4) + 2 * 5 * 4,
    ),
    # each of the 5 rows sees 2 keys more
    "prefix": (
        PrefixTuning(2),
        BLOCKS + 2 * 2 * (2 * 4 * 19) + HEAD,
        BLOCKS - C_ATTN + 2 * 2 * 2 * (2 * 4 * 19) + HEAD,
    ),
    # 2 rows more in each sequence, 9 in all, with 15 + 10 pairs; something is before every first token
    "prompt": (
        PromptTuning(2),
        2 * 9 * 2 * 128 + 2 * 2 * (2 * 4 * 25) + 2 * 4 * 4 * 10,
        2 * 9 * 2 * 128 + 2 * 2 * 2 * (2 * 4 * 25) + 2 * 4 * 4 * 10,
    ),
}


@pytest.mark.parametrize("name", FLOPS)
def test_flops_by_hand(name):
    method, forward, backward = FLOPS[name]
    flops = step_flops(PeftModel(GPT2.random(CONFIG), method), pack(PAIRS))
    assert flops == {"forward": forward, "backward": backward}


# ------------------------------------------------------------------------------------------- the command

METHODS = ("lora", "full", "bitfit", "ia3", "prompt_tuning", "prefix_tuning", "adapter", "sparse", "unipelt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench")
    write_model(path)
    (path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    (path / "broken.jsonl").write_text(json.dumps(ROWS[0]) + "\n{")
    return path


@pytest.fixture(autouse=True)
def small_square(monkeypatch):
    monkeypatch.setattr(benchmark, "SQUARE", {"cpu": 256, "cuda": 256})


def run(capsys, *args):
    code = main(["bench", *map(str, args), "--batch", "3", "--steps", "2", "--json", "--quiet"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out), captured.err


def test_the_backward_is_what_the_forward_leaves_of_the_step(monkeypatch):
    """Clocked are the loss with its gradients (5 s), the update (2 s), the forward by itself (3 s)."""
    seconds = iter((5.0, 2.0, 3.0))
    monkeypatch.setattr(benchmark, "timed", lambda f, device: (next(seconds), f()))
    peft = PeftModel(GPT2.random(CONFIG), LoRA(r=1))
    before = {name: p.copy() for name, p in peft.trainable.items()}
    times = benchmark.timed_step(peft, AdamW(), pack(PAIRS), "cpu")
    assert times == {"step": 7.0, "forward": 3.0, "backward": 2.0, "optimizer": 2.0}
    assert any((peft.trainable[name] != p).any() for name, p in before.items()), "it is a step that trains"


@pytest.mark.parametrize("method", METHODS)
def test_a_bench_has_positive_numbers(folder, capsys, method):
    code, result, _ = run(capsys, "--model", folder, "--data", folder / "rows.jsonl", "--method", method)
    assert code == 0
    seconds = [f"{key}_seconds" for key in ("step", "forward", "optimizer", "floor")]
    assert all(result[key] > 0 for key in (*seconds, "tokens_per_second", "peak_memory_mb", "sgemm_gflops"))
    assert result["backward_seconds"] < result["step_seconds"]
    assert 0 < result["floor_share"] < 1.2
    assert result["trainable"] == PeftModel(GPT2.from_pretrained(folder), make_method(method)).num_trainable
    assert result["device"] == "cpu" and result["machine"] and result["versions"] and result["date"]


def test_a_step_is_timed_on_a_gpu_too(cupy):
    """Nothing in it leaves the device, and the arithmetic is the same."""
    base = GPT2.random(CONFIG, device="cuda")
    peft = PeftModel(base, LoRA(r=1))
    assert benchmark.timed_step(peft, AdamW(), pack(PAIRS), "cuda")["step"] > 0
    assert step_flops(peft, pack(PAIRS)) == step_flops(PeftModel(GPT2.random(CONFIG), LoRA(r=1)), pack(PAIRS))
    assert benchmark.sgemm_rate("cuda") > 0


def test_only_tokens_of_the_text_count(folder, capsys):
    """Not those that a method puts in front, nor any padding; the rows are in the same order each time."""
    model = ("--model", folder, "--data", folder / "rows.jsonl")
    _, prompt, _ = run(capsys, *model, "--method", "prompt_tuning")
    _, lora, _ = run(capsys, *model, "--set", "r=2")
    assert prompt["tokens"] == lora["tokens"]
    tokenizer = GPT2.from_pretrained(folder).tokenizer
    lengths = [len(tokenizer.encode(r["prompt"]).ids + tokenizer.encode(r["completion"]).ids) for r in ROWS]
    assert 3 * min(lengths) + 3 <= min(lora["tokens"]) and max(lora["tokens"]) <= 3 * max(lengths) + 3


def test_random_weights_take_the_tokenizer_of_a_folder(folder, capsys, monkeypatch):
    monkeypatch.setitem(SIZES, "little", {"n_embd": 8, "n_layer": 1, "n_head": 1})
    model = ("--model", "random:little", "--data", folder / "rows.jsonl")
    assert run(capsys, *model, "--tokenizer", folder)[0] == 0
    code, result, err = run(capsys, *model)
    assert code == 2 and "no tokenizer" in err and result["error"] in err


@pytest.mark.parametrize(
    "args, says",
    [
        (("--data", "nowhere.jsonl"), "nowhere.jsonl: no such file"),
        (("--data", "{folder}/broken.jsonl"), "line 2: not JSON"),
        (("--tokenizer", "nowhere"), "nowhere: neither tokenizer.json nor vocab.json and merges.txt"),
        (("--method", "lra"), "no method is called 'lra'"),
        (("--set", "rank=8"), "lora has no setting 'rank=8'"),
        (("--model", "nowhere"), "nowhere: no such folder"),
    ],
)
def test_bad_input_is_one_clear_line(folder, capsys, args, says):
    data = () if "--data" in args else ("--data", folder / "rows.jsonl")
    args = [a.format(folder=folder) for a in args]
    code, result, err = run(capsys, *(() if "--model" in args else ("--model", folder)), *data, *args)
    assert code == 2
    assert says in err and err.count("\n") == 1 and result["error"] in err


@pytest.mark.parametrize("option", ["--batch", "--steps"])
def test_none_is_no_number_of_steps(folder, capsys, option):
    code = main(["bench", "--model", str(folder), "--data", str(folder / "rows.jsonl"), option, "0"])
    assert code == 2 and f"{option[2:]} must be 1 or more" in capsys.readouterr().err


def test_in_words(folder, capsys):
    command = [
        "bench",
        "--model",
        str(folder),
        "--data",
        str(folder / "rows.jsonl"),
        "--steps",
        "1",
        "--quiet",
    ]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "tokens/s" in out and "forward" in out and "GFLOP/s" in out


def test_a_quantised_base_is_timed_as_such(capsys):
    assert (
        main(["bench", "--model", "weights/tiny", "--quantize", "nf4", "--steps", "1", "--json", "--quiet"])
        == 0
    )
    assert json.loads(capsys.readouterr().out)["base"] == "nf4"
    assert main(["bench", "--model", "weights/tiny", "--quantize", "nf4", "--method", "full", "--quiet"]) == 2
