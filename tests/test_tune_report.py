"""`minipeft tune-report`: its numbers against computation by hand, a page for every method's run."""

import json
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from every_method import CASES, SMALL
from folders import ROWS, write_model
from matplotlib.figure import Figure
from small import scramble, small_model, texts

from minipeft import (
    GPT2,
    IA3,
    MAM,
    Adapter,
    BitFit,
    Full,
    LoRA,
    LoReFT,
    ParallelAdapter,
    PeftModel,
    PrefixTuning,
    PromptTuning,
    PTuning,
    Sparse,
    VeRA,
    train,
)
from minipeft.app import runs
from minipeft.app.cli import main
from minipeft.methods import METHODS
from minipeft.model import load_model
from minipeft.reports import pictures
from minipeft.reports.tune_report import (
    SECTIONS,
    curves,
    moved,
    run_folder,
    scales,
    soft_prompts,
    tune_report,
    updates,
)
from minipeft.reports.tune_report.probe import measure
from minipeft.tasks import named
from minipeft.tasks.own import OwnData

PAIRS = [(ids[:2], ids[2:]) for ids in texts((6, 4, 9))]


def peft_of(method, seed=0):
    """A small model with the method far from where it began."""
    peft = PeftModel(small_model(), method)
    scramble(peft.trainable, seed)
    return peft


def run_of(peft):
    """What the sections read of a run."""
    methods = run_folder.parts(peft.method)
    with_section = partial(run_folder.with_section, methods)
    return SimpleNamespace(peft=peft, step=peft.step(), methods=methods, with_section=with_section)


# ------------------------------------------------------------------------------------ attention and edits


def softmax(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def share_by_hand(peft, ids, P):
    """(L, H): the mean over the text of the attention on P keys that `peft` put in front of one sequence."""
    c, w, tensors = peft.config, peft.weights, peft.tensors
    norm = lambda x, name: (
        (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + c.layer_norm_epsilon)
        * w[f"{name}.weight"] + w[f"{name}.bias"]
    )  # fmt: skip
    T, D = len(ids), c.n_embd // c.n_head
    x, share = w["wte.weight"][ids] + w["wpe.weight"][P : P + T], np.zeros((c.n_layer, c.n_head))
    table = tensors["prefix_embeddings"].reshape(P, c.n_layer, 2, c.n_embd)
    for i in range(c.n_layer):
        q, k, v = np.split(
            norm(x, f"h.{i}.ln_1") @ w[f"h.{i}.attn.c_attn.weight"] + w[f"h.{i}.attn.c_attn.bias"], 3, 1
        )
        k, v = np.concatenate([table[:, i, 0], k]), np.concatenate([table[:, i, 1], v])
        o = np.empty_like(q)
        for h in range(c.n_head):
            of = slice(h * D, (h + 1) * D)
            s = q[:, of] @ k[:, of].T / np.sqrt(D)
            s[np.triu(np.ones((T, P + T), bool), P + 1)] = -np.inf
            p = softmax(s)
            share[i, h] = p[:, :P].sum(1).mean()
            o[:, of] = p @ v[:, of]
        x = x + o @ w[f"h.{i}.attn.c_proj.weight"] + w[f"h.{i}.attn.c_proj.bias"]
        u = norm(x, f"h.{i}.ln_2") @ w[f"h.{i}.mlp.c_fc.weight"] + w[f"h.{i}.mlp.c_fc.bias"]
        g = 0.5 * u * (1 + np.tanh(np.sqrt(2 / np.pi) * (u + 0.044715 * u**3)))
        x = x + g @ w[f"h.{i}.mlp.c_proj.weight"] + w[f"h.{i}.mlp.c_proj.bias"]
    return share


def test_share_of_attention_is_that_of_a_plain_softmax():
    peft = peft_of(PrefixTuning(3))
    sequences = [[*p, *c] for p, c in PAIRS]
    T = np.array([len(ids) for ids in sequences])
    expected = sum(n * share_by_hand(peft, ids, 3) for n, ids in zip(T, sequences, strict=True)) / T.sum()
    measured = measure(peft, peft.step(), PAIRS)
    assert np.allclose(measured.share, expected, atol=1e-12)
    assert np.allclose(measure(peft, peft.step(), PAIRS, batch_size=2).share, expected, atol=1e-12)
    even = sum(3 / (3 + t) for n in T for t in range(1, n + 1)) / T.sum()
    assert measured.even == pytest.approx(even)


@pytest.mark.parametrize("method", [PrefixTuning(4), PromptTuning(4), [PrefixTuning(2), PromptTuning(2)]])
def test_share_of_attention_is_even_where_all_scores_are_zero(method):
    peft = peft_of(method)
    for i in range(peft.config.n_layer):  # queries of zero
        for part in ("weight", "bias"):
            name = f"h.{i}.attn.c_attn.{part}"
            peft.weights[name] = peft.weights[name].copy()
            peft.weights[name][..., : peft.config.n_embd] = 0
    measured = measure(peft, peft.step(), PAIRS)
    T = [len(p) + len(c) for p, c in PAIRS]
    assert measured.even == pytest.approx(sum(4 / (4 + t) for n in T for t in range(1, n + 1)) / sum(T))
    assert np.allclose(measured.share, measured.even)


def test_measuring_changes_nothing_and_without_virtual_tokens_the_share_is_zero():
    peft = peft_of([LoRA(r=2), Adapter(reduction_factor=4)])
    before = peft.logits(texts())
    assert not measure(peft, peft.step(), PAIRS).share.any()
    assert all(np.array_equal(a, b) for a, b in zip(before, peft.logits(texts()), strict=True))


def test_edits_are_what_the_method_adds():
    """A parallel adapter that gives its bias alone, in a model whose sublayers give nothing: |s e| / |x|."""
    model = small_model()
    model.weights = {n: 0 * w if "c_proj" in n else w for n, w in model.weights.items()}
    peft = PeftModel(model, ParallelAdapter(scaling=2.0, leave_out=(1, 2)))
    for t in peft.tensors.values():
        t[...] = 0
    e = peft.tensors["h.0.mlp.parallel_up_bias"]
    e[...] = np.arange(12)
    edits = measure(peft, peft.step(), PAIRS).edits
    ids = np.concatenate([[*p, *c] for p, c in PAIRS])
    positions = np.concatenate([np.arange(len(p) + len(c)) for p, c in PAIRS])
    x = model.weights["wte.weight"][ids] + model.weights["wpe.weight"][positions]
    expected = (np.linalg.norm(2 * e) / np.linalg.norm(x, axis=1)).mean()
    assert edits["h.0.mlp"] == (pytest.approx(expected), 1)
    assert edits["h.0.attn"] == edits["h.1.mlp"] == (0, 0)


def test_edits_count_the_tokens_that_are_edited():
    peft = peft_of(LoReFT(prefix_positions=2, layers=(1,)))
    edits = measure(peft, peft.step(), PAIRS).edits
    assert edits["h.1.mlp"][1] == pytest.approx(2 * 3 / (6 + 4 + 9)) and edits["h.0.mlp"] == (0, 0)


# ------------------------------------------------------------------------------------------ soft prompts


def test_a_prompt_of_words_has_these_words_nearest():
    words = (5, 17, 3, 44)
    peft = PeftModel(small_model(), PromptTuning(4, "TEXT", words))
    ids, cosines = soft_prompts.nearest(2 * peft.tensors["prompt_embeddings"], peft.weights["wte.weight"], 3)
    assert tuple(ids[:, 0]) == words and np.allclose(cosines[:, 0], 1)
    assert (np.diff(cosines) <= 0).all() and cosines[:, 1].max() < 1
    e, wte = peft.tensors["prompt_embeddings"][1], peft.weights["wte.weight"]
    assert cosines[1, 2] == pytest.approx(
        e @ wte[ids[1, 2]] / np.linalg.norm(e) / np.linalg.norm(wte[ids[1, 2]])
    )


# --------------------------------------------------------------------------------------- low-rank updates


def changes_of(method):
    peft = peft_of(method)
    run = run_of(peft)
    low_rank = run.with_section("updates")
    return peft, {name: (W, dW) for m in low_rank for name, W, dW in updates.changes(run, m)}


def test_singular_values_are_those_of_b_times_a():
    peft, found = changes_of([LoRA(r=2, lora_alpha=6, target_modules="all-linear"), BitFit()])
    assert list(found) == list(peft.config.linear_layers())
    name = "h.1.mlp.c_fc"
    BA = 3 * peft.tensors[f"{name}.lora_A"] @ peft.tensors[f"{name}.lora_B"]
    numbers = updates.of_change(*found[name])
    assert np.allclose(numbers["singular_values"], np.linalg.svd(BA)[1][:2], rtol=1e-9)
    assert numbers["norm"] == pytest.approx(np.sqrt((BA**2).sum()))
    assert numbers["relative"] == pytest.approx(
        np.linalg.norm(BA) / np.linalg.norm(peft.weights[f"{name}.weight"])
    )


@pytest.mark.parametrize("name", ["lora", "lora, pissa", "rslora with patterns", "dora", "vera", "lora_plus"])
def test_updates_are_the_merged_weights_less_the_base(name):
    peft, found = changes_of(CASES[name])
    merged, base = peft.merge_and_unload().weights, peft.model.weights
    changed = {n.removesuffix(".weight") for n in base if not np.allclose(merged[n], base[n], atol=1e-9)}
    assert changed == found.keys()
    for layer, (W, dW) in found.items():
        assert np.allclose(W, base[f"{layer}.weight"], atol=1e-12)
        assert np.allclose(W + dW, merged[f"{layer}.weight"], atol=1e-12)


def test_pissa_counts_from_where_it_began():
    _, found = changes_of(LoRA(r=3, init_lora_weights="pissa"))
    assert {len(updates.of_change(*pair)["singular_values"]) for pair in found.values()} == {6}
    start = PeftModel(small_model(), LoRA(r=3, init_lora_weights="pissa"))
    assert max(np.abs(dW).max() for _, _, dW in updates.changes(run_of(start), start.method)) < 1e-12


def test_an_open_gate_lets_the_update_of_unipelt_through():
    peft, found = changes_of(CASES["unipelt"])
    C, name = peft.config.n_embd, "h.2.attn.c_attn"
    W, dW = found[f"{name} (v)"]
    assert np.array_equal(W, peft.weights[f"{name}.weight"][:, 2 * C :])
    assert np.allclose(dW, peft.tensors[f"{name}.gated_v_A"] @ peft.tensors[f"{name}.gated_v_B"])


def test_two_updates_of_one_weight_are_told_apart(tmp_path, sketched):
    run = run_of(peft_of([VeRA(r=4), LoRA(r=2)]))
    run.out = tmp_path
    numbers = updates.section(run).numbers
    assert len(numbers) == 2 * run.peft.config.n_layer
    assert len(numbers["h.0.attn.c_attn (LoRA)"]["singular_values"]) == 2
    assert len(numbers["h.0.attn.c_attn (VeRA)"]["singular_values"]) == 4


def test_effective_rank():
    assert updates.effective_rank(np.array([2.0, 2.0, 2.0])) == pytest.approx(3)
    assert updates.effective_rank(np.array([1.0])) == pytest.approx(1)
    assert updates.effective_rank(np.array([3.0, 1.0])) == pytest.approx(4 / 3**0.75)  # 2^H, H in bits
    assert updates.of_change(np.eye(3), np.zeros((3, 3)))["effective_rank"] == 0


# ------------------------------------------------------------------------- what was chosen, moved, scaled


def test_moves_are_norms_of_the_change():
    assert moved.of_move(np.array([3.0, 4.0]), np.array([3.0, 5.0])) == {
        "norm": 1,
        "from": 5,
        "relative": 0.2,
    }
    assert np.isnan(moved.of_move(np.zeros(2), np.ones(2))["relative"])


def test_a_sparse_mask_is_counted_by_tensor(tmp_path, sketched):
    peft = peft_of(Sparse(fraction=0.2, target_modules=("c_attn", "ln_f")))
    run = run_of(peft)
    run.out = tmp_path
    numbers = moved.section(run).numbers
    for name in peft.selected:
        chosen = peft.tensors.get(f"{name}_indices", ())
        differ = peft.step().weights[name] != peft.model.weights[name]
        assert numbers[name]["chosen"] * differ.size == pytest.approx(len(chosen)) == differ.sum()
        norm = np.linalg.norm(peft.tensors.get(f"{name}_values", 0))
        assert numbers[name]["norm"] == pytest.approx(norm)


def test_scales_of_queries_keys_and_values_are_apart():
    peft = PeftModel(small_model(), IA3())
    C = peft.config.n_embd
    peft.tensors["h.1.attn.c_attn.ia3_l"][C : 2 * C] = 0.5
    peft.tensors["h.1.mlp.c_proj.input.ia3_l"][:] = 2
    found = {name: l.mean() for name, l in scales.of_layers(run_of(peft)).items()}
    assert len(found) == 4 * peft.config.n_layer
    assert {name: l for name, l in found.items() if l != 1} == {
        "h.1.attn.c_attn (k)": 0.5, "h.1.mlp.c_proj (input)": 2
    }  # fmt: skip


def test_running_mean():
    assert np.allclose(curves.running_mean(np.array([4.0, 2.0, 0.0, 6.0]), 2), [4, 3, 1, 3])


# --------------------------------------------------------------------------------------------- whole runs


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A small model with a tokenizer, and data files, in one folder."""
    folder = tmp_path_factory.mktemp("base")
    write_model(folder)
    for name, rows in {"train": ROWS, "eval": ROWS[:2]}.items():
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return SimpleNamespace(folder=folder)


def trained(base, method, out, **settings):
    settings = {"steps": 2, "batch_size": 4, "learning_rate": 0.01, "progress": False} | settings
    files = [base.folder / f"{name}.jsonl" for name in ("train", "eval")]
    runs.train_and_measure(GPT2.from_pretrained(base.folder), method, out, OwnData(*files), **settings)
    return out


EXPECTED = {  # the sections of a page besides the curves; of others what they say, or the base's weights
    ("prompt_tuning", "p_tuning"): {"soft_prompts", "attention"},
    ("prefix_tuning",): {"attention"},
    ("lora", "lora_plus", "dora", "vera"): {"updates"},
    ("ia3",): {"scales"},
    ("adapter", "houlsby", "parallel_adapter", "fusion", "loreft"): {"edits"},
    ("mam",): {"attention", "edits"},
    ("unipelt",): {"attention", "edits", "updates"},
}


def sections_of(name):
    found = next((found for names, found in EXPECTED.items() if name in names), None)
    return found or {METHODS[name].about.section or "moved"}


@pytest.fixture
def sketched(monkeypatch):
    """Pictures are drawn, but not rendered: that would take longer than all the rest."""
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **kwargs: Path(path).write_text("a picture"))


@pytest.mark.parametrize("name", SMALL)
def test_every_methods_run_gives_a_page(name, base, tmp_path, sketched):
    out = trained(base, SMALL[name], tmp_path)
    report = tune_report(out, progress=False)
    assert set(report["numbers"]) == {"curves", *sections_of(name)} == set(report["summary"])
    assert report["method"] == type(SMALL[name]).__name__
    best = json.loads((out / "result.json").read_text())["best"]
    assert {key: report["numbers"]["curves"]["best"][key] for key in best} == best
    json.dumps(report, allow_nan=False)
    assert_whole(out / "tune-report")


def assert_whole(folder):
    """The page shows every picture that is there, and holds it itself."""
    text, page = ((folder / f"report.{kind}").read_text() for kind in ("md", "html"))
    drawn = [p.name for p in folder.glob("*.svg")]
    assert drawn and all(f"]({p})" in text for p in drawn)
    assert page.count('src="data:image/svg+xml;base64,') == page.count("<img") == len(drawn)
    assert {p.replace(".svg", ".png") for p in drawn} == {p.name for p in folder.glob("*.png")}


def test_a_chain_of_everything_has_every_section(base, tmp_path, monkeypatch):
    """A chain comes from Python, and `train` writes no result.json: the rows have to be given."""
    monkeypatch.setattr(pictures, "PNG_DPI", 40)
    methods = [PrefixTuning(2), PTuning(2), LoRA(r=2, target_modules=("mlp.c_fc",)), IA3(),
               Adapter(reduction_factor=4), Sparse(0.1, target_modules=("attn.c_proj", "ln_f"))]  # fmt: skip
    peft = PeftModel(GPT2.from_pretrained(base.folder), methods)
    train(peft, ROWS, ROWS[:2], tmp_path, False, steps=3, learning_rate=0.01)
    report = tune_report(tmp_path, data=base.folder / "eval.jsonl", progress=False)
    assert set(report["numbers"]) == set(SECTIONS)
    assert "2 rows of " in (tmp_path / "tune-report" / "report.md").read_text()
    assert_whole(tmp_path / "tune-report")


def test_without_rows_there_is_what_the_weights_tell(base, tmp_path, sketched):
    peft = PeftModel(GPT2.from_pretrained(base.folder), [MAM(), LoRA(r=2)])
    train(peft, ROWS, ROWS[:2], tmp_path, False, steps=1)
    report = tune_report(tmp_path, progress=False)
    assert report["method"] == "MAM + LoRA"
    assert report["summary"]["attention"] == report["summary"]["edits"] == "not measured: no rows"
    assert report["numbers"]["updates"].keys() == {"h.0.attn.c_attn", "h.1.attn.c_attn"}
    assert "give rows, by `--task` or `--data`" in (tmp_path / "tune-report" / "report.md").read_text()


def test_a_run_that_did_not_evaluate_or_clip(base, tmp_path, sketched):
    peft = PeftModel(GPT2.from_pretrained(base.folder), LoRA(r=2))
    train(peft, ROWS, None, tmp_path, False, steps=1)
    assert tune_report(tmp_path, progress=False)["numbers"]["curves"]["best"] is None


def test_untrained_methods_have_nothing_to_show_and_say_so(base, tmp_path, sketched):
    out = trained(base, LoRA(r=2), tmp_path, steps=1, learning_rate=1e-30)
    report = tune_report(out, progress=False)
    json.dumps(report, allow_nan=False)
    assert {n["relative"] < 1e-6 for n in report["numbers"]["updates"].values()} == {True}


def test_a_builtin_tasks_run_is_measured_on_its_validation_rows(base, tmp_path, sketched, monkeypatch):
    monkeypatch.setattr(named, "TASK_ROWS", {"train": 8, "validation": 4, "test": 2})
    task = named.task_of("data-to-text")
    options = {"steps": 1, "progress": False, "on_long": "cut"}
    runs.train_and_measure(GPT2.from_pretrained(base.folder), PromptTuning(2), tmp_path, task, **options)
    tune_report(tmp_path, progress=False)
    assert json.loads((tmp_path / "result.json").read_text())["task"] == "data-to-text"
    assert "4 validation rows of data-to-text" in (tmp_path / "tune-report" / "report.md").read_text()


def test_the_command_prints_lines_or_json(base, tmp_path, capsys, sketched):
    out = trained(base, PrefixTuning(3), tmp_path)
    assert main(["tune-report", str(out), "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"PrefixTuning on {base.folder}" and lines[1].startswith("curves ")
    assert "3 virtual tokens" in lines[2] and lines[-1].endswith("tune-report/report.html")
    assert main(["tune-report", str(out), "--quiet", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert np.array(report["numbers"]["attention"]["share"]).shape == (2, 2)


def test_a_runs_result_says_on_what_it_was_trained(base, tmp_path):
    out = trained(base, LoRA(r=2), tmp_path)
    result = json.loads((out / "result.json").read_text())
    said = {key: result[key] for key in ("model", "data", "eval_data")}
    assert said == {
        "model": str(base.folder), "data": str(base.folder / "train.jsonl"),
        "eval_data": str(base.folder / "eval.jsonl"),
    }  # fmt: skip
    assert load_model(f"random:{base.folder}").name == f"random:{base.folder}"


BAD = {
    "nowhere": "nowhere: no such folder",
    "{base}": "no metrics.jsonl there: give a folder that `minipeft train` wrote",
    "{run} --task chess": "no task is called 'chess'",
    "{run} --data {run}/none.jsonl": "none.jsonl: no such file",
    "{run} --model {run}": "this folder has no config.json",
    "{full}": "do not name the model that was trained on: give --model",
    "{broken}": "metrics.jsonl, line 2: not JSON",
    "{empty}": "metrics.jsonl: no training step is in it",
    "{run} --task sentiment --data rows.jsonl": "leave out --task or --data",
}


@pytest.fixture(scope="module")
def folders(base, tmp_path_factory):
    """Runs that have something missing, by the names that BAD gives them."""
    folder = tmp_path_factory.mktemp("runs")
    paths = {name: folder / name for name in ("run", "full", "broken", "empty")}
    trained(base, LoRA(r=2), paths["run"], steps=1)
    trained(base, Full(), paths["full"], steps=1)
    (paths["full"] / "result.json").unlink()
    for name in ("broken", "empty"):
        shutil.copytree(paths["run"], paths[name])
    first = (paths["broken"] / "metrics.jsonl").read_text().splitlines()[0]
    (paths["broken"] / "metrics.jsonl").write_text(first + "\n{")
    (paths["empty"] / "metrics.jsonl").write_text("")
    return paths | {"base": base.folder}


@pytest.mark.parametrize("arguments", BAD)
def test_bad_input_is_one_clear_line(arguments, folders, capsys):
    assert main(["tune-report", "--quiet", *arguments.format(**folders).split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith("minipeft: ") and error.count("\n") == 1 and BAD[arguments] in error
