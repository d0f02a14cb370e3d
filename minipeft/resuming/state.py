"""The state of a training run on disk, from which it goes on bit for bit.

One file, state.safetensors, takes the place of the one before in one rename: there is never half a state, and
never parts of two. It holds

    now/NAME     the tensors that train, and what the method keeps beside them (Sparse's indices)
    best/NAME    the best adapter so far
    m/NAME, v/NAME    the optimizer's moments
    run          JSON in bytes: the step, the optimizer's t, the history, which evaluation was best, `same`

The order of the data and all dropout are functions of the seed and the step, so the step is all there is to
keep of them. `same` is what has to be the same for the sum to come out the same: settings, method, and
fingerprints of the data and of the base.
"""

import json
import re
import time
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import numpy as np

from ..backend import like, to_host, xp_of
from ..errors import InputError, SettingError, shortened
from ..files.content import content_of
from ..files.tensors import write_safetensors
from ..settings import fits, in_words
from ..speed.ranks import ALONE

STATE = "state.safetensors"
FREE = ("save_every", "skip_bad_steps")  # settings that may be others when a run goes on
RUN = {  # what is in "run"
    "step": int, "finished": bool, "t": int, "history": dict, "best": dict, "since_best": int, "same": dict,
}  # fmt: skip
WORDS = {
    "base": "the base is another", "data": "the training data is another",
    "eval_data": "the evaluation data is another", "teacher": "the teacher is another",
}  # fmt: skip


class SavedRun:
    """A run in training that can be saved, and gone on with.

    model, optimizer, keeper, history   what `train` works with; all that changes in a run is in them
    folder                              where the file is; None: nothing is saved
    same                                () -> the dict that must be equal when the run goes on
    ranks                               those that train; the first of them alone reads and writes the file
    """

    def __init__(self, model, optimizer, keeper, history, folder, every, same, ranks=ALONE):
        self.model, self.optimizer, self.keeper, self.history = model, optimizer, keeper, history
        self.path, self.ranks = Path(folder) / STATE if folder and ranks.first else None, ranks
        self.every, self.find_same, self.saved_at = read_every(every), same, time.perf_counter()
        self.finished = False  # is it one that `begin` found done?
        if self.every and not folder:
            raise InputError("save_every needs a folder to save in: give output_dir")

    @cached_property
    def same(self):
        """Found when it is first needed: it takes a look at every byte of base and data."""
        return json.loads(json.dumps(self.find_same(), default=str))

    def begin(self, resume):
        """The number of steps that are done already: 0 in a new run. With `resume` all is as it was then, and
        `finished` says whether no more are to come.

        Raises InputError where the state is of another run, and, without `resume`, where there is the state
        of a run that was not finished: it is not for a new run to wipe out. Of several ranks all begin as the
        first does.
        """
        done = self.find(resume) if self.ranks.first else 0
        return self.share(done) if self.ranks.size > 1 else done

    def find(self, resume):
        """`begin`, of the rank that has the file."""
        if resume and not self.path:
            raise InputError("there is no folder to go on from: give the output_dir of the run")
        if not self.path or not self.path.is_file():
            return 0
        arrays, run = read_state(self.path)
        if not resume:
            if not run["finished"]:
                raise InputError(
                    f"{self.path}: a run was stopped here after step {run['step']}: go on with it "
                    "(resume=True, --resume), or delete this file to begin anew"
                )
            self.path.unlink()
            return 0
        if different := sorted(differences(run["same"], self.same), key=lambda d: d not in WORDS.values()):
            raise InputError(
                f"{self.path}: not the run that was begun there: {'; '.join(different)}: "
                "go on with what it was begun with, or choose another folder"
            )
        self.put(arrays, run)
        return run["step"]

    def share(self, step):
        """All ranks get what the first has after so many steps of its run. -> these steps.

        Raises InputError where another rank's data, settings or base are not the first's.
        """
        first = self.ranks.broadcast(self.same)
        if different := sorted(differences(first, self.same), key=lambda d: d not in WORDS.values()):
            raise InputError(f"this rank does not train what the first does: {'; '.join(different)}")
        arrays, run = self.now(step, self.finished)
        run, names = self.ranks.broadcast((run, list(arrays)))
        sent = lambda name: to_host(arrays[name]) if self.ranks.first else None
        arrays = {name: self.ranks.broadcast(sent(name)) for name in names}  # one by one: MPI counts to 2^31
        if not self.ranks.first:
            self.put(arrays, run)
        return run["step"]

    def put(self, arrays, run):
        """All as it was when it was saved."""
        part = lambda of: {n.removeprefix(of): a for n, a in arrays.items() if n.startswith(of)}
        put_tensors(self.model, part("now/"))
        first = next(iter(self.model.trainable.values()))
        self.finished, self.optimizer.t = run["finished"], run["t"]
        self.optimizer.m = {name: like(first, a) for name, a in part("m/").items()}
        self.optimizer.v = {name: like(first, a) for name, a in part("v/").items()}
        vars(self.history).update(run["history"])
        self.keeper.best, self.keeper.since_best = run["best"], run["since_best"]
        self.keeper.values = {name: like(first, a) for name, a in part("best/").items()} or None
        if self.keeper.values and self.path:  # the folder may hold one that was found later
            self.keeper.restore()
            self.model.save_pretrained(self.path.parent)
            put_tensors(self.model, part("now/"))

    def due(self, step):
        """Is it time to save, after so many steps?"""
        if not self.every:
            return False
        number, unit = self.every
        return step % number == 0 if unit == "steps" else time.perf_counter() - self.saved_at >= number

    def save(self, step, finished=False):
        """Write the state after so many steps. A finished run's has the best adapter alone."""
        if not self.path:
            return
        arrays, run = self.now(step, finished)
        arrays["run"] = np.frombuffer(json.dumps(run).encode(), np.uint8)
        write_safetensors(self.path, arrays)
        self.saved_at = time.perf_counter()

    def now(self, step, finished):
        """({name: array}, the rest) that are the state after so many steps."""
        kept = {"now": self.model.tensors | self.model.trainable}
        if not finished:
            kept |= {"m": self.optimizer.m, "v": self.optimizer.v, "best": self.keeper.values or {}}
        run = {
            "step": step, "finished": finished, "t": self.optimizer.t, "history": vars(self.history),
            "best": self.keeper.best, "since_best": self.keeper.since_best, "same": self.same,
        }  # fmt: skip
        arrays = {f"{part}/{name}": a for part, named in kept.items() for name, a in named.items()}
        return arrays, run

    def finish(self, step):
        """The run is done. Where its state is, or is asked for, this is its last."""
        if self.path and (self.every or self.path.is_file()):
            self.save(step, finished=True)


def put_tensors(model, arrays):
    """The adapter's tensors become these. A choice of weights may be of another size than at first."""
    for name in model.tensors.keys() - arrays.keys():
        del model.tensors[name]
        model.trainable.pop(name, None)
    first = next(iter(model.weights.values()))
    for name, a in arrays.items():
        here = (model.tensors | model.trainable).get(name)
        if here is not None and here.shape == a.shape:
            here[...] = like(first, a)
            continue
        model.tensors[name] = xp_of(first).array(a)
        if model.method.optimizer_changes(name):
            model.trainable[name] = model.tensors[name]


def read_state(path):
    """A state file -> {name: array}, and what is in "run". Raises InputError where it is none."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(path)
        run = {"step": 0, "finished": False} | json.loads(arrays.pop("run").tobytes())
        if wrong := [key for key, kind in RUN.items() if not fits(run[key], kind)]:
            raise ValueError(f"{wrong[0]} must be {in_words(RUN[wrong[0]])}")
        return arrays, run
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not the state of a run ({error}): delete it to begin anew") from None


def read_every(text):
    """ "200" -> (200, "steps"), "5m" -> (300.0, "seconds"); "" -> None. Raises InputError for other words."""
    if not text:
        return None
    found = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?)([smh])", str(text))
    if not found or not float(found[1] or found[2]):
        raise SettingError(
            "save_every", f"{{}} {text}: write a number of steps, or a time such as 90s, 5m or 1h"
        )
    if found[1]:
        return int(found[1]), "steps"
    return float(found[2]) * {"s": 1, "m": 60, "h": 3600}[found[3]], "seconds"


def same_run(model, settings, pairs, held_out):
    """What a run's numbers depend on: settings and method in full, data and base as fingerprints."""
    data = {"data": pairs, "eval_data": held_out or []}
    arrays = {name: [[np.asarray(part, np.int64) for part in p] for p in each] for name, each in data.items()}
    free = {name: value for name, value in asdict(settings).items() if name not in FREE}
    return {"settings": free} | model.identity() | {name: content_of(each) for name, each in arrays.items()}


def differences(there, here, name=""):
    """What is not the same in two dicts, each in a few words."""
    if isinstance(there, dict) and isinstance(here, dict):
        keys = dict.fromkeys([*there, *here])
        return [line for key in keys for line in differences(there.get(key), here.get(key), key)]
    if there == here:
        return []
    was, now = (shortened(json.dumps(each), 50) for each in (there, here))
    return [WORDS.get(name, f"{name} was {was} and is {now}")]
