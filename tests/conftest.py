"""Where the tests of the GPU code run: `--device cuda` on a real GPU, else on a stand-in for CuPy."""

import sys

import fake_cupy
import pytest


def pytest_addoption(parser):
    parser.addoption(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="cuda: test_device.py runs on a GPU with CuPy; cpu: on a stand-in for CuPy, without a GPU",
    )


@pytest.fixture
def cupy(request, monkeypatch):
    """CuPy with `--device cuda`; else the stand-in, which is what `import cupy` gives during this test."""
    if request.config.getoption("--device") == "cuda":
        import cupy

        return cupy
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy)
    monkeypatch.setitem(sys.modules, "cupyx.scipy.special", fake_cupy.special)
    return fake_cupy


@pytest.fixture
def stand_in(cupy):
    """The stand-in itself; the test is skipped where CuPy is real."""
    if cupy is not fake_cupy:
        pytest.skip("this test is about the stand-in")
    return cupy
