"""What a step asks of a GPU, counted: by the stand-in for CuPy, or by the real one on a driver without one.

python launches.py FOLDER      prints JSON; FOLDER: of `realcupy`, which imports CuPy without a GPU
"""

import json
import sys
from types import SimpleNamespace

import numpy as np

from minipeft import GPT2, AdamW, GPT2Config, LoRA, PeftModel, PrefixTuning, PromptTuning, pack
from minipeft.train import Training, optimizer_step

CONFIG = GPT2Config(vocab_size=61, n_positions=64, n_embd=12, n_layer=12, n_head=3)  # GPT-2 small's layers
METHODS = {"lora": LoRA(r=2), "prefix": PrefixTuning(3), "prompt": PromptTuning(3)}
SEQUENCES = (1, 8, 64)
RNG = np.random.default_rng(0)


def texts(S):
    """S sequences of different lengths."""
    return [RNG.integers(0, CONFIG.vocab_size, 4 + i % 5).tolist() for i in range(S)]


def counted(counter):
    """{"lora, training, 8": launches of a step, ...}.  counter: `reset()`, and `total()` since then."""
    model, counts = GPT2.random(CONFIG, device="cuda"), {}
    rounded = GPT2.random(CONFIG, device="cuda", ops="bfloat16").packed("bfloat16")
    models = {name: PeftModel(model, method) for name, method in METHODS.items()}
    for name, peft in (models | {"lora in bfloat16": PeftModel(rounded, METHODS["lora"])}).items():
        for S in SEQUENCES:
            batch = pack([(ids[:2], ids[2:]) for ids in texts(S)])
            for kind, dropout in (("training", 0.0), ("training with dropout", 0.1)):
                optimizer = AdamW()
                for _ in range(2):  # the second: what is made once is there
                    counter.reset()
                    optimizer_step(peft, optimizer, [batch], Training(dropout=dropout), 0)
                counts[f"{name}, {kind}, {S}"] = counter.total()
        for S in SEQUENCES:
            counts[f"{name}, decoding, {S}"] = of_a_token(peft, texts(S), counter)
    peft = models["lora"]
    peft.add_adapter("prefix", METHODS["prefix"])
    for S in SEQUENCES:
        mixed = peft.mixed(["default"] * S + ["prefix"] * S)
        counts[f"mixed, decoding, {2 * S}"] = of_a_token(mixed, texts(2 * S), counter)
    return counts


def of_a_token(model, prompts, counter):
    """The launches of one token for all prompts, after the first."""
    totals = []
    for new in (3, 4):
        counter.reset()
        model.generate_ids(prompts, max_new_tokens=new, eos_token_id=[])
        totals.append(counter.total())
    return totals[1] - totals[0]


def main():
    """Count with the real CuPy."""
    sys.path.insert(0, sys.argv[1])
    import realcupy

    cupy = realcupy.load(execute=False)
    realcupy.host_random(cupy)
    cupy.random.Philox4x3210 = int
    import minipeft.backend

    minipeft.backend.computes_not = lambda cupy: ""  # nothing computes here
    launch = ("kernel:", "cublas: ", "memset", "random: d")
    total = lambda: sum(n for what, n in realcupy.counts().items() if what.startswith(launch))
    print(json.dumps(counted(SimpleNamespace(reset=realcupy.reset, total=total))))


if __name__ == "__main__":
    main()
