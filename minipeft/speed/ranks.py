"""Ranks: processes, on one machine or on many, that train one model. `mpirun -n 4 minipeft train ...`

What threads do with the shards of a batch (parallel.py), ranks do with larger ones: each has a shard of every
batch, runs forward and backward on it, and the sums are added up: one all-reduce of one flat buffer a step.
Then all of them hold the same gradients and make the same update, so their weights stay the same.

Everything that is sent goes through the few methods of `Alone` and `MPIRanks`. MPI itself is mpi4py.
"""

import os
import platform
import sys
import time
import traceback
from functools import cache, cached_property

import numpy as np

from ..backend import xp_of
from ..errors import InputError
from .parallel import limit_blas, num_threads

LAUNCHERS = (  # what Open MPI, and MPICH and its like, tell each process that they start
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
)
INSTALL = "pip install 'minipeft[mpi]'"
PATIENCE = 1.0  # seconds in which the first rank says what all ranks have to say
POLL = 0.02  # seconds between two looks while a rank waits
PASSED_ON = 0.3  # s; in which mpirun passes on what a rank has written


class Alone:
    """A process that mpirun did not start: it is all the ranks there are, and what it has is the sum."""

    rank, size, first = 0, 1, True

    def add_up(self, grads, numbers, params):
        """grads {name: array}, numbers [float, ...]: the sums over all ranks. params: what trains."""
        return grads, numbers

    def gather(self, value):
        """[the value of each rank], on every rank."""
        return [value]

    def broadcast(self, value):
        """The first rank's value, on every rank."""
        return value

    def shards_before(self, own):
        """The shards of all ranks before this one, which has `own`: a number for each shard, no two alike."""
        return 0

    def wait(self):
        """Go on when all ranks are here."""


ALONE = Alone()


class MPIRanks:
    """The ranks that mpirun started, as `Alone` describes them."""

    def __init__(self, MPI):
        self.MPI, self.comm = MPI, MPI.COMM_WORLD
        self.rank, self.size = self.comm.rank, self.comm.size
        self.first, self.before = self.rank == 0, None

    def add_up(self, grads, numbers, params):
        """As in `Alone`; one all-reduce of one flat buffer, [every gradient, every number].

        grads is emptied, array by array, so that no gradient is there twice. A rank without rows has none: it
        adds zeros. Whole numbers up to 2^24 stay exact in float32.
        """
        a = next(iter(params.values()))
        buffer = xp_of(a).zeros(sum(p.size for p in params.values()) + len(numbers), a.dtype)
        totals, at = {}, 0
        for name, p in params.items():
            totals[name] = buffer[at : at + p.size].reshape(p.shape)  # a view
            if name in grads:
                totals[name][...] = grads.pop(name)
            at += p.size
        for i, number in enumerate(numbers):
            buffer[at + i] = number
        self._all_reduce(buffer)
        return totals, buffer[at:].tolist()

    def _all_reduce(self, buffer):
        if xp_of(buffer) is np:
            self.comm.Allreduce(self.MPI.IN_PLACE, buffer)
        else:
            self._nccl.all_reduce(buffer, buffer)

    @cached_property
    def _nccl(self):
        """NCCL, which adds up arrays on GPUs without a way through the host. This has never run: it needs two
        GPUs, and where this was written there was none.
        """
        from cupyx.distributed import init_process_group

        return init_process_group(self.size, self.rank, use_mpi=True)

    def gather(self, value):
        """As in `Alone`: any value that can be pickled."""
        return self.comm.allgather(value)

    def broadcast(self, value):
        """As in `Alone`: any value that can be pickled."""
        return self.comm.bcast(value)

    def shards_before(self, own):
        """As in `Alone`. It is asked once: machines of several kinds may have several numbers of cores."""
        if self.before is None:
            self.before = sum(self.gather(own)[: self.rank])
        return self.before

    def wait(self):
        """As in `Alone`. MPI's own barrier would keep a core busy, which a rank that still works may need."""
        request = self.comm.Ibarrier()
        while not request.Test():
            time.sleep(POLL)

    def end(self, code):
        """End all ranks with this exit code: the others may wait for this one, and would do so for ever.

        A moment before: mpirun may else drop what was written last, which says why.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(PASSED_ON)
        self.comm.Abort(code)


def launched():
    """(rank, size) as mpirun told this process; (0, 1) where nobody did."""
    for rank, size in LAUNCHERS:
        if os.environ.get(size, "1") != "1":
            return int(os.environ[rank]), int(os.environ[size])
    return 0, 1


@cache
def world():
    """All ranks of this run. mpi4py is imported where mpirun started several, and nowhere else.

    Raises InputError where it is missing, or belongs to another MPI than mpirun.
    """
    _, size = launched()
    if size == 1:
        return ALONE
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # it is missing; it finds no MPI library
        raise InputError(f"mpirun needs mpi4py on every machine ({error}): {INSTALL}") from None
    if MPI.COMM_WORLD.size != size:
        raise InputError(
            f"mpirun started {size} processes and mpi4py sees {MPI.COMM_WORLD.size}: "
            "they are of two MPI libraries: use the mpirun of the one that mpi4py was built for"
        )
    ranks = MPIRanks(MPI)
    sys.excepthook = ends_all(ranks)
    share_cores(ranks)
    share_gpus(ranks)
    return ranks


def ends_all(ranks):
    """What Python calls for an exception that nobody caught: it ends all ranks, which wait for this one."""

    def hook(kind, error, trace):
        traceback.print_exception(kind, error, trace)
        ranks.end(1)

    return hook


def share_cores(ranks):
    """Ranks that may use the same cores of a machine divide them, where MINIPEFT_THREADS does not say how."""
    if os.environ.get("MINIPEFT_THREADS"):
        return
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    places = ranks.gather((platform.node(), cores))
    os.environ["MINIPEFT_THREADS"] = str(max(1, num_threads() // places.count(places[ranks.rank])))
    limit_blas()


def share_gpus(ranks):
    """The ranks of a machine see a GPU each, the first of them the first. To be called before CuPy starts."""
    here = ranks.comm.Split_type(ranks.MPI.COMM_TYPE_SHARED).rank
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    own = str(here) if visible is None else "".join(visible.split(",")[here : here + 1])
    os.environ["CUDA_VISIBLE_DEVICES"] = own  # "" where there are more ranks than GPUs


def complain(text):
    """A line on standard error.

    The first of several ranks says it at once, the others a second later: what all have to say is said once,
    for by then the first has ended them.
    """
    rank, size = launched()
    if rank:
        time.sleep(PATIENCE)
    print(f"minipeft: {f'rank {rank}: ' if size > 1 else ''}{text}", file=sys.stderr, flush=True)
