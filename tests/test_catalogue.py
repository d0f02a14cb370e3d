"""`minipeft methods`: what it says is what the code says."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from minipeft import LoRA
from minipeft.app.catalogue import described, listed
from minipeft.app.cli import main
from minipeft.methods import METHODS
from minipeft.methods.about import site

ROOT = Path(__file__).parent.parent


def line_at(place):
    """The text of "file:line"."""
    file, _, number = place.rpartition(":")
    return (ROOT / file).read_text(encoding="utf-8").splitlines()[int(number) - 1]


def test_all_methods_are_listed():
    rows = {row["name"]: row for row in listed()}
    assert list(rows) == list(METHODS)
    for name, row in rows.items():
        assert row["class"] == METHODS[name].__name__ and row["site"] == site(METHODS[name])
        assert row["formula"].strip() and "\n" not in row["formula"]
    assert rows["lora"]["formula"] == "y = x W + b + s (x A) B" and rows["lora"]["parameters"] == 294_912
    assert rows["loha"]["formula"] == "y = x W + b + s x ((A1 B1) * (A2 B2))^T"
    assert rows["fusion"]["parameters"] is None
    assert rows["mam"]["formula"] == "K' = [P_k ; K],  V' = [P_v ; V]; h' = h + s f(x)"


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_described_with_all_its_settings_and_places_that_are_there(name):
    cls, found = METHODS[name], described(name)
    assert [s["name"] for s in found["settings"]] == [f.name for f in fields(cls) if f.init]
    for setting in found["settings"]:
        assert setting["meaning"], setting["name"]
    assert found["about"] and "\\" not in found["formula"]
    places = found["where"]
    assert line_at(places["class"][0]).startswith(("class ", "@dataclass"))
    for place in places["forward"]:
        assert re.match(r"    def \w+\(self", line_at(place)), place
    for place in places.get("backward", ()):
        assert re.match(r"    def (\w+_backward|finish)\(self", line_at(place)), place
    acting = [place for place in places["forward"] if "def trains_base" not in line_at(place)]
    assert len(places.get("backward", ())) == len(acting)
    for place in places.get("merge", ()):
        assert line_at(place).startswith("    def merge(self"), place
    (test,) = places["test"]
    assert line_at(test).startswith("def test_")


def test_where_lora_is():
    found = described("lora")
    assert {what: line_at(places[0]).split("(")[0].strip() for what, places in found["where"].items()} == {
        "class": line_at(found["where"]["class"][0]).strip(),
        "forward": "def linear",
        "backward": "def linear_backward",
        "merge": "def merge",
        "test": line_at(found["where"]["test"][0]).split("(")[0],
    }
    assert found["source"].startswith("Hu et al. 2021")
    defaults = {s["name"]: s["default"] for s in found["settings"]}
    assert defaults == {f.name: repr(getattr(LoRA(), f.name)) for f in fields(LoRA)}
    assert next(s["meaning"] for s in found["settings"] if s["name"] == "r") == "the rank."


def test_a_page_with_the_class_in_a_heading_is_found():
    (page,) = described("loha")["where"]["page"]
    assert line_at(page).startswith("#") and "LoHa" in line_at(page)


def test_a_subclass_has_the_meaning_of_a_setting_from_where_it_is_said():
    of = lambda name: {s["name"]: s["meaning"] for s in described(name)["settings"]}
    assert of("dora")["r"] == of("lora_plus")["r"] == of("lora")["r"]
    assert of("lora_plus")["loraplus_lr_ratio"].startswith("lambda, how much faster")


def test_the_command_prints_a_table_a_page_and_json(capsys):
    assert main(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "class", "site", "trainable", "formula"]
    assert any(re.match(r"lora +LoRA +linear +294,912  y = x W", line) for line in lines)
    assert main(["methods", "lora"]) == 0
    out = capsys.readouterr().out
    assert "y = x W + b + s (x A) B        W (I, O)" in out and "    lora_alpha = 8\n" in out
    assert re.search(r"^backward  minipeft/methods/linear/lora\.py:\d+$", out, re.MULTILINE)
    assert main(["methods", "lora", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == described("lora")
    assert main(["methods", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == listed()


def test_an_unknown_name_is_one_line_with_the_nearest(capsys):
    assert main(["methods", "lroa"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("minipeft: no method is called 'lroa': did you mean lora? There are full, ")
