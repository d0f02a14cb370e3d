"""Builds the notebooks out of the scripts beside this one: runs each from top to bottom, keeps what it shows.

    python notebooks/build.py                  all of them
    python notebooks/build.py 00 05            these
    python notebooks/build.py --check          runs them again, compares with the committed ones, writes nothing

Needs `pip install -e ".[notebooks]"`. A script is in jupytext's percent format. Three things are ours:

- `{{rank}}` or `{{error:.1e}}` in the prose is the value that the cells above it have left, formatted.
  So no number is typed by hand. `{{runtime}}` is how long one core computed.
- `# %% tolerance=0.05` over a cell: numbers in its output, and in the prose under it, may differ by that share
  from machine to machine. Without it, what comes out is equal to the letter.
- `# %% times=true` over a cell: its numbers are measured times or memory, and are not compared.
"""

import argparse
import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jupytext
import matplotlib.font_manager  # noqa: F401  it makes its cache now, and not with a warning in a notebook
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).parent
SLOT = re.compile(r"\{\{(.+?)(?::([^:{}]*))?\}\}")
NUMBER = re.compile(r"(?<![A-Za-z_])[-−]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")
ONE_CORE = {"MINIPEFT_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def built(script):
    """The notebook of a script, run: outputs in its cells, values in its prose."""
    notebook = with_probes(jupytext.read(script))
    # coalesce_streams: what a cell prints is one text, however it arrived
    options = {"record_timing": False, "coalesce_streams": True}
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", **options)
    client.execute(cwd=str(HERE), env=os.environ | ONE_CORE)
    seconds = float(notebook.cells.pop().outputs[0].text)
    filled(notebook, f"{seconds:.0f} seconds")
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i}"
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise ValueError(f"{script.name}: a cell warns:\n{cell.source}\n{output.text}")
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": kernel, "language_info": {"name": "python"}}
    )
    return notebook


def with_probes(notebook):
    """A hidden cell behind each text that has slots: it prints their values. And a last one: the seconds."""
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        slots = [
            f"format({what}, {form!r})"
            for what, form in SLOT.findall(cell.source)
            if what != "runtime"
        ]
        if cell.cell_type == "markdown" and slots:
            probe = f"import json as _json; print(_json.dumps([{', '.join(slots)}]))"
            cells.append(nbformat.v4.new_code_cell(probe, metadata={"probe": True}))
    # on one core, where nobody else computes, the time that the kernel's process has computed is the clock's
    seconds = "import time as _time; print(_time.process_time())"
    notebook.cells = [*cells, nbformat.v4.new_code_cell(seconds)]
    return notebook


def filled(notebook, runtime):
    """Put the values into the prose, and take the hidden cells out."""
    cells = notebook.cells
    for cell, probe in zip(cells, [*cells[1:], None], strict=True):
        if cell.cell_type == "markdown":
            values = iter(
                json.loads(probe.outputs[0].text)
                if probe and probe.metadata.get("probe")
                else []
            )
            cell.source = SLOT.sub(
                lambda m, v=values: runtime if m[1] == "runtime" else next(v), cell.source
            )
    notebook.cells = [cell for cell in cells if not cell.metadata.get("probe")]
    for i, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.execution_count = i + 1
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = i + 1


# ----------------------------------------------------------------------------------------- comparing


def shown(cell):
    """What a reader sees of a cell, as text: its prose, or what its code prints; of pictures their finding."""
    if cell.cell_type == "markdown":
        return cell.source
    return "\n".join(
        o.get("text") or o.get("data", {}).get("text/plain", "")
        for o in cell.get("outputs", [])
    )


def differences(old, new):
    """[line, ...]: where a notebook that was run again says something else than the committed one."""
    if [c.cell_type for c in old.cells] != [c.cell_type for c in new.cells]:
        return ["the script has other cells than the notebook: build it again"]
    found, tolerance = [], 0.0
    for i, (a, b) in enumerate(zip(old.cells, new.cells, strict=True)):
        if b.cell_type == "code":
            tolerance = (
                float("inf")
                if b.metadata.get("times")
                else float(b.metadata.get("tolerance", 0))
            )
            if a.source != b.source:
                found.append(f"cell {i}: the code of the script is not that of the notebook")
        if not alike(without_runtime(shown(a)), without_runtime(shown(b)), tolerance):
            found.append(f"cell {i}: committed\n{shown(a)}\n--- now\n{shown(b)}")
    return found


def without_runtime(text):
    """The text less the time that the notebook took."""
    return re.sub(r"Runs in \d+ seconds", "Runs in seconds", text)


def alike(a, b, tolerance):
    """Equal words; numbers that differ by at most this share, and at most one in the last digit besides."""
    if a == b or tolerance == 0:
        return a == b
    if NUMBER.sub("#", a) != NUMBER.sub("#", b):
        return False
    return all(
        near(x, y, tolerance) for x, y in zip(NUMBER.findall(a), NUMBER.findall(b), strict=True)
    )


def near(x, y, tolerance):
    """Two numbers as they are printed."""
    digits = len(x.partition("e")[0].partition(".")[2])
    unit = 0 if "e" in x else 10.0**-digits
    u, v = (float(n.replace(",", "").replace("−", "-")) for n in (x, y))
    return abs(u - v) <= tolerance * max(abs(u), abs(v)) + unit


# ------------------------------------------------------------------------------------------- the command


def work(script, check):
    """Build one notebook, or check it. -> what is wrong, in lines."""
    target = script.with_suffix(".ipynb")
    try:
        new = built(script)
    except (CellExecutionError, ValueError) as error:
        return [str(error)]
    if check:
        return differences(nbformat.read(target, 4), new)
    nbformat.write(new, target)
    return []


def main():
    """Run what the command line names."""
    parser = argparse.ArgumentParser(
        description="Run the notebooks, and keep or compare what they show."
    )
    parser.add_argument("numbers", nargs="*", help="00, 05, ...; none: all of them")
    parser.add_argument(
        "--check", action="store_true", help="compare with the committed ones, write nothing"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at a time")
    args = parser.parse_args()
    scripts = sorted(HERE.glob("[0-9][0-9]_*.py"))
    chosen = [s for s in scripts if not args.numbers or s.name[:2] in args.numbers]
    wrong = 0
    with ThreadPoolExecutor(args.jobs) as pool:
        for script, lines in zip(
            chosen, pool.map(lambda s: work(s, args.check), chosen), strict=True
        ):
            print(f"{script.name}: {'; '.join(lines) or 'right'}", flush=True)
            wrong += bool(lines)
    return 1 if wrong or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
