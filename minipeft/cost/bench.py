"""How fast a training step is, where its time goes, and how near it comes to what this machine can do.

The measure is the machine itself: after each step the rate of one large matrix product is taken, because
machines differ, and shared ones are faster at some times than at others. The products that a step cannot
avoid (flops.py), at that rate, are the floor of its time; the floor's share of the time that the step took
says what is left to gain. No clock is inside the step: the forward is run once more by itself, and the
backward is the rest.
"""

import statistics
import time
from dataclasses import asdict
from itertools import islice

import numpy as np

from .. import gpt2
from ..backend import synchronize, xp_for
from ..data.batches import batches, load_pairs
from ..errors import InputError, SettingError, counted
from ..files.tokenizer import load_tokenizer
from ..methods.named import make_method
from ..model import load_model
from ..optim import AdamW
from ..peft_model import PeftModel
from ..speed.parallel import map_shards, num_threads
from .flops import step_flops
from .machine import gpu_memory, peak_memory_mb, this_machine, versions

WARM_UP = 1  # steps before the clock counts: memory is asked for, files are read
SQUARE = {"cpu": 2048, "cuda": 8192}  # rows and columns of the product that gives the machine's rate


def bench(
    model, method, data, tokenizer=None, device="cpu", batch=8, steps=6, settings=(), base=None,
    ops="fast", progress=True,
):  # fmt: skip
    """Time `steps` training steps: loss, gradients, AdamW; no clipping. -> a dict, times in seconds.

    model, device, base, ops: as `load_model` takes them; method, settings: as `make_method`. data: a file
    of rows, taken in a fixed random order; tokenizer: a folder, where the model has none of its own.
    A step's tokens are those of its rows: neither padding, of which there is none, nor virtual tokens.
    Raises InputError for bad settings or data.
    """
    from tqdm import tqdm

    for name, number in (("batch", batch), ("steps", steps)):
        if number < 1:
            raise SettingError(name, f"{{}} must be 1 or more, not {number}")
    method, loaded = make_method(method, settings), load_model(model, device=device, base=base, ops=ops)
    if tokenizer:
        loaded.tokenizer = load_tokenizer(tokenizer)
        if loaded.tokenizer is None:
            raise InputError(f"{tokenizer}: neither tokenizer.json nor vocab.json and merges.txt is there")
    peft = PeftModel(loaded, method)
    peft.give_up_base()
    pairs, _ = load_pairs(data, peft, "drop")
    if not peft.trainable:
        raise InputError("nothing trains: choose another method")
    optimizer, rows = AdamW(), []
    stream = islice(batches(pairs, batch, np.random.default_rng(0)), WARM_UP + steps)
    for each in tqdm(stream, "bench", WARM_UP + steps, unit="step", disable=None if progress else True):
        with gpu_memory(device) as peak:
            row = timed_step(peft, optimizer, each, device) | {"tokens": len(each.ids)}
        row["gpu_bytes"] = peak()
        row["sgemm_rate"] = sgemm_rate(device)
        row["floor"] = sum(step_flops(peft, each).values()) / row["sgemm_rate"]
        rows.append(row)
    return {
        "model": model,
        "method": type(method).__name__,
        "configuration": asdict(method),
        "base": base,
        "ops": ops,
        "device": device,
        "batch": batch,
        "steps": steps,
        "trainable": peft.num_trainable,
        "parameters": peft.num_parameters,
        **medians(rows[WARM_UP:]),
        **memory(device, rows),
        "machine": this_machine(device),
        "versions": versions(),
        "date": time.strftime("%Y-%m-%d"),
    }


def timed_step(peft, optimizer, batch, device):
    """One training step: {"step", "forward", "backward", "optimizer"} in seconds."""
    both, (_, grads) = timed(lambda: peft.loss_and_grads(batch), device)
    update, _ = timed(lambda: optimizer.step(peft.trainable, grads), device)
    forward, _ = timed(lambda: forward_alone(peft, batch), device)
    return {"step": both + update, "forward": forward, "backward": both - forward, "optimizer": update}


def timed(f, device):
    """How long f() takes, and what it returns; on a GPU until all of its work is done."""
    synchronize(device)
    begin = time.perf_counter()
    result = f()
    synchronize(device)
    return time.perf_counter() - begin, result


def forward_alone(peft, batch):
    """The forward pass of a training step, all kept for a backward that does not come.

    The loss passes nothing back, so `gpt2.loss_and_grads` ends after it.
    """
    step, collect = peft.step(grad_enabled=True), lambda grads: None
    loss = (lambda x, W, labels, wants: step.ops.lm_loss(x, W, labels), lambda dloss, cache: (None, {}))
    map_shards(lambda shard: gpt2.loss_and_grads(shard, step, collect, loss), batch.split(peft.num_shards))


def sgemm_rate(device):
    """Operations per second of a float32 product of two square matrices, on all threads of this package.

    The faster of two products: large, square, and nothing else to do, it is the machine's best just now.
    """
    from threadpoolctl import threadpool_limits

    n, xp = SQUARE[device], xp_for(device)
    a = xp.ones((n, n), dtype="float32")
    with threadpool_limits(num_threads(), "blas"):
        return 2 * n**3 / min(timed(lambda: a @ a, device)[0] for _ in range(2))


def medians(rows):
    """The medians over the steps, with the shares and rates of each step on its own."""
    median = lambda value: statistics.median(value(row) for row in rows)
    return {
        "tokens": [row["tokens"] for row in rows],
        "tokens_per_second": median(lambda row: row["tokens"] / row["step"]),
        "step_seconds": median(lambda row: row["step"]),
        "forward_seconds": median(lambda row: row["forward"]),
        "backward_seconds": median(lambda row: row["backward"]),
        "optimizer_seconds": median(lambda row: row["optimizer"]),
        "sgemm_gflops": median(lambda row: row["sgemm_rate"]) / 1e9,
        "floor_seconds": median(lambda row: row["floor"]),
        "floor_share": median(lambda row: row["floor"] / row["step"]),
    }


def memory(device, rows):
    """{"peak_memory_mb"} of this process, {"peak_gpu_memory_mb"}: what a step's arrays held on a GPU."""
    result = {"peak_memory_mb": peak_memory_mb()}
    if device == "cuda":
        result["peak_gpu_memory_mb"] = max(row["gpu_bytes"] for row in rows) / 1e6
    return result


def in_words(result):
    """`bench`'s result for a person."""
    r = result | {key: 1000 * value for key, value in result.items() if key.endswith("_seconds")}
    r["measured"] = counted(result["steps"], "step")
    return """\
{method} on {model}, {device}, batches of {batch}, medians of {measured}
{tokens_per_second:,.0f} tokens/s, {step_seconds:,.1f} ms a step, peak memory {peak_memory_mb:,.0f} MB
forward {forward_seconds:,.1f} ms, backward {backward_seconds:,.1f} ms, optimizer {optimizer_seconds:,.1f} ms
The machine multiplies at {sgemm_gflops:,.0f} GFLOP/s: a step's products alone would take \
{floor_seconds:,.1f} ms, {floor_share:.0%} of its time.""".format_map(r)
