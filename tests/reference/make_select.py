"""Write the references of methods that train existing weights: PyTorch and `peft` on gpt2-tiny.

    PYTHONPATH=. python tests/reference/make_select.py

Writes, beside itself, for each method NAME, in float64:

    select-NAME.npz       on the first batch: loss and every gradient; ten AdamW steps over all three batches,
                          and the logits of the first batch after them
    select-ln_tuning/     an adapter written by `peft`; select-ln_tuning.npz is about it
    select-fisher.npz     also "fisher NAME": the Fisher information of some parameters, from the examples of
                          all batches; and "chosen NAME": where the most important weights of all lie
"""

import json
import os
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
import transformers
from make_reference import HERE, fresh, load, load_lora, logits_and_loss, logits_of, numbers, plain, trainable
from peft import LNTuningConfig, get_peft_model
from torch.func import functional_call
from torch.nn.functional import cross_entropy

LAYERS = 2  # of gpt2-tiny
FRACTION = 0.01


def main():
    """Write everything."""
    os.chdir(HERE)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    batches = json.loads(Path("batches.json").read_text())
    write("bitfit", lambda name: name.endswith(".bias"), batches)
    write("top1", lambda name: name.startswith(("transformer.h.1.", "transformer.ln_f.")), batches)
    write("decay", lambda name: True, batches, decayed)
    write_ln_tuning(batches)
    write_fisher(batches)


def write(name, trains, batches, rate=lambda name: 1.0):
    """The parameters for which trains(name) holds, each at its own learning rate."""
    model = load("gpt2-tiny")
    for key, p in model.named_parameters():
        p.requires_grad_(trains(key))
    values = numbers(model, batches[0])
    del values["logits"]  # the base's
    if name == "decay":
        values = {}  # those of tiny.npz
    values["curve"] = curve(model, batches, rate)
    values["after"] = logits_of(model, batches[0])
    np.savez_compressed(f"select-{name}.npz", **values)


def decayed(name):
    """A layer's learning rate, 0.8 of that of the layer above it; the embeddings are below all blocks."""
    if name.startswith("transformer.w"):
        return 0.8**LAYERS
    return 0.8 ** (LAYERS - 1 - int(name.split(".")[2])) if ".h." in name else 1.0


def curve(model, batches, rate=lambda name: 1.0, steps=10):
    """The loss before each of some AdamW steps: matrices decay, gradients are clipped. Changes the model."""
    parameters = trainable(model)
    groups = [
        {"params": [p], "lr": 1e-3 * rate(name), "weight_decay": 0.01 if p.ndim > 1 else 0.0}
        for name, p in parameters
    ]
    optimizer, losses = torch.optim.AdamW(groups), []
    for pairs in islice(cycle(batches), steps):
        optimizer.zero_grad()
        _, loss = logits_and_loss(model, pairs)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in parameters], 1.0)
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


def write_ln_tuning(batches):
    """peft's adapter, its layer norms not the base's."""
    model = get_peft_model(load("gpt2-tiny", torch.float32), LNTuningConfig(task_type="CAUSAL_LM"))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, p in trainable(model):
            p.normal_(0, 0.3, generator=generator)
            p += name.endswith("weight")
    model.save_pretrained(fresh("select-ln_tuning"))
    Path("select-ln_tuning/README.md").unlink()  # an empty model card

    values = numbers(load_lora("gpt2-tiny", "select-ln_tuning"), batches[0])
    values["merged"] = logits_of(load_lora("gpt2-tiny", "select-ln_tuning").merge_and_unload(), batches[0])
    model = load_lora("gpt2-tiny", "select-ln_tuning")
    values["curve"] = curve(model, batches)
    values["after"] = logits_of(model, batches[0])
    np.savez_compressed("select-ln_tuning.npz", **values)


def write_fisher(batches):
    """The FISH mask, and the training of what it chooses: W0 + scatter(v), by autograd."""
    model = load("gpt2-tiny")
    weights = dict(model.named_parameters())
    examples = [pair for pairs in batches for pair in pairs]
    fisher = {name: torch.zeros_like(w) for name, w in weights.items()}
    for prompt, completion in examples:
        ids = torch.tensor([prompt + completion])
        first = max(len(prompt), 1)
        logits = model(input_ids=ids).logits[0, first - 1 : -1]
        loss = cross_entropy(logits, ids[0, first:], reduction="sum")
        for name, g in zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True):
            fisher[name] += g**2 / len(examples)
    flat = torch.cat([F.flatten() for F in fisher.values()])
    top = flat.argsort(descending=True)[: int(FRACTION * len(flat))].sort().values

    chosen, v, begin = {}, {}, 0
    for name, w in weights.items():
        chosen[name] = top[(top >= begin) & (top < begin + w.numel())] - begin
        v[name] = torch.zeros(len(chosen[name]), dtype=torch.float64, requires_grad=True)
        begin += w.numel()

    def sparse(**inputs):
        changed = {
            name: w.detach().flatten().index_add(0, chosen[name], v[name]).view_as(w)
            for name, w in weights.items()
        }
        return functional_call(model, changed, (), inputs)

    _, loss = logits_and_loss(sparse, batches[0])
    loss.backward()
    values = {"loss": loss.item()}
    for name in (
        "transformer.h.0.attn.c_attn.weight",
        "transformer.h.1.mlp.c_proj.bias",
        "transformer.ln_f.weight",
    ):
        values[f"fisher {plain(name)}"] = fisher[name].numpy()
    for name in weights:
        if len(chosen[name]):
            values[f"chosen {plain(name)}"] = chosen[name].numpy().astype(np.int32)
            values[f"grad {plain(name)}_values"] = v[name].grad.numpy().copy()
    values["curve"] = sparse_curve(sparse, v, batches)
    values["after"] = logits_of(sparse, batches[0])
    np.savez_compressed("select-fisher.npz", **values)


def sparse_curve(sparse, v, batches):
    """As `curve`, for the vectors v alone."""
    parameters, losses = list(v.values()), []
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0)
    for pairs in islice(cycle(batches), 10):
        optimizer.zero_grad()
        _, loss = logits_and_loss(sparse, pairs)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


if __name__ == "__main__":
    main()
