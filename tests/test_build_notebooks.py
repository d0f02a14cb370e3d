"""What `notebooks/build.py --check` calls equal, and what it does not; how values come into the prose."""

import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
sys.path.insert(0, str(Path(__file__).parents[1] / "notebooks"))
import build  # noqa: E402

v4 = nbformat.v4


def notebook(printed="loss 0.512", code="print(1)", prose="It is 0.512.", **metadata):
    cell = v4.new_code_cell(code, metadata=metadata, outputs=[v4.new_output("stream", text=printed)])
    return v4.new_notebook(cells=[cell, v4.new_markdown_cell(prose)])


@pytest.mark.parametrize(
    "change, metadata, same",
    [
        ({}, {}, True),
        ({"printed": "loss 0.513"}, {}, False),
        ({"printed": "loss 0.513"}, {"tolerance": 0.01}, True),
        ({"printed": "loss 0.612"}, {"tolerance": 0.01}, False),
        ({"printed": "cost 0.512"}, {"tolerance": 9.0}, False),
        ({"printed": "loss 7.3"}, {"times": True}, True),
        ({"printed": "loss 7.3 s"}, {"times": True}, False),
        ({"prose": "It is 0.513."}, {}, False),
        ({"prose": "It is 0.513."}, {"tolerance": 0.01}, True),  # the prose under a cell has its tolerance
        ({"prose": "It was 0.512."}, {"tolerance": 0.01}, False),
        ({"code": "print(2)"}, {}, False),
    ],
)
def test_what_a_check_lets_pass(change, metadata, same):
    assert (build.differences(notebook(), notebook(**change, **metadata)) == []) is same


def test_other_cells_than_the_script_has_are_told():
    old, new = notebook(), notebook()
    del new.cells[1]
    assert "other cells" in build.differences(old, new)[0]


@pytest.mark.parametrize(
    "a, b, tolerance, same",
    [
        ("1,234", "1,235", 0.001, True), ("1,234", "1,300", 0.001, False), ("3e-10", "4e-10", 0.5, True),
        ("3e-10", "4e-10", 0.1, False), ("−0.5", "-0.5", 0.0001, True), ("0.51", "0.52", 1e-6, True),
        ("0.51", "0.53", 1e-6, False),
    ],
)  # fmt: skip
def test_numbers_near_each_other(a, b, tolerance, same):
    assert build.alike(a, b, tolerance) is same


def test_the_runtime_is_not_compared():
    one, two = (build.without_runtime(f"Runs in {n} seconds on one core.") for n in (8, 80))
    assert one == two


def test_values_are_put_into_the_prose(tmp_path):
    script = tmp_path / "00_try.py"
    script.write_text("# %%\nx = 0.1234\n\n# %% [markdown]\n# x is {{x:.2f}} or {{x}}, in {{runtime}}.\n")
    built = build.built(script)
    assert [c.cell_type for c in built.cells] == ["code", "markdown"]
    assert built.cells[1].source.startswith("x is 0.12 or 0.1234, in ")
    assert "seconds" in built.cells[1].source


@pytest.mark.parametrize(
    "code, message", [("1 / 0", "ZeroDivisionError"), ("import warnings; warnings.warn('w')", "warns")]
)
def test_a_cell_that_fails_or_warns_is_told(code, message, tmp_path):
    script = tmp_path / "00_try.py"
    script.write_text(f"# %%\n{code}\n")
    assert message in build.work(script, check=False)[0]
    assert not script.with_suffix(".ipynb").exists()
