"""What a step asks of a GPU does not grow with its sequences, and stays below a limit.

Counted on the stand-in for CuPy, and exactly by the real CuPy where it can run without a GPU.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import launches
import pytest

ROOT = Path(__file__).parents[1]
ON_HOST = ROOT.parent / "shared" / "cupy_on_host"  # not part of the project
MOST = {"training": 1100, "training with dropout": 1100, "decoding": 450}
BFLOAT16 = 20  # more: what goes into a product is rounded first
MIXED = 60  # more for a second adapter in a batch: it has operations of its own, and its rows are joined


@pytest.fixture(params=["stand-in", "CuPy"])
def counts(request):
    """{"lora, training, 8": launches, ...}"""
    if request.param == "stand-in":
        return launches.counted(request.getfixturevalue("stand_in"))
    if not (ON_HOST.is_dir() and shutil.which("g++") and importlib.util.find_spec("cupy")):
        pytest.skip("needs CuPy, g++, and the driver that only counts")
    command = [sys.executable, launches.__file__, ON_HOST]
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, env=os.environ | paths, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_the_launches_of_a_step_are_few_whatever_the_number_of_sequences(counts):
    steps = {}
    for name, n in counts.items():
        method, kind, _ = name.split(", ")
        steps.setdefault((method, kind), []).append(n)
    assert len(steps) == 13
    for (method, kind), each in steps.items():
        assert each == sorted(each, reverse=True), (method, kind, each)  # more sequences, no more launches
        more = {"mixed": MIXED, "lora in bfloat16": BFLOAT16}.get(method, 0)
        assert 0 < each[0] <= MOST[kind] + more, (method, kind, each)
