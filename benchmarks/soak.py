"""Fifty clients at a server for ten minutes: is every answer the one that its request gets alone?

    python benchmarks/soak.py --minutes 10

Each client asks at random for one of `orders`, whole or as a stream, goes away in the middle, or sends what
is no request. Before that, every order is asked for alone, with nobody beside it. Needs `.[test-serve]`, and
Linux.
"""

import argparse
import asyncio
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np

from minipeft import LoRA, PeftModel, PrefixTuning
from minipeft.model import load_model

PROMPTS = ("name : The Eagle | food : Thai ||", "Once", "name : Copper Rose House | type : pub ||")
BAD = (b"{", b'{"model": "nobody", "prompt": "a"}', b'{"model": "base", "prompt": ""}')


def orders():
    """-> [(path, body), ...]: adapters mixed, greedy and with seeds, texts and chats."""
    made = []
    for model in ("base", "lora", "prefix"):
        for i, prompt in enumerate(PROMPTS):
            common = {"model": model, "max_tokens": 8 + 8 * i}
            made.append(("completions", common | {"prompt": prompt, "temperature": 0, "stop": "zz"}))
            made.append(("completions", common | {"prompt": prompt, "seed": i, "n": 1 + i, "echo": True}))
            chat = [{"role": "user", "content": prompt}]
            made.append(("chat/completions", common | {"messages": chat, "temperature": 0}))
    return made


def texts_of(answer):
    """The text of each choice of an answer."""
    return [c["text"] if "text" in c else c["message"]["content"] for c in answer["choices"]]


def pieces_of(event):
    """[(index, text), ...] of an event of a stream."""
    return [(c["index"], c["text"] if "text" in c else c["delta"]["content"]) for c in event["choices"]]


def resident(process):
    """Megabytes that a process holds."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


async def whole(http, path, body):
    """-> "answered" and its texts, or "refused, 429" and none."""
    answer = await http.post(path, json=body)
    if answer.status_code == 429:
        return "refused, 429", None
    answer.raise_for_status()
    return "answered", texts_of(answer.json())


async def streamed(http, path, body, leave):
    """The same piece by piece; leave: go away after the first."""
    texts = [""] * body.get("n", 1)
    async with http.stream("POST", path, json=body | {"stream": True}) as answer:
        if answer.status_code == 429:
            return "refused, 429", None
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if line == "data: [DONE]":
                return "streamed", texts
            if line:
                for index, text in pieces_of(json.loads(line.removeprefix("data: "))):
                    texts[index] += text
                if leave:
                    return "gone away", None
    raise RuntimeError("a stream without its end")


async def client(http, rng, expected, until, counts):
    """Ask until the time is over."""
    while time.monotonic() < until:
        kind, (path, body, texts) = rng.random(), rng.choice(expected)
        try:
            if kind < 0.1:
                headers = {"content-type": "application/json"}
                answer = await http.post("completions", content=rng.choice(BAD), headers=headers)
                counts["refused, bad" if answer.status_code in (400, 404) else "errors"] += 1
                continue
            if kind < 0.5:
                name, got = await whole(http, path, body)
            else:
                name, got = await streamed(http, path, body, leave=kind < 0.65)
            counts[name] += 1
            if got is None:
                await asyncio.sleep(rng.random())
            elif got != texts:
                counts["different"] += 1
        except (httpx.HTTPError, RuntimeError, KeyError) as error:
            counts["errors"] += 1
            print(f"{type(error).__name__}: {error}", file=sys.stderr)


async def soak(url, process, args):
    """-> the figures."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=f"{url}/", timeout=300, limits=limits) as http:
        expected = [(path, body, (await whole(http, path, body))[1]) for path, body in orders()]
        counts, before, begin = Counter(errors=0, different=0), resident(process), time.monotonic()
        until = begin + 60 * args.minutes
        clients = [client(http, random.Random(i), expected, until, counts) for i in range(args.clients)]
        going, most = asyncio.gather(*clients), before
        while not going.done():
            await asyncio.wait([going], timeout=5)
            most = max(most, resident(process))
        await going
        memory = {"MB before": before, "MB most": most, "MB after": resident(process)}
    return dict(counts) | memory | {"minutes": (time.monotonic() - begin) / 60, "clients": args.clients}


def main():
    """Start a server, ask, print the figures, end the server."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--model", default="weights/tiny")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder, "base")
        model = load_model(args.model)
        model.save_pretrained(base)
        command = [sys.executable, "-m", "minipeft", "serve", "--model", str(base), "--port", "0"]
        for name, method in (("lora", LoRA(r=4)), ("prefix", PrefixTuning(4))):
            peft = PeftModel(model, method)
            for i, tensor in enumerate(peft.trainable.values()):
                tensor[...] = 0.05 * np.random.default_rng(i).standard_normal(tensor.shape)
            peft.save_pretrained(Path(folder, name))
            command += ["--adapter", f"{name}={Path(folder, name)}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            url = process.stdout.readline().partition(" at ")[2].partition(" ")[0]
            figures = asyncio.run(soak(url, process, args))
            process.send_signal(signal.SIGTERM)
            log = process.communicate(timeout=30)[1]
            figures |= {"exit code": process.returncode, "lines of log": len(log.splitlines())}
        finally:
            process.kill()
    for name, figure in figures.items():
        print(f"{name:>14}  {figure:,.1f}" if isinstance(figure, float) else f"{name:>14}  {figure:,}")
    if log:
        print(log[-2000:], file=sys.stderr)
    return int(any(figures[name] for name in ("errors", "different", "exit code")))  # a signal's code is < 0


if __name__ == "__main__":
    sys.exit(main())
