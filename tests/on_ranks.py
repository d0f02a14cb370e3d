"""`mpirun -n 3 python on_ranks.py FOLDER CASE...` trains, and each rank writes what it holds then.

`trained` is all of it; the tests call it in one process, too, and compare.
"""

import sys
from pathlib import Path

import numpy as np

from minipeft import GPT2, Full, LoRA, PeftModel, PrefixTuning, Sparse, train
from minipeft.speed.parallel import limit_blas
from minipeft.speed.ranks import world

ROOT = Path(__file__).parents[1]
METHODS = {
    "full": lambda: Full(),
    "lora": lambda: LoRA(r=4, target_modules="all-linear"),
    "prefix_tuning": lambda: PrefixTuning(4),
    "sparse": lambda: Sparse(fraction=0.01),
}
SETTINGS = {
    "plain": {},
    "accumulated": {"accumulation_steps": 2},
    "small batches": {"batch_size": 2},  # of three ranks one has no sequence
    "dropout": {"dropout": 0.1},
    "patience": {"learning_rate": 10.0, "patience": 1, "eval_every": 1, "steps": 9},  # worse after two steps
}


def pairs(n, seed):
    """Token ids of different lengths; every fifth completion is one token alone."""
    rng = np.random.default_rng(seed)
    lengths = [(rng.integers(1, 9), 1 if i % 5 == 0 else rng.integers(2, 12)) for i in range(n)]
    return [(rng.integers(0, 1600, p).tolist(), rng.integers(0, 1600, c).tolist()) for p, c in lengths]


def peft_of(method, dtype="float32"):
    return PeftModel(GPT2.from_pretrained(ROOT / "weights" / "tiny", dtype=dtype), METHODS[method]())


def trained(case):
    """case: "METHOD, SETTINGS, TYPE". -> {"losses": ..., "evals": ..., tensor: array} after five steps."""
    limit_blas()  # as the command line does
    method, settings, dtype = case.split(", ")
    model = peft_of(method, dtype)
    settings = {"steps": 5, "batch_size": 6, "eval_every": 2, "learning_rate": 1e-3} | SETTINGS[settings]
    history = train(model, pairs(30, 0), pairs(7, 1), progress=False, **settings)
    losses = np.array([row["loss"] for row in history.steps])
    evals = np.array([row["eval_loss"] for row in history.evals])
    return {"losses": losses, "evals": evals} | model.trainable


if __name__ == "__main__":
    for case in sys.argv[2:]:
        np.savez(Path(sys.argv[1]) / f"{case} {world().rank}.npz", **trained(case))
