"""The parts of the benchmark: each runs its processes, checks that they did the same work, takes medians."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from batches import OF_ROWS, batches_of, prompts_of

from minipeft import METHODS, InputError, PeftModel
from minipeft.files.json_files import write_json
from minipeft.files.tensors import write_safetensors
from minipeft.files.tokenizer import load_tokenizer
from minipeft.model import load_model

WORKER = Path(__file__).parent / "worker.py"
SIDES = ("minipeft", "pytorch")
FORMS = {  # of the parts in bfloat16: which side, and how it holds or computes with the base
    "minipeft": ("minipeft", None),
    "minipeft, float32 packed": ("minipeft", "float32"),
    "minipeft, bfloat16": ("minipeft", "bfloat16"),
    "PyTorch": ("pytorch", None),
    "PyTorch, bfloat16": ("pytorch", "bfloat16"),
    "PyTorch, autocast": ("pytorch", "autocast"),
}
SELECTING = ("full", "bitfit")  # nothing but parameters of the base trains: there is no adapter to start from
NEW_TOKENS = 64
SAME_LOSS, SAME_ROUNDED_LOSS = 1e-3, 0.02


class SideBySide:
    """The settings, the model's folder, the adapters' folders; and a method for each part."""

    def __init__(self, args, folder):
        self.args, self.folder, self.base = args, folder, folder / "base"
        self.model = load_model(args.model)
        if args.tokenizer:
            self.model.tokenizer = load_tokenizer(args.tokenizer)
        self.model.save_pretrained(self.base, "float32")

    def adapter(self, method):
        """The folder of the adapter that both sides start from, as `peft` reads it; None without one."""
        if method in SELECTING:
            return None
        folder = self.folder / method
        if not folder.exists():
            peft = PeftModel(self.model, METHODS[method]())
            peft.save_pretrained(folder)
            write_safetensors(folder / "tensors.safetensors", peft.tensors)  # by our names, for the adapter
        return str(folder)

    def in_turn(self, part, method, show, forms=None, **task):
        """{side: the results of its processes}, the sides in turn. show: a result in words.

        forms: as FORMS, where there is more to compare than the two sides as they are.
        """
        forms = forms or {side: (side, None) for side in SIDES}
        task |= {"part": part, "method": method, "adapter": self.adapter(method), "base": str(self.base)}
        task |= {"device": self.args.device, "threads": self.args.threads}
        results = {name: [] for name in forms}
        for _ in range(self.args.repeats):
            for name, (side, form) in forms.items():
                write_json(self.folder / "task.json", task | {"side": side, "form": form})
                (self.base / "model.safetensors").read_bytes()  # no side waits for the disk
                command = [sys.executable, WORKER, self.folder / "task.json", repr(time.time())]
                results[name].append(self.output(command))
                print(f"{part:<10} {name:<9} {show(results[name][-1])}", flush=True)
        return results

    def output(self, command):
        """The JSON that a process prints."""
        names = ("MINIPEFT_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        threads = dict.fromkeys(names, str(self.args.threads))
        run = subprocess.run(command, capture_output=True, text=True, env=os.environ | threads)
        if run.returncode:
            raise InputError(f"{' '.join(map(str, command))} failed:\n{run.stderr}")
        return json.loads(run.stdout)

    # ------------------------------------------------------------------------------------------ the parts

    def training(self, method, kind):
        """One method on one kind of batch."""
        entry = self.trained(method, kind, None, SAME_LOSS)
        return entry | ratios(entry, "tokens_per_second")

    def bfloat16(self, method, kind):
        """The same with FORMS; `full`, whose weights train, has no packed base."""
        forms = {n: f for n, f in FORMS.items() if method != "full" or f[0] == "pytorch" or f[1] is None}
        return self.trained(method, kind, forms, SAME_ROUNDED_LOSS)

    def trained(self, method, kind, forms, same_loss):
        """The medians of every side, once it is clear that all did the same work."""
        a = self.args
        batches = batches_of(kind, 1 + a.steps, self.model, a.data if kind in OF_ROWS else None)
        rates = lambda result: [n / s for n, s in zip(result["tokens"], result["seconds"], strict=True)]
        show = lambda result: (
            f"{method}, {kind}: {statistics.median(rates(result)):,.0f} tokens/s, "
            f"{result['peak_memory_mb']:,.0f} MB"
        )
        results = self.in_turn("training", method, show, forms, batches=batches)
        every = [result for each in results.values() for result in each]
        counts, losses = {r["trainable"] for r in every}, [r["losses"][0] for r in every]
        if len(counts) > 1 or max(losses) - min(losses) > same_loss * (1 if forms is None else min(losses)):
            raise InputError(f"{method}, {kind}: not the same work: {counts} train, first losses {losses}")
        entry = {"trainable": every[0]["trainable"], "steps": a.steps, "repeats": a.repeats}
        for side, own in results.items():
            entry[side] = {
                "tokens_per_second": statistics.median(r for result in own for r in rates(result)),
                "step_seconds": statistics.median(s for result in own for s in result["seconds"]),
                "peak_memory_mb": statistics.median(result["peak_memory_mb"] for result in own),
                "losses": own[0]["losses"],
            }
        return entry

    def generation(self, number):
        """So many prompts at once, under LoRA."""
        results, entry = self.generated(number, None)
        ours, theirs = (results[side][0]["outputs"] for side in SIDES)
        check_first_tokens(ours, theirs)
        pairs = [pair for a, b in zip(ours, theirs, strict=True) for pair in zip(a, b, strict=True)]
        same = sum(a == b for a, b in pairs) / len(pairs)
        return entry | {"same_tokens": same} | ratios(entry, "tokens_per_second")

    def generation_in_bfloat16(self, number):
        """The same with FORMS. Tokens may differ: where two are nearly as likely, rounding decides."""
        return self.generated(number, {n: f for n, f in FORMS.items() if f[1] != "autocast"})[1]

    def generated(self, number, forms):
        """The results of every side's processes, and their medians."""
        show = lambda r: f"B = {number}: {r['tokens'] / statistics.median(r['seconds']):,.0f} tokens/s"
        task = {"prompts": prompts_of(number, self.model, self.args.data), "new_tokens": NEW_TOKENS}
        results = self.in_turn("generation", "lora", show, forms, **task, runs=self.args.runs)
        entry = {"repeats": self.args.repeats}
        for side, own in results.items():
            rates = [r["tokens"] / s for r in own for s in r["seconds"]]
            peak = statistics.median(r["peak_memory_mb"] for r in own)
            entry[side] = {"tokens_per_second": statistics.median(rates), "peak_memory_mb": peak}
        return results, entry

    def cold(self):
        """From the start of a process to one new token, base and LoRA adapter read from files."""
        show = lambda r: f"first token after {r['first_token']:.2f} s"
        prompts = prompts_of(1, self.model, self.args.data)
        results = self.in_turn("cold", "lora", show, prompts=prompts)
        check_first_tokens(*(results[side][0]["outputs"] for side in SIDES))
        keys = ("imported", "loaded", "first_token", "peak_memory_mb")
        entry = {
            side: {key: statistics.median(r[key] for r in results[side]) for key in keys} for side in SIDES
        }
        speed = entry["pytorch"]["first_token"] / entry["minipeft"]["first_token"]
        return entry | {"speed": speed, "repeats": self.args.repeats}

    def floor(self, method):
        """`minipeft bench`, the median of its processes."""
        a = self.args
        options = {"model": self.base, "data": a.data, "method": method, "steps": a.steps, "device": a.device}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        runs = []
        for _ in range(a.repeats):
            runs.append(self.output([sys.executable, "-m", "minipeft", "bench", *words, "--json", "--quiet"]))
            print(f"floor      minipeft  {method}: {runs[-1]['floor_share']:.0%} of the time", flush=True)
        numbers = [key for key, value in runs[0].items() if isinstance(value, float)]
        return {key: statistics.median(run[key] for run in runs) for key in numbers}


def check_first_tokens(ours, theirs):
    """Raise InputError unless both sides continue every prompt by the same token."""
    firsts = [[ids[0] for ids in outputs] for outputs in (ours, theirs)]
    if firsts[0] != firsts[1]:
        raise InputError(f"not the same work: the first new tokens are {firsts[0]} and {firsts[1]}")


def ratios(entry, rate):
    """How many times as fast, and what share of the memory."""
    ours, theirs = (entry[side] for side in SIDES)
    memory = ours["peak_memory_mb"] / theirs["peak_memory_mb"]
    return {"speed": ours[rate] / theirs[rate], "memory": memory}
