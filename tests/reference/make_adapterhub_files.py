"""Write folders as AdapterHub's `adapters` writes them, for the settings that make_adapters.py leaves out.

    python tests/reference/make_adapterhub_files.py

Made with adapters 1.3, transformers 4.57, torch 2.13, as make_adapters.py. Reads gpt2-tiny and batches.json;
writes for each adapter, beside itself, the folder NAME/ and NAME.npz: the float64 logits of the first two
texts under the adapter as `adapters` reads it from that folder again. Behind a prefix texts begin at its
length; UniPELT's have one token.

`adapters` fails to write a prefix as safetensors, so its pickle file is converted, as formats/adapterhub.py
tells to do. Nor does it write what sets DiReFT apart, subtract_projection, or read it: it is put into the
file by hand, and the adapter is made before its tensors are read.
"""

import json
import os
import shutil
from pathlib import Path

import adapters
import numpy as np
import torch
from adapters import (
    BnConfig,
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
from safetensors.torch import save_file
from transformers import GPT2LMHeadModel, logging

HERE = Path(__file__).parent
P = 4  # the prefix of MAM and UniPELT
GATED = PrefixTuningConfig(prefix_length=P, bottleneck_size=12)
ADAPTERS = {
    "hub-leave_out": SeqBnConfig(
        mh_adapter=True, leave_out=[0], scaling="learned", non_linearity="gelu", init_weights="houlsby",
        reduction_factor=8, dropout=0.1,
    ),
    "hub-widths": BnConfig(
        mh_adapter=False, output_adapter=True, reduction_factor={"1": 16, "default": 6}, non_linearity="tanh",
    ),
    "hub-parallel": ParBnConfig(
        mh_adapter=True, scaling="channel", non_linearity="gelu_new", reduction_factor=16
    ),
    "hub-loreft": LoReftConfig(r=2),
    "hub-loreft-ends": LoReftConfig(r=3, layers=[1], suffix_positions=2, non_linearity="tanh", dropout=0.0),
    "hub-direft": DiReftConfig(r=2, layers=[0], suffix_positions=1, tied_weights=True),
    "hub-mam": MAMConfig(GATED, ParBnConfig(reduction_factor=8)),
    "hub-mam-flat": MAMConfig(
        PrefixTuningConfig(flat=True, prefix_length=P), ParBnConfig(reduction_factor=16, scaling="learned")
    ),
    "hub-unipelt": UniPELTConfig(GATED, SeqBnConfig(reduction_factor=8), LoRAConfig(r=2, alpha=2)),
}  # fmt: skip
FUSIONS = {
    "hub-fusion": (
        SeqBnConfig(reduction_factor=8), SeqBnConfig(reduction_factor=16, scaling="learned"), "dynamic"
    ),
    "hub-fusion-static": (
        DoubleSeqBnConfig(reduction_factor=16, leave_out=[0]),
        DoubleSeqBnConfig(reduction_factor=8, non_linearity="relu", leave_out=[0]),
        "static",
    ),
}  # fmt: skip


def main():
    """Write everything."""
    os.chdir(HERE)
    logging.set_verbosity_error()
    texts = [p + c for p, c in json.loads(Path("batches.json").read_text())[0][:2]]
    for name, config in ADAPTERS.items():
        model = base()
        model.add_adapter("x", config=config)
        scramble(model, ["x"])
        prefix = isinstance(config, MAMConfig | UniPELTConfig)
        model.save_adapter(fresh(name), "x", with_head=name == "hub-widths", use_safetensors=not prefix)
        if prefix:
            convert(name)
        if name == "hub-direft":
            state_what_is_subtracted(name)
        again = base()
        if name == "hub-direft":
            again.add_adapter("x", config=config)
        again.load_adapter(name, use_safetensors=True)
        again.set_active_adapters("x")
        start = P if prefix else 0
        write_logits(name, again, [[i] for i in range(5)] if "unipelt" in name else texts, start)
    for name, (food, people, kind) in FUSIONS.items():
        model, setup = base(), Fuse("food", "people")
        model.add_adapter("food", config=food)
        model.add_adapter("people", config=people)
        model.add_adapter_fusion(setup, kind)
        scramble(model, ["food", "people", "food,people"])
        model.save_adapter_setup(fresh(name), setup, use_safetensors=True)
        for head in Path(name).glob("*/*head*"):
            head.unlink()  # as large as the adapters, for each of them
        again = base()
        again.load_adapter_setup(name, use_safetensors=True, set_active=True)
        write_logits(name, again, texts, 0)


def base():
    """gpt2-tiny."""
    model = GPT2LMHeadModel.from_pretrained("gpt2-tiny", attn_implementation="eager")
    torch.manual_seed(2)
    adapters.init(model)
    return model


@torch.no_grad()
def scramble(model, names):
    """Noise on all that trains in the adapters of these names."""
    generator = torch.Generator().manual_seed(3)
    for key, p in model.named_parameters():
        if any(f".{name}." in key for name in names):
            noise = 0.3 * torch.randn(p.shape, generator=generator)
            p += noise.triu(1) if "parametrizations" in key else noise  # of reflections, this is what is read


def convert(folder):
    """The pickle file of a folder -> safetensors, without the copies of the prefix."""
    pickle = Path(folder) / "pytorch_adapter.bin"
    tensors = torch.load(pickle, weights_only=True)
    tensors = {key: t.contiguous() for key, t in tensors.items() if ".pool." not in key}
    save_file(tensors, Path(folder) / "adapter.safetensors")
    pickle.unlink()


def state_what_is_subtracted(folder):
    """What a DiReFT is, into the file."""
    path = Path(folder) / "adapter_config.json"
    config = json.loads(path.read_text())
    config["config"]["subtract_projection"] = False
    path.write_text(json.dumps(config, indent=2, sort_keys=True))


def write_logits(name, model, texts, start):
    """The logits of all tokens of the texts (N, V)."""
    model = model.double().eval()
    torch.set_default_dtype(torch.float64)  # in which LoReFT makes an empty tensor for an end without tokens
    positions = lambda ids: torch.arange(start, start + len(ids))[None]
    with torch.no_grad():
        rows = [model(input_ids=torch.tensor([ids]), position_ids=positions(ids)).logits[0] for ids in texts]
    torch.set_default_dtype(torch.float32)
    np.savez_compressed(f"{name}.npz", logits=torch.cat(rows).numpy())
    print(name, rows[0][0, :3].tolist())


def fresh(folder):
    """The folder's name, after removing what an earlier run left there."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


if __name__ == "__main__":
    main()
