"""TF32 on request: the option, what it sets, and that the real CuPy hands it to cuBLAS."""

import importlib.util
import os
import shutil
import subprocess
import sys

import pytest
from test_launches import ON_HOST, ROOT

from minipeft import InputError
from minipeft.app.cli import main
from minipeft.backend import use_tf32, uses_tf32

PRODUCTS = """
import sys
sys.path.insert(0, sys.argv[1])
from minipeft.backend import use_tf32
if sys.argv[2] == "tf32":
    use_tf32("cuda")
import realcupy
cupy = realcupy.load(execute=False)
a = cupy.ones((4, 4), "float32")
a @ a
print(sorted(what for what in realcupy.counts() if what.startswith("cublas: GemmEx")))
"""


def test_on_a_cpu_it_is_refused(capsys):
    assert main(["bench", "--tf32"]) == 2
    assert capsys.readouterr().err == "minipeft: --tf32 is for a GPU: give --device cuda, too\n"


def test_it_is_asked_for_by_the_environment(monkeypatch):
    monkeypatch.delenv("CUPY_TF32", raising=False)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    assert not uses_tf32()
    monkeypatch.setenv("CUPY_TF32", "0")  # so that it is put back
    use_tf32("cuda")
    assert uses_tf32()


def test_it_comes_too_late_where_cupy_is_at_work(monkeypatch, cupy):
    monkeypatch.setenv("CUPY_TF32", "0")
    with pytest.raises(InputError, match="set CUPY_TF32=1 before Python starts"):
        use_tf32("cuda")


@pytest.mark.parametrize("form, compute", [("float32", 68), ("tf32", 77)])  # cuBLAS's numbers of the two
def test_products_are_asked_for_in_that_form(form, compute):
    if not (ON_HOST.is_dir() and shutil.which("g++") and importlib.util.find_spec("cupy")):
        pytest.skip("needs CuPy, g++, and the driver that only counts")
    env = {name: value for name, value in os.environ.items() if name != "CUPY_TF32"}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), env.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", PRODUCTS, ON_HOST, form], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"['cublas: GemmEx type 0 compute {compute}']"
