"""Ranks: a step on several is the step of one; who writes, who dies, and what all of them hear of it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import fake_cupy
import numpy as np
import pytest
from folders import ROWS, write_model
from on_ranks import trained
from small import small_batch
from test_resume import lines_in, wait_for

from minipeft.app.cli import main
from minipeft.resuming.state import STATE, read_state
from minipeft.speed import ranks
from minipeft.speed.ranks import ALONE, MPIRanks, launched, world

HERE = Path(__file__).parent
MPIRUN = shutil.which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
ENVIRONMENT = os.environ | {
    "PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE}", "MINIPEFT_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
    # Open MPI starts no more ranks than there are cores, and none for root, unless it is told to
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe", "OMPI_MCA_rmaps_base_oversubscribe": "1",
}  # fmt: skip
needs_mpi = pytest.mark.skipif(
    not (MPIRUN and find_spec("mpi4py")), reason="needs mpirun and mpi4py: pip install '.[test-mpi]'"
)


def command(n, *words):
    return [MPIRUN, "-n", str(n), sys.executable, *map(str, words)]


def on(n, *words):
    """Run python with these words on n ranks, to its end."""
    pipes = {"capture_output": True, "text": True, "errors": "replace", "timeout": 240}
    return subprocess.run(command(n, *words), env=ENVIRONMENT, **pipes)


# ------------------------------------------------------------------------------ the same step, to rounding

CASES = [
    "full, plain, float64", "lora, accumulated, float64", "prefix_tuning, small batches, float64",
    "sparse, plain, float64", "lora, patience, float64", "full, plain, float32",
]  # fmt: skip


@pytest.fixture(scope="module", params=[2, 3], ids=["2 ranks", "3 ranks"])
def results(request, tmp_path_factory):
    """{case: [what each rank holds]}"""
    folder, n = tmp_path_factory.mktemp("ranks"), request.param
    done = on(n, HERE / "on_ranks.py", folder, *CASES)
    assert done.returncode == 0, done.stderr
    return {case: [dict(np.load(folder / f"{case} {rank}.npz")) for rank in range(n)] for case in CASES}


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


trained_alone = cache(trained)


@needs_mpi
@pytest.mark.parametrize("case", CASES)
def test_ranks_train_as_one_process_does(case, results, monkeypatch):
    """Adam divides by the root of v: where a gradient is nothing but rounding, so is the step (that of the
    keys' bias, on which no loss depends). In float64 that is far below 1e-6; in float32 it is seen."""
    monkeypatch.setenv("MINIPEFT_THREADS", "1")
    alone, first = trained_alone(case), results[case][0]
    assert alone.keys() == first.keys()
    assert len(first["losses"]) == (2 if "patience" in case else 5)
    for name, array in alone.items():
        limit = 1e-6 if "float64" in case or name in ("losses", "evals") else 1e-3
        assert first[name].dtype == array.dtype and relative(first[name], array) < limit, name


@needs_mpi
@pytest.mark.parametrize("case", CASES)
def test_all_ranks_hold_the_same_bits(case, results):
    first, *others = results[case]
    for other in others:
        assert all(np.array_equal(first[name], other[name]) for name in first)


@needs_mpi
def test_two_ranks_draw_the_dropout_masks_of_two_threads(tmp_path, monkeypatch):
    """The shards are the same, and so are their numbers."""
    case = "lora, dropout, float64"
    done = on(2, HERE / "on_ranks.py", tmp_path, case)
    assert done.returncode == 0, done.stderr
    ours = dict(np.load(tmp_path / f"{case} 0.npz"))
    for threads, same in (("2", True), ("1", False)):
        monkeypatch.setenv("MINIPEFT_THREADS", threads)
        alone = trained(case)
        assert (max(relative(ours[name], alone[name]) for name in alone) < 1e-6) == same


def test_shards_of_ranks_with_unlike_numbers_of_cores_have_numbers_of_their_own():
    """Their dropout masks are drawn by these numbers; they are asked for once."""
    for rank, before in enumerate([0, 8, 12]):
        comm = SimpleNamespace(rank=rank, size=3, allgather=lambda own: [8, 4, 2])
        ranks_of_three = MPIRanks(SimpleNamespace(COMM_WORLD=comm))
        assert ranks_of_three.shards_before(2) == before
        del comm.allgather
        assert ranks_of_three.shards_before(2) == before
    assert ALONE.shards_before(2) == 0


# ---------------------------------------------------------------------------------------- the command line


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    write_model(path)
    (path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    (path / "others.jsonl").write_text("\n".join(map(json.dumps, ROWS[1:])))
    return path


def words(folder, out, *more, rows="rows.jsonl"):
    files = ["--train", folder / rows, "--eval", folder / "rows.jsonl"]
    return ["-m", "minipeft", "train", "--model", folder, *files, "--quiet", "--out", out, *more]


def rank_1(out):
    """The process that is the second rank of the run in this folder."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            said, environment = (place / "cmdline").read_bytes(), (place / "environ").read_bytes()
        except OSError:  # it has ended, or is another user's
            continue
        mine = str(out).encode() in said and str(MPIRUN).encode() not in said
        if mine and {b"PMI_RANK=1", b"OMPI_COMM_WORLD_RANK=1"} & {*environment.split(b"\0")}:
            return int(place.name)
    raise AssertionError("there is no second rank")


@needs_mpi
def test_the_first_rank_alone_says_and_writes(folder, tmp_path):
    done = on(2, *words(folder, tmp_path / "two", "--steps", "12", "--json"))
    assert done.returncode == 0, done.stderr
    two = json.loads(done.stdout)
    assert two["ranks"] == 2 and two == json.loads((tmp_path / "two" / "result.json").read_text())
    steps = [json.loads(line) for line in (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in steps if "loss" in row] == list(range(1, 13))


@needs_mpi
@pytest.mark.skipif(sys.platform != "linux", reason="the rank to kill is found in /proc")
def test_a_killed_rank_ends_all_and_the_last_state_is_whole(folder, tmp_path):
    out, more = tmp_path / "run", ["--steps", "100000", "--eval-every", "50", "--save-every", "5"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(command(2, *words(folder, out, *more)), env=ENVIRONMENT, **pipes)
    wait_for(lambda: lines_in(out / "metrics.jsonl") > 10)
    os.kill(rank_1(out), signal.SIGKILL)
    said = process.communicate(timeout=60)[0].decode(errors="replace")
    assert process.returncode != 0 and "signal" in said.lower()  # in mpirun's words: Killed, signal 9
    assert read_state(out / STATE)[1]["step"] >= 5
    done = on(3, *words(folder, out, *more, "--resume", "--set", "r=3"))  # the lock is free, and all is read
    assert done.returncode == 2 and done.stderr.count("minipeft: ") == 1
    assert "minipeft: rank 0: " in done.stderr and "r was 8 and is 3" in done.stderr


STOPS_AFTER_8 = """
import os, signal, sys
from importlib import import_module
from minipeft.app.cli import main
from minipeft.speed.ranks import world
loop = import_module("minipeft.train")
step = loop.optimizer_step
def stopping(*args):
    if args[4] == 7 and not world().first:
        os.kill(os.getpid(), signal.SIGTERM)
    return step(*args)
loop.optimizer_step = stopping
sys.exit(main(sys.argv[1:]))
"""


@needs_mpi
def test_a_signal_that_one_rank_hears_stops_all_and_three_go_on(folder, tmp_path):
    """To the numbers of one process that was never stopped, but for rounding."""
    whole, parts, more = tmp_path / "whole", tmp_path / "parts", ["--steps", "16", "--eval-every", "4"]
    assert main([str(word) for word in words(folder, whole, *more)[2:]]) == 0
    done = on(2, "-c", STOPS_AFTER_8, *words(folder, parts, *more)[2:])
    assert done.returncode == 143 and read_state(parts / STATE)[1]["step"] == 8, done.stderr
    assert "minipeft: rank 0: interrupted; stopped after step 8 of 16" in done.stderr
    assert done.stderr.count("minipeft: ") == 1 and "--resume" in done.stderr
    done = on(3, *words(folder, parts, *more, "--resume"))
    assert done.returncode == 0, done.stderr
    one, several = (json.loads((path / "result.json").read_text()) for path in (whole, parts))
    assert several["ranks"] == 3 and several["steps"] == one["steps"] == 16
    assert several["eval_loss"] == pytest.approx(one["eval_loss"], rel=1e-4)
    assert several["losses"] == pytest.approx(one["losses"], rel=1e-4)


@needs_mpi
def test_one_rank_with_other_data_ends_all(folder, tmp_path):
    others = command(1, *words(folder, tmp_path / "run", rows="others.jsonl"))
    done = on(1, *words(folder, tmp_path / "run"), ":", *others[1:])
    assert done.returncode == 2
    line = "minipeft: rank 1: this rank does not train what the first does: the training data is another"
    assert line in done.stderr


FAILS = """
from on_ranks import pairs, peft_of
from minipeft import train
from minipeft.speed.ranks import world
peft = peft_of("lora")
if not world().first:
    def loss_and_grad_sums(*args):
        raise RuntimeError("a bug on one rank")
    peft.loss_and_grad_sums = loss_and_grad_sums
train(peft, pairs(30, 0), steps=5, progress=False)
"""


@needs_mpi
def test_an_exception_of_one_rank_ends_all(tmp_path):
    done = on(2, "-c", FAILS)
    assert done.returncode != 0 and "a bug on one rank" in done.stderr


# ------------------------------------------------------------------------------------------- without mpirun


@pytest.fixture
def two_ranks_said(monkeypatch):
    """The environment is that of the first of two ranks."""
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    world.cache_clear()
    yield
    world.cache_clear()


TRAINS = """
import sys
from on_ranks import trained
trained("lora, plain, float32")
print("mpi4py" in sys.modules)
"""
OF_ANOTHER_MPI = SimpleNamespace(MPI=SimpleNamespace(COMM_WORLD=SimpleNamespace(size=1)))


def test_without_mpirun_mpi4py_is_not_imported():
    done = subprocess.run([sys.executable, "-c", TRAINS], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
    assert world() is ALONE and launched() == (0, 1)


@pytest.mark.parametrize("module", [None, OF_ANOTHER_MPI], ids=["none", "of another MPI"])
def test_mpirun_without_its_mpi4py_is_one_line(module, two_ranks_said, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "mpi4py", module)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--steps", "1"]) == 2
    err = capsys.readouterr().err
    wanted = "pip install 'minipeft[mpi]'" if module is None else "they are of two MPI libraries"
    assert err.startswith("minipeft: rank 0: mpirun") and wanted in err and err.count("\n") == 1


def test_mpirun_is_for_train(two_ranks_said, capsys):
    assert main(["info"]) == 2
    assert "mpirun is for `minipeft train` alone" in capsys.readouterr().err


class FakeComm:
    """A world of two of which the other rank has the same as this one."""

    rank, size, sent = 0, 2, None

    def Allreduce(self, where, buffer):
        self.sent = buffer.copy()
        buffer *= 2

    def all_reduce(self, buffer, out):
        self.Allreduce(None, buffer)


@pytest.mark.parametrize("xp", [np, fake_cupy], ids=["numpy", "on a stand-in for CuPy"])
def test_gradients_and_numbers_are_one_buffer(xp, cupy, monkeypatch):
    comm = FakeComm()
    several = MPIRanks(SimpleNamespace(COMM_WORLD=comm, IN_PLACE=None))
    several._nccl = comm
    params = {name: xp.zeros(shape, "float32") for name, shape in {"a": (2, 3), "b": (4,)}.items()}
    grads = {"a": xp.ones((2, 3), "float32")}  # none of b: no row of this rank has anything to do with it
    totals, numbers = several.add_up(grads, [1.5, 7, True], params)
    assert comm.sent.shape == (6 + 4 + 3,) and grads == {}
    assert numbers == [3.0, 14.0, 2.0]
    assert {name: each.shape for name, each in totals.items()} == {"a": (2, 3), "b": (4,)}
    assert float(totals["a"].sum()) == 12 and float(totals["b"].sum()) == 0


def test_alone_all_is_there_already():
    grads = {"a": np.ones(3)}
    assert ALONE.add_up(grads, [1, 2], grads) == (grads, [1, 2])
    assert ALONE.gather("x") == ["x"] and ALONE.broadcast("x") == "x" and ALONE.wait() is None


def test_ranks_that_share_cores_divide_them(monkeypatch):
    """Two ranks of a machine that may use cores 0 to 3, a third on core 4 alone; and one elsewhere."""
    places = [("here", [0, 1, 2, 3]), ("here", [0, 1, 2, 3]), ("here", [4]), ("there", [0, 1, 2, 3])]
    monkeypatch.setattr(ranks, "limit_blas", lambda: None)
    for rank, threads in enumerate("2214"):
        monkeypatch.setenv("MINIPEFT_THREADS", "")
        monkeypatch.setattr(ranks, "num_threads", lambda rank=rank: len(places[rank][1]))
        several = SimpleNamespace(rank=rank, gather=lambda value: places)
        ranks.share_cores(several)
        assert os.environ["MINIPEFT_THREADS"] == threads


def test_more_ranks_than_sequences_leave_some_without():
    batch = small_batch()
    shares = [batch.share(rank, 6) for rank in range(6)]
    assert [share is None for share in shares] == [False] * 4 + [True] * 2
    assert sum(len(share.ids) for share in shares if share) == len(batch.ids)
    assert batch.share(0, 1) is batch
