"""Write the stored references for the methods after a sublayer: what AdapterHub's `adapters` computes.

    python tests/reference/make_adapters.py

Made with adapters 1.3, transformers 4.57, torch 2.13: an environment of its own, without `peft`. Reads
gpt2-tiny and batches.json, which make_reference.py wrote; writes for each adapter, beside itself:

    NAME/       as `adapters` saves it (tiny-fusion: its two adapters, and the fusion)
    NAME.npz    on the first batch: logits, loss, every gradient; and ten AdamW steps over all three batches

Numbers are float64, no dropout, eager attention. Tensors have the names and layouts of `adapters`, without
"transformer.".

LoReFT: PyTorch's `orthogonal` turns its projection by a matrix `base` with random columns. Here `base` is a
product of R reflections, which are stored as "base NAME". And what is trained of the projection decays by
hand: `orthogonal` reads signs off that matrix's diagonal as int(-1), and AdamW would make int(-0.99999) = 0.
"""

import json
import os
import shutil
from itertools import cycle, islice
from pathlib import Path

import adapters
import numpy as np
import torch
from adapters import (
    DiReftConfig,
    DoubleSeqBnConfig,
    LoRAConfig,
    LoReftConfig,
    MAMConfig,
    ParBnConfig,
    PrefixTuningConfig,
    SeqBnConfig,
    UniPELTConfig,
)
from adapters.composition import Fuse
from torch.nn.functional import cross_entropy
from transformers import GPT2LMHeadModel, logging

HERE = Path(__file__).parent
P = 4  # the prefix of MAM
ADAPTERS = {
    "tiny-seq_bn": SeqBnConfig(reduction_factor=4),
    "tiny-double_seq_bn": DoubleSeqBnConfig(reduction_factor=4, scaling="channel"),
    "tiny-par_bn": ParBnConfig(),
    "tiny-par_bn-learned": ParBnConfig(reduction_factor=8, scaling="learned", non_linearity="gelu"),
    "tiny-loreft": LoReftConfig(r=3, suffix_positions=2),
    "tiny-direft": DiReftConfig(r=2, layers=[1], suffix_positions=1, tied_weights=True),
}


def main():
    """Write everything."""
    os.chdir(HERE)
    logging.set_verbosity_error()
    batches = json.loads(Path("batches.json").read_text())
    for name, config in ADAPTERS.items():
        write(name, base_with({"x": config}), "x", batches)
    write_fusion(batches)
    write_mam(batches)
    write_unipelt()


def base_with(configs):
    """gpt2-tiny with adapters of these configurations, by name, everything about them random."""
    model = GPT2LMHeadModel.from_pretrained("gpt2-tiny", attn_implementation="eager")
    torch.manual_seed(2)
    adapters.init(model)
    for name, config in configs.items():
        model.add_adapter(name, config=config)
    scramble(model, configs)
    return model


@torch.no_grad()
def scramble(model, names):
    """Noise on all that trains in the adapters of these names."""
    generator = torch.Generator().manual_seed(3)
    for key, p in model.named_parameters():
        if any(f".{name}." in key for name in names):
            noise = 0.3 * torch.randn(p.shape, generator=generator)
            p += noise.triu(1) if "parametrizations" in key else noise  # of reflections, this is what is read


@torch.no_grad()
def rotate(model):
    """Every projection starts from a product of R reflections; -> {"base NAME": their vectors (C, R)}."""
    bases, generator = {}, torch.Generator().manual_seed(4)
    for key, buffer in model.named_buffers():
        if key.endswith("projection.parametrizations.weight.0.base"):
            unit = key.removesuffix(".projection.parametrizations.weight.0.base").removeprefix("transformer.")
            C, R = len(buffer), model.get_submodule("transformer." + unit).projection.weight.shape[0]
            V = torch.randn(C, R, generator=generator).tril(-1)
            full = torch.cat([V, torch.zeros(C, C - R)], 1)
            buffer[...] = torch.linalg.householder_product(full.double(), 2 / (1 + (V.double() ** 2).sum(0)))
            bases[f"base {unit}"] = V.numpy()
    return bases


def write(folder, model, setup, batches):
    """The adapter's folder, and its numbers."""
    rotate(model)
    model.save_adapter(fresh(folder), setup, with_head=False, use_safetensors=True)
    model = model.double()
    values = rotate(model)  # again, now to double precision
    model.train_adapter(setup)
    write_numbers(folder, model, values, batches)


def write_fusion(batches):
    """Two adapters of different widths, and their fusion, far from where it starts."""
    model = base_with({"food": SeqBnConfig(reduction_factor=4), "people": SeqBnConfig(reduction_factor=8)})
    setup = Fuse("food", "people")
    model.add_adapter_fusion(setup, "dynamic")
    scramble(model, ["food,people"])
    folder = Path(fresh("tiny-fusion"))
    folder.mkdir()
    for name in setup.children:
        model.save_adapter(f"{folder}/{name}", name, with_head=False, use_safetensors=True)
    model.save_adapter_fusion(f"{folder}/fusion", setup, with_head=False, use_safetensors=True)
    model = model.double()
    model.train_adapter_fusion(setup)
    write_numbers(folder, model, {}, batches)


def write_mam(batches):
    """A prefix and a parallel adapter. `adapters` fails to write prefixes as safetensors: "is NAME" instead.

    It lets the text begin at position 0 behind a prefix, too; here it is told to begin at P, as in `peft`.
    """
    config = MAMConfig(
        PrefixTuningConfig(prefix_length=P, bottleneck_size=12), ParBnConfig(reduction_factor=8)
    )
    model = base_with({"x": config}).double()
    model.train_adapter("x")
    values = {
        f"is {name.removeprefix('transformer.')}": p.detach().numpy().copy() for name, p in trainable(model)
    }
    plain = model.forward
    model.forward = lambda input_ids, **more: plain(
        input_ids, position_ids=torch.arange(P, P + input_ids.shape[1])[None], **more
    )
    write_numbers("tiny-mam", model, values, batches)


def write_unipelt():
    """The logits of texts of one token, where the library's gates, means over the text, are minipeft's."""
    prefix = PrefixTuningConfig(prefix_length=P, bottleneck_size=12)
    config = UniPELTConfig(prefix, SeqBnConfig(reduction_factor=8), LoRAConfig(r=2, alpha=2))
    model = base_with({"x": config}).double().eval()
    model.train_adapter("x")
    model.eval()
    values = {f"is {name.removeprefix('transformer.')}": p.detach().numpy() for name, p in trainable(model)}
    ids = torch.arange(5)[:, None]
    with torch.no_grad():
        logits = model(input_ids=ids, position_ids=torch.full_like(ids, P)).logits[:, 0].numpy()
    np.savez_compressed("tiny-unipelt.npz", logits=logits, **values)
    print("tiny-unipelt", list(values))


def write_numbers(folder, model, values, batches):
    """The numbers of what trains in `model`."""
    model.eval()
    values |= numbers(model, batches[0])
    values["curve"] = curve(model, batches)
    np.savez_compressed(f"{folder}.npz", **values)
    print(folder, values["loss"], values["curve"][[0, -1]], list(values)[-2])


def fresh(folder):
    """The folder's name, after removing what an earlier run left there."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


# ------------------------------------------- as in make_reference.py, which needs `peft` and is not imported


def logits_and_loss(model, pairs):
    """The logits of the batch's tokens, without padding (N, V), and the mean loss over labelled tokens."""
    longest = max(len(p) + len(c) for p, c in pairs)
    rows = [(p + c, [-100] * len(p) + c, longest - len(p + c)) for p, c in pairs]
    ids = torch.tensor([ids + [0] * room for ids, _, room in rows])
    mask = torch.tensor([[1] * len(ids) + [0] * room for ids, _, room in rows])
    labels = torch.tensor([labels + [-100] * room for _, labels, room in rows])
    logits = model(input_ids=ids, attention_mask=mask).logits
    loss = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
    return logits[mask.bool()], loss


def trainable(model):
    """(name, parameter) of what trains."""
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def numbers(model, pairs):
    """The logits, the loss and every gradient, as NumPy arrays."""
    model.zero_grad()
    logits, loss = logits_and_loss(model, pairs)
    loss.backward()
    grads = {
        f"grad {name.removeprefix('transformer.')}": p.grad.numpy().copy() for name, p in trainable(model)
    }
    return {"logits": logits.detach().numpy(), "loss": loss.item()} | grads


def curve(model, batches, steps=10, rate=1e-3, decay=0.01):
    """The loss before each of some AdamW steps: matrices decay, gradients are clipped. Changes the model."""
    parameters = trainable(model)
    reflections = [p for name, p in parameters if "parametrizations" in name]
    matrices = [p for name, p in parameters if p.ndim > 1 and "parametrizations" not in name]
    others = [p for name, p in parameters if p.ndim == 1 or "parametrizations" in name]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate)
    losses = []
    for pairs in islice(cycle(batches), steps):
        optimizer.zero_grad()
        _, loss = logits_and_loss(model, pairs)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(matrices + others, 1.0)
        with torch.no_grad():
            for p in reflections:
                p -= rate * decay * p.triu(1)  # all but the diagonal
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


if __name__ == "__main__":
    main()
