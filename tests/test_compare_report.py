"""What a comparison shows: tables, pictures, what holds, and a report that is one file."""

import json
import re
from itertools import combinations

import numpy as np
import pytest

from minipeft.reports.compare import claims, drawings, labels, recipes, report, table
from minipeft.reports.compare.table_rows import table_rows
from minipeft.reports.pictures import figure

SCORES = {"none": 0.01, "few_shot": 0.2, "bitfit": 0.5, "lora": 0.6, "houlsby": 0.6, "full": 0.64}
SIZES = {"bitfit": 10, "lora": 25, "houlsby": 90, "lora_random": 25, "full": 1000}


def result(task, name, score, seed=0):
    about = {"task": task, "name": name, "seed": seed, "variant": {}, "chosen": True, "primary": "f1"}
    about |= {"command": f"minipeft train --seed {seed}", "parameters": 1000, "peak_memory_mb": 150.0}
    about |= {"scores": {"f1": score}, "wall_seconds": 9.0, "examples": 2.5}
    about["samples"] = [{"prompt": "Who | is <b>?", "completion": " I.", "output": f" {name} <script>\nmore"}]
    if name in recipes.BASELINES:
        return about
    evals = [{"step": s, "eval_loss": 1 + score / s, "elapsed": 2.0 * s} for s in (5, 10)]
    return about | {
        "trainable": SIZES.get(name, 30), "seconds": 25.0, "tokens_per_second": 4000.0, "adapter_mb": 0.5,
        "eval_loss": 1 + score, "evals": evals, "best": evals[1],
    }  # fmt: skip


def comparison_of(scores, seeds=1, tasks=("qa",)):
    runs = [result(t, n, s + 0.01 * i, i) for t in tasks for n, s in scores.items() for i in range(seeds)]
    rows = table_rows(runs)
    return {
        "model": "weights/tiny", "command": "minipeft compare", "seed": 0, "seeds": seeds, "sweep": {},
        "workers": 1, "budget": None, "versions": {"numpy": "2.0"}, "machine": {"cpu": "Some & Co"},
        "date": "2025-01-02 03:04", "wall_seconds": 125.0, "rows": rows, "findings": claims.findings(rows),
        "runs": runs,
    }  # fmt: skip


def cells(text):
    """A Markdown table -> its lines of cells, the rule left out; all lines are of one length."""
    lines = text.splitlines()
    assert len({len(line) for line in lines}) == 1 and re.fullmatch(r"\|(-+:?\|)+", lines[1])
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:1] + lines[2:]]


# -------------------------------------------------------------------------------------------- tables


def test_the_table():
    head, *lines = cells(table.table(comparison_of(SCORES, seeds=2)["rows"]))
    assert head == [
        "method", "site", "trainable", "share", "s to best", "tokens/s", "peak MB", "eval loss", "score: f1",
        "adapter MB",
    ]  # fmt: skip
    assert [line[0] for line in lines] == ["few_shot", "none", "bitfit", "lora", "houlsby", "full"]
    assert lines[0][2:] == ["-", "-", "-", "-", "150", "-", "20.5 ± 0.7 %", "-"]
    assert lines[3] == [
        "lora", "linear", "25", "2.50 %", "20.0", "4,000", "150", "1.605", "60.5 ± 0.7 %", "0.50",
    ]  # fmt: skip


def test_several_tasks_have_one_more_table_with_shares_of_full():
    runs = [result("qa", n, s) for n, s in SCORES.items()] + [result("chat", "lora", 0.25)]
    head, *lines = cells(table.task_table(table_rows(runs), ["qa", "chat"]))
    assert head == ["method", "qa", "chat"]
    by_name = {line[0]: line[1:] for line in lines}
    assert by_name["lora"] == ["60.0 % (94 %)", "25.0 %"] and by_name["full"] == ["64.0 % (100 %)", "-"]


# --------------------------------------------------------------------------------------------- claims


def verdicts(scores):
    found = claims.findings(comparison_of(scores)["rows"])
    return {f["claim"]: f["tasks"]["qa"]["holds"] for f in found}, claims.in_words(found)


def test_claims_hold_or_do_not_and_say_by_which_numbers():
    holds, words = verdicts(SCORES | {"lora_random": 0.1})
    assert list(holds.values()) == [False, True, True]  # 0.6 is 94 % of 0.64; houlsby is too large
    assert "lora 60.0 % with 2.50 % of the parameters; full 64.0 %, so 94 % of it" in words
    assert "the lowest is bitfit 50.0 %; few_shot 20.0 %" in words and "**does not hold**" in words

    holds, words = verdicts(SCORES | {"lora": 0.61, "bitfit": 0.2, "lora_random": 0.31})
    assert list(holds.values()) == [True, False, False]
    assert "no (bitfit 20.0 %; few_shot 20.0 %)" in words


def test_random_weights_are_measured_above_the_commonest_answer():
    for random, short in ((0.5, True), (0.74, True), (0.75, False)):  # half of 0.49 above 0.5
        holds, words = verdicts({"majority": 0.5, "lora": 0.99, "lora_random": random})
        assert list(holds.values()) == [short] and "majority 50.0 %" in words


def test_a_claim_that_the_rows_cannot_tell_about_is_not_made():
    assert verdicts({"none": 0.1, "lora": 0.5}) == ({}, "")
    assert list(verdicts({"full": 0.0, "lora": 0.5})[0].values()) == [True]


def test_where_a_claim_holds_on_some_tasks_they_are_named():
    runs = [result("qa", n, s) for n, s in SCORES.items()]
    runs += [result("chat", n, s) for n, s in (SCORES | {"lora": 0.63}).items()]
    words = claims.in_words(claims.findings(table_rows(runs)))
    assert "**holds on 1 of 2 tasks, not on qa**" in words and "    - chat: yes (lora 63.0 %" in words


def test_advice_names_the_best_the_smallest_near_it_and_the_quickest():
    (sentence,) = claims.advice(comparison_of(SCORES)["rows"])
    start = "qa: of all methods but full fine-tuning, lora and houlsby alike score highest (60.0 %); of those"
    assert sentence.startswith(start)
    assert "lora trains the fewest parameters (25)" in sentence and claims.advice([]) == []


def test_a_difference_within_the_noise_of_the_rows_is_none():
    rows = comparison_of({"lora": 0.6, "ia3": 0.55, "bitfit": 0.2})["rows"]
    (sentence,) = claims.advice(rows)
    assert sentence.startswith("qa: lora scores highest (60.0 %);")  # no full fine-tuning, no rows counted
    for row in rows:
        row["scored_rows"] = 200
    (sentence,) = claims.advice(rows)
    assert "of 200 rows; near that, differences below some 10 points are chance" in sentence
    assert "ia3 55.0 % cannot be told from it" in sentence and "bitfit 20" not in sentence
    s = 42 / 204  # 20 % of 200 rows
    assert claims.noise(rows[0], rows[0]) == pytest.approx(1.96 * (2 * s * (1 - s) / 204) ** 0.5)
    sure = {"score": 1.0, "scored_rows": 5}
    assert claims.noise(sure, sure | {"score": 0.8}) > 0.2  # 5 of 5 and 4 of 5 are not told apart


def test_a_metric_of_the_whole_set_brings_its_own_noise():
    a, b = ({"score": s, "scored_rows": 200, "score_error": 0.01} for s in (0.5, 0.55))
    assert claims.noise(a, b) == pytest.approx(1.96 * 0.01 * 2**0.5)
    assert claims.beyond_chance(b["score"] - a["score"], a, b) is True
    shares = [{key: each[key] for key in ("score", "scored_rows")} for each in (a, b)]
    assert claims.beyond_chance(0.05, *shares) is None  # a share of 200 rows would be as unsure as that
    sure = {"score": 1.0, "scored_rows": 200}
    assert claims.noise(*[sure | {"score_error": 0.0}] * 2) == pytest.approx(claims.noise(sure, sure))


def test_the_spread_over_the_seeds_is_noise_too():
    runs = [result("qa", "lora", s, i) for i, s in enumerate((0.5, 0.6, 0.7))]
    runs += [result("qa", "ia3", s, i) for i, s in enumerate((0.5, 0.5))]
    runs.append(result("qa", "ia3", 0.0, 2) | {"failed": "error: no memory"})
    ia3, lora = sorted(table_rows(runs), key=lambda row: row["score"])
    assert ia3["seeds"] == [0, 1] and lora["seeds"] == [0, 1, 2]  # those of which the mean is
    assert claims.noise(lora, ia3) == pytest.approx(1.96 * 0.1 / 3**0.5)
    assert claims.beyond_chance(0.1, lora, ia3) is None and claims.beyond_chance(0.12, lora, ia3) is True
    counted = [row | {"scored_rows": 200} for row in (lora, ia3)]
    alone = claims.noise(*({"score": row["score"], "scored_rows": 200} for row in counted))
    assert claims.noise(*counted) == pytest.approx((alone**2 + claims.noise(lora, ia3) ** 2) ** 0.5)
    (sentence,) = claims.advice(counted)
    assert "larger ones, too, where a method's seeds differ: ia3 50.0 % cannot be told from it" in sentence


def test_a_whisker_ends_where_scores_end():
    row = {"score": 0.9, "score_spread": 0.2}
    assert drawings.whisker({"score": 0.9}) is None
    assert drawings.whisker(row) == [[pytest.approx(20)], [pytest.approx(10)]]
    assert drawings.whisker(row | {"score": 0.1}) == [[pytest.approx(10)], [pytest.approx(20)]]


def test_a_claim_within_the_noise_of_the_rows_cannot_be_told():
    rows = comparison_of({"few_shot": 0.5, "lora": 0.505, "lora_random": 0.1, "full": 0.6})["rows"]
    for row in rows:
        row["scored_rows"] = 200
    found = claims.findings(rows)
    assert [f["tasks"]["qa"]["holds"] for f in found] == [None, None, True]
    words = claims.in_words(found)
    assert (
        words.count("**cannot be told**") == 2
        and "qa: cannot be told (lora 50.5 %; few_shot 50.0 %)" in words
    )


def test_times_under_load_are_said_to_be():
    rows = comparison_of({"lora": 0.6, "ia3": 0.5})["rows"]
    comparison = comparison_of({}) | {"rows": rows}
    said = "Measured on a busy machine, so these times are long: lora, ia3."
    for times in (report.notes(comparison, rows), report.in_terminal(comparison)):
        assert "busy" not in times
    for row in rows:
        row |= {"cpu_share": 0.6}
    assert said in report.notes(comparison, rows)
    assert said in report.in_terminal(comparison).splitlines()
    rows[0] |= {"cpu_share": 1.9}
    assert "times are long: ia3." in report.in_terminal(comparison)  # lora got both processors


def test_a_seed_that_failed_is_named():
    runs = [result("qa", "lora", 0.6), result("qa", "lora", 0.8, seed=2)]
    failed = {key: runs[0][key] for key in ("task", "name", "variant", "chosen", "command", "wall_seconds")}
    rows = table_rows([runs[0], failed | {"seed": 1, "failed": "the loss is nan"}, runs[1]])
    assert rows[0]["score"] == pytest.approx(0.7) and "failed" not in rows[0]
    comparison = comparison_of({}, seeds=3) | {"rows": rows}
    said = "without seed 1, which failed: the loss is nan"
    assert f"`lora`: {said}." in report.notes(comparison, rows)
    assert f"lora: {said}" in report.in_terminal(comparison).splitlines()


def test_a_tie_is_said():
    rows = comparison_of({"lora": 0.6, "ia3": 0.6, "full": 0.9})["rows"]
    for row in rows:
        row["scored_rows"] = 20
    ties = "ia3 and lora alike score highest (60.0 %) of 20 rows", "ia3 and lora alike are there first (20 s)"
    orders = [sorted(rows, key=lambda row: row["name"], reverse=reverse) for reverse in (False, True)]
    for ordered in orders:
        (sentence,) = claims.advice(ordered)
        first, second = ("ia3", "lora") if ordered is orders[0] else ("lora", "ia3")
        for tie in ties:
            assert tie.replace("ia3 and lora", f"{first} and {second}") in sentence
        assert "lora trains the fewest parameters (25)" in sentence and "cannot be told" not in sentence
        rows = [row | {"trainable": 25} for row in ordered]
        (sentence,) = claims.advice(rows)
        assert f"{first} and {second} alike train the fewest parameters (25)" in sentence


def test_of_equal_scores_a_claim_names_the_smaller_method():
    rows = comparison_of({"bitfit": 0.6, "lora": 0.6, "full": 0.61})["rows"]
    for ordered in (rows, rows[::-1]):
        (claim,) = claims.findings(ordered)
        assert "bitfit 60.0 % with 1.00 %" in claim["tasks"]["qa"]["numbers"]


# ------------------------------------------------------------------------------------------- pictures


def ink(path):
    """The share of a PNG's pixels that are not white."""
    from matplotlib.image import imread

    return float((imread(path)[..., :3] < 0.95).any(-1).mean())


def test_pictures_are_drawn_and_not_blank(tmp_path):
    drawn = drawings.draw(comparison_of(SCORES | {"lora_random": 0.1}, seeds=2)["rows"], tmp_path, "qa")
    assert [name for name, _ in drawn] == ["loss-qa.svg", "score-qa.svg", "cost-qa.svg"]
    for name, _ in drawn:
        assert (tmp_path / name).read_text().count("<path") > 20
        assert ink(tmp_path / name.replace("svg", "png")) > 0.02


def test_what_has_nothing_to_show_is_not_drawn(tmp_path):
    rows = comparison_of({"none": 0.1, "few_shot": 0.2})["rows"]
    assert drawings.draw(rows, tmp_path, "qa") == [] and not list(tmp_path.iterdir())
    rows = comparison_of({"none": 0.0, "full": 0.0, "lora": 0.0})["rows"]
    assert len(drawings.draw(rows, tmp_path, "zero")) == 3
    for row in rows:
        row.pop("score")
    assert [name for name, _ in drawings.draw(rows, tmp_path, "no score")] == [
        "loss-no-score.svg", "cost-no-score.svg",
    ]  # fmt: skip


def test_labels_cover_neither_each_other_nor_points():
    rng = np.random.default_rng(0)
    points = [(f"method number {i}", 10 ** rng.uniform(3, 4), rng.uniform(0.4, 0.7)) for i in range(20)]
    with figure(9, 6) as f:
        axes = f.subplots()
        axes.set(xscale="log", xlim=(100, 1e5), ylim=(0, 1))
        labels.place_labels(f, axes, points)
        boxes = [t.get_window_extent() for t in axes.texts if t.get_text()]
        inside, spots = axes.get_window_extent(), [axes.transData.transform(p[1:]) for p in points]
        assert len(boxes) == 20
        assert not any(labels.overlap(a, b) for a, b in combinations(boxes, 2))
        assert not any(box.contains(*spot) for box in boxes for spot in spots)
        assert all(labels.overlap(box, inside) == pytest.approx(box.width * box.height) for box in boxes)


# --------------------------------------------------------------------------------------------- report


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    comparison = comparison_of(SCORES | {"lora_random": 0.1}, tasks=("qa", "chat"))
    report.write_report(json.loads(json.dumps(comparison)), folder)
    return folder


def test_the_report_says_all_that_is_needed_to_run_it_again(written):
    text = (written / "report.md").read_text()
    assert text.startswith("# qa, chat on weights/tiny\n")
    for part in ("`minipeft compare`", "2025-01-02 03:04", "2 min 5 s", "numpy 2.0", "cpu: Some & Co"):
        assert part in text
    assert text.count("minipeft train --seed 0") == 14
    for task in ("qa", "chat"):
        assert (
            f"\n## {task}\n" in text and f"![{task}: evaluation loss against steps](loss-{task}.svg)" in text
        )
    block = text[text.index("prompt      :") :].split("```")[0]
    assert "expected    : I.\n" in block and "lora_random : lora_random <script> ↵ more\n" in block


def test_the_html_is_one_file_without_outside_references(written):
    page = (written / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 6 and page.count("<table>") == 3
    addresses = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"|url\(([^)]*)\)', page)
    assert addresses and all(a.startswith("data:") for pair in addresses for a in pair if a)
    assert "<script" not in page and "&lt;script&gt;" in page


def test_the_terminal_shows_tables_answers_and_what_holds():
    text = report.in_terminal(comparison_of(SCORES))
    assert text.startswith("| method ") and "\nlora     : lora <script>" in text and "does not hold." in text
    assert "**" not in text
