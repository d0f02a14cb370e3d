"""Which tests are slow; where those of the GPU code run: on a stand-in, or on a GPU with `--device cuda`."""

import sys

import fake_cupy
import pytest

SLOW = {  # files that take most of the time: `pytest -m "not slow"` leaves them out, and tests marked slow
    "test_build_notebooks", "test_compare", "test_compare_report", "test_corpus", "test_diagnose",
    "test_exercises", "test_gpt2", "test_hostile_files", "test_interop", "test_launches", "test_memory",
    "test_methods", "test_packed", "test_puzzles", "test_ranks", "test_reference", "test_register",
    "test_resume", "test_serve", "test_site", "test_site_pages", "test_tiny", "test_tune_report",
    "test_typed",
}  # fmt: skip


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem in SLOW:
            item.add_marker("slow")


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

        if (
            cupy.cuda.runtime.getDeviceProperties(0)["name"] == b"no device at all"
        ):  # CuPy, its kernels on a host
            monkeypatch.setattr(cupy.random, "Philox4x3210", int)  # it has no random kernels: NumPy's numbers
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
