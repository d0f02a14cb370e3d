"""The scripts in benchmarks/, but for what needs PyTorch: their batches, tables, pictures, what they keep."""

import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from folders import ROWS, write_model

from minipeft import GPT2Config, InputError

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import batches
import growth
import recipes
import results
import targets

CONFIG = GPT2Config(vocab_size=50, n_positions=128, n_embd=8, n_layer=1, n_head=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmarks")
    rows = [row | {"completion": row["completion"] * (1 + i % 5)} for i, row in enumerate(ROWS * 20)]
    (path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture(scope="module")
def model(folder):
    return write_model(folder)


def padding(batch):
    """The share of positions that are padding where a batch is padded to its longest row."""
    lengths = [len(p) + len(c) for p, c in batch]
    return 1 - sum(lengths) / (len(lengths) * max(lengths))


def test_batches_are_the_same_every_time_and_grouped_ones_hardly_padded(folder, model):
    made = {kind: batches.batches_of(kind, 5, model, folder / "rows.jsonl") for kind in batches.OF_ROWS}
    for kind, each in made.items():
        assert [len(batch) for batch in each] == [batches.SIZE] * 5
        assert each == batches.batches_of(kind, 5, model, folder / "rows.jsonl")
    assert sum(map(padding, made["grouped"])) < 0.25 * sum(map(padding, made["e2e"]))


@pytest.mark.parametrize("kind", batches.DENSE)
def test_every_position_of_a_dense_batch_has_a_label(model, kind):
    sequences, tokens = batches.DENSE[kind]
    for batch in batches.batches_of(kind, 2, model):
        assert [(len(p), len(c)) for p, c in batch] == [(0, tokens)] * sequences
        assert all(0 <= token < model.config.vocab_size for _, c in batch for token in c)


def test_prompts_are_those_of_the_first_batch(folder, model):
    first = batches.batches_of("e2e", 1, model, folder / "rows.jsonl")[0]
    assert batches.prompts_of(3, model, folder / "rows.jsonl") == [prompt for prompt, _ in first[:3]]


def trained(speed, memory):
    """An entry of the part "training"."""
    sides = [
        {"tokens_per_second": 100.0 * x, "peak_memory_mb": 1000.0 * m} for x, m in ((speed, memory), (1, 1))
    ]
    about = {"machine": {"cores": 2}, "versions": {"numpy": "2"}, "run": {"model": "tiny", "date": "today"}}
    entry = {"trainable": 1234, "speed": speed, "memory": memory, "about": about}
    return entry | dict(zip(("minipeft", "pytorch"), sides, strict=True))


def test_an_entry_more_leaves_the_others(tmp_path):
    results.record(tmp_path, "cpu", "training", "lora, e2e", trained(2.5, 0.4))
    results.record(tmp_path, "cpu", "training", "ia3, e2e", trained(1.75, 0.3))
    results.record(tmp_path, "cuda", "training", "lora, e2e", trained(0.5, 1.5))
    page = (tmp_path / "RESULTS.md").read_text()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if "|" in line]
    assert ["lora", "e2e", "1,234", "250", "100", "2.50"] in lines
    assert ["ia3", "e2e", "300", "1,000", "0.30"] in lines
    assert ["lora", "e2e", "1,234", "50", "100", "0.50"] in lines
    assert page.index("On a CPU") < page.index("2.50") < page.index("On a GPU")
    assert list(results.recorded(tmp_path)["cpu"]["training"]) == ["ia3, e2e", "lora, e2e"]


def test_a_target_is_held_against_the_worst():
    speed, memory = "PEFT methods, E2E padded: speed", "PEFT methods, E2E padded: memory"

    def verdicts(*values):
        names = targets.on(targets.PEFT, ["e2e"])
        entries = {name: trained(*value) for name, value in zip(names, values, strict=False)}
        lines = targets.targets_table({"training": entries}).splitlines()
        rows = {cells[0]: cells for line in lines for cells in [[c.strip() for c in line.split("|")[1:-1]]]}
        return rows[speed][2:], rows[memory][2:]

    assert verdicts(*[(2.5, 0.4)] * 5, (2.0, 0.5)) == (
        ["2.00", "adapter, e2e", "6 of 6", "yes"],
        ["0.50", "adapter, e2e", "6 of 6", "yes"],
    )
    assert verdicts((1.9, 0.4), (3.0, 0.6)) == (
        ["1.90", "lora, e2e", "2 of 6", "NO"],
        ["0.60", "prefix_tuning, e2e", "2 of 6", "NO"],
    )
    assert verdicts()[0] == ["-", "-", "0 of 6", "-"]
    assert verdicts((2.1, 0.4))[0] == ["2.10", "lora, e2e", "1 of 6", "so far"]


@pytest.mark.parametrize("axis", growth.AXES)
def test_growth_follows_a_straight_law(axis):
    args = Namespace(device="cpu", rounds=1)
    xs = {"tokens": (32, 64, 128), "layers": (1, 2, 3)}.get(axis, (1, 2, 3))
    entry = growth.measure(axis, xs, CONFIG, args)
    law = entry["law_seconds"]
    assert all(s > 0 for s in entry["seconds"]) and law == sorted(law) and law[0] < law[-1]
    slopes = [(law[i + 1] - law[i]) / (xs[i + 1] - xs[i]) for i in range(2)]
    assert slopes[0] == pytest.approx(slopes[1])
    assert entry["low"] <= 0 <= entry["high"]


def test_growth_has_a_picture(tmp_path):
    growth.draw("tokens", {"x": [64, 512], "seconds": [0.1, 0.9], "law_seconds": [0.12, 0.96]}, tmp_path)
    assert (tmp_path / "tokens.png").stat().st_size > 10_000
    assert "the law" in (tmp_path / "tokens.svg").read_text()


def test_a_point_that_does_not_fit_the_model_is_refused():
    with pytest.raises(InputError, match="100 virtual \\+ 64 tokens do not fit"):
        growth.measure("prefix", (100,), CONFIG, Namespace(device="cpu", rounds=1))


def test_each_methods_rate_is_the_one_that_the_sweep_chose():
    """And the table is that of the scores."""
    scores = json.loads((recipes.HERE / "recipes.json").read_text())["scores"]
    rates = {name: recipes.chosen(of) for name, of in recipes.table(scores).items()}
    assert rates == {name: recipes.RECIPES[name].learning_rate for name in recipes.METHODS}
    assert (recipes.HERE / "recipes.md").read_text(encoding="utf-8") == recipes.page(scores)


def test_a_rate_that_could_still_win_leaves_the_choice_open():
    of = {0.1: {"a": {0: 0.9}, "b": {0: 0.9}}, 0.3: {"a": {0: 0.7}}}
    assert recipes.chosen(of) == 0.1  # 0.3 has 85 % at most
    of[0.3]["a"] = {0: 0.8}
    assert recipes.chosen(of) is None
    of[0.3]["b"] = {0: 1.0}
    assert recipes.chosen(of) == 0.3  # a tie: the larger


def test_seeds_are_averaged_before_tasks():
    of = {0.1: {"a": {0: 0.9, 1: 0.9}, "b": {0: 0.8}}, 0.3: {"a": {0: 1.0}, "b": {0: 0.8}}}
    assert recipes.chosen(of) is None  # another seed may be as good
    of[0.3]["a"][1] = 0.4
    assert recipes.chosen(of) == 0.1  # 85 % against 75 %
    assert recipes.at_best(of[0.1], recipes.tried(of)) == pytest.approx(0.85)
    assert recipes.cell(of[0.3]["a"].values()) == "70.0 (40.0)"
