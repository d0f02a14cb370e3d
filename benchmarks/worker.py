"""One measurement of one side, in a process of its own: python worker.py TASK.json BEGAN. Prints JSON.

TASK.json says what: side, part, base, method, adapter, device, threads, and what the part needs. BEGAN: the
time.time() at which the process was started, for the cold start. Before the side next to nothing is imported.
"""

import importlib
import json
import sys
import time


def training(side, task):
    """Seconds, useful tokens and loss of each step; the first step warms up, and has no seconds."""
    how = task["base"], task["method"], task["adapter"], task["device"], task["form"]
    step, trainable = side.trainer(*how)
    seconds, losses = [], []
    for pairs in task["batches"]:
        begin = time.perf_counter()
        losses.append(step(pairs))
        seconds.append(time.perf_counter() - begin)
    tokens = [sum(len(p) + len(c) for p, c in pairs) for pairs in task["batches"]]
    return {"seconds": seconds[1:], "tokens": tokens[1:], "losses": losses, "trainable": trainable}


def generation(side, task):
    """Seconds of each continuation of the same prompts, after one that warms up; the new tokens."""
    generate, seconds = generator(side, task), []
    for _ in range(1 + task["runs"]):
        begin = time.perf_counter()
        outputs = generate(task["prompts"], task["new_tokens"])
        seconds.append(time.perf_counter() - begin)
    return {"seconds": seconds[1:], "tokens": sum(map(len, outputs)), "outputs": outputs}


def generator(side, task):
    """What continues prompts."""
    return side.generator(task["base"], task["method"], task["adapter"], task["device"], task["form"])


def cold(side, task):
    """Seconds since the process began: when the model was loaded, when the first new token was there."""
    began = task["began"]
    generate = generator(side, task)
    loaded = time.time() - began
    outputs = generate(task["prompts"][:1], 1)
    return {"loaded": loaded, "first_token": time.time() - began, "outputs": outputs}


PARTS = {"training": training, "generation": generation, "cold": cold}


def main():
    """Measure what TASK.json says."""
    began = float(sys.argv[2])
    with open(sys.argv[1], encoding="utf-8") as file:
        task = json.load(file) | {"began": began}
    side = importlib.import_module(f"{task['side']}_side")
    imported = time.time() - began
    side.use_threads(task["threads"])
    result = PARTS[task["part"]](side, task) | {"imported": imported}

    from minipeft.cost.machine import peak_memory_mb  # last: what it brings is in no figure but this one

    result["peak_memory_mb"] = side.gpu_memory_mb() if task["device"] == "cuda" else peak_memory_mb()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
