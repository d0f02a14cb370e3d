"""A program that trains in processes which it kills: `python killed.py FOLDER NAME...`, a JSON line for each.

Every sitting is a fork, so that it begins in milliseconds. It dies by SIGKILL at a moment drawn at random: in
a step, when half of a file is written, just before it takes its place, just after, or when a clock says so.
"""

import json
import os
import random
import signal
import sys
import time
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from small import small_model, texts

from minipeft import (
    MAM,
    Adapter,
    BitFit,
    DoRA,
    Full,
    LoRA,
    ParallelAdapter,
    PeftModel,
    PrefixTuning,
    PromptTuning,
    PTuning,
    Sparse,
    UniPELT,
    VeRA,
    train,
)  # fmt: skip
from minipeft.files import json_files, tensors

loop, *_ = map(import_module, ("minipeft.train", "filelock", "tqdm", "safetensors.numpy", "threadpoolctl"))

PAIRS = [([], ids) for ids in texts((6, 5, 7, 4, 8, 3, 5))]
HELD_OUT = [([], ids) for ids in texts((6, 4), seed=9)]
SETTINGS = {
    "steps": 40, "batch_size": 2, "accumulation_steps": 2, "learning_rate": 0.02, "dropout": 0.1, "seed": 3,
    "eval_every": 5, "warmup_steps": 3, "schedule": "cosine",
}  # fmt: skip
METHODS = {
    "full": lambda: Full(),
    "bitfit": lambda: BitFit(),
    "sparse": lambda: Sparse(fraction=0.2),
    "sparse, fisher": lambda: Sparse(fraction=0.1, importance="fisher", examples=PAIRS),
    "prompt": lambda: PromptTuning(3),
    "p_tuning, lstm": lambda: PTuning(3, "LSTM", encoder_hidden_size=6),
    "lora": lambda: LoRA(r=2, lora_dropout=0.1, target_modules="all-linear"),
    "dora, pissa": lambda: DoRA(r=3, init_lora_weights="pissa"),
    "vera": lambda: VeRA(r=5),
    "prefix": lambda: PrefixTuning(3, prefix_projection=True, encoder_hidden_size=5),
    "adapter": lambda: Adapter(reduction_factor=4),
    "mam": lambda: MAM(PrefixTuning(3, True, 5), ParallelAdapter(reduction_factor=4)),
    "unipelt": lambda: UniPELT(PrefixTuning(3, True, 5), Adapter(reduction_factor=4), r=2),
}
KILLS = 20
LONGEST = 32  # moments that a sitting lives at most
STEPS = 240  # over KILLS * LONGEST moments: on no machine, however fast, does a run end before its last kill


def sitting(name, folder, **settings):
    """Train from where the folder stands to the end. -> the history."""
    model = PeftModel(small_model("float32"), METHODS[name](), seed=3)
    return train(model, PAIRS, HELD_OUT, folder, progress=False, **SETTINGS | settings)


def long_sitting(name, folder):
    """One of a run that is killed often: it has many steps, and saves after every second one."""
    return sitting(name, folder, resume=True, save_every=2, steps=STEPS)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(moment):
    """The moment-th of these from now on ends the process: a step, half a file, before, after a rename."""
    left = [moment]

    def passed():
        left[0] -= 1
        return left[0] == 0

    step, write = loop.optimizer_step, tensors.atomic

    def dying_step(*args):
        if passed():
            die()
        return step(*args)

    @contextmanager
    def dying_write(path):
        with write(path) as temporary:
            yield temporary
            if passed():
                os.truncate(temporary, os.path.getsize(temporary) // 2)
                die()
            if passed():
                die()
        if passed():
            die()

    loop.optimizer_step = dying_step
    tensors.atomic = json_files.atomic = loop.atomic = dying_write


def in_a_fork(work):
    """Do it in a process of its own. -> its number."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    return pid


def killed_and_gone_on_with(name, folder, rng):
    """Sittings until there were KILLS of them. -> how many there were, how many left a temporary file."""
    kills = torn = 0
    while kills < KILLS:
        by_clock = rng.random() < 0.25
        moment = LONGEST if by_clock else rng.randint(1, LONGEST)

        def work(moment=moment):
            die_at(moment)
            long_sitting(name, folder)

        pid = in_a_fork(work)
        if by_clock:
            time.sleep(rng.uniform(0.01, 0.15))
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, "a sitting failed"
        if os.WIFEXITED(status):
            break
        kills += 1
        torn += any(path.name.endswith(".tmp") for path in Path(folder).glob(".*"))
    return kills, torn


if __name__ == "__main__":
    top = Path(sys.argv[1])
    for name in sys.argv[2:]:
        rng, whole, parts = random.Random(name), top / name / "whole", top / name / "parts"
        os.waitpid(in_a_fork(lambda name=name, whole=whole: sitting(name, whole, steps=STEPS)), 0)
        kills, torn = killed_and_gone_on_with(name, parts, rng)
        pid = in_a_fork(lambda name=name, parts=parts: long_sitting(name, parts))
        code = os.waitpid(pid, 0)[1]
        print(json.dumps({"name": name, "kills": kills, "torn": torn, "code": code}), flush=True)
