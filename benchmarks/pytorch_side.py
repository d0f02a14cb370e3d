"""The same work by PyTorch, `transformers` and `peft`, as their users do it: sdpa attention, padding, AdamW.

LoRA, IA3, prefix and prompt tuning are `peft`'s. BitFit and full fine-tuning are flags on the parameters.
`peft` has no bottleneck adapter: the one here is a few lines of nn.Module with the shape of this package's
`Adapter`, y + U relu(D y) behind every block; y = x + h there, the stream after the MLP.
"""

import torch
from peft import PeftConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import nn
from transformers import GPT2LMHeadModel

NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
use_threads = torch.set_num_threads


class BlockWithAdapter(nn.Module):
    """A block of GPT-2 and its adapter: y + U relu(D y + d) + e."""

    def __init__(self, block, tensors):
        super().__init__()
        width, R = tensors["down"].shape
        self.block, self.down, self.up = block, nn.Linear(width, R), nn.Linear(R, width)
        for layer, name in ((self.down, "down"), (self.up, "up")):
            layer.weight.data[:] = tensors[name].T
            layer.bias.data[:] = tensors[f"{name}_bias"]

    def forward(self, *args, **options):
        """What the block gives, and what the adapter adds to it."""
        y = self.block(*args, **options)
        return y + self.up(torch.relu(self.down(y)))


def load(base, device, dtype=torch.float32):
    """The model alone."""
    return GPT2LMHeadModel.from_pretrained(base, dtype=dtype, **NO_DROPOUT).to(device)


def load_to_train(base, method, adapter, device, dtype=torch.float32):
    """The model under the method, whose weights are those of the adapter's folder.

    Of a base in bfloat16 `peft` keeps its own tensors in float32.
    """
    model = load(base, device, dtype)
    if method == "full":
        return model
    if method not in ("bitfit", "adapter"):
        config = PeftConfig.from_pretrained(adapter)
        config.inference_mode = False  # it trains, although it is read from files
        model = get_peft_model(model, config)
        set_peft_model_state_dict(model, load_file(f"{adapter}/adapter_model.safetensors"))
        return model
    for name, p in model.named_parameters():
        p.requires_grad = method == "bitfit" and name.endswith(".bias")
    if method == "adapter":
        tensors = load_file(f"{adapter}/tensors.safetensors")
        for i, block in enumerate(model.transformer.h):
            start = f"h.{i}.mlp.adapter_"
            own = {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}
            model.transformer.h[i] = BlockWithAdapter(block, own).to(device, dtype)
    return model


def trainer(base, method, adapter, device, form=None):
    """-> a function that takes one training step on a list of pairs and returns its loss; how much trains.

    form: "bfloat16", the whole model in it; "autocast", products in it, of weights in float32; None: float32.
    """
    dtype = torch.bfloat16 if form == "bfloat16" else torch.float32
    model = load_to_train(base, method, adapter, device, dtype).train()
    products = torch.autocast(device, torch.bfloat16, enabled=form == "autocast")
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01)

    def step(pairs):
        with products:
            loss = model(**padded(pairs, device)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        finish(device)
        return loss.item()

    return step, sum(p.numel() for p in parameters)


def padded(pairs, device):
    """[(prompt ids, completion ids), ...] -> ids, mask and labels, (S, T) each, padded to the longest."""
    shape = len(pairs), max(len(p) + len(c) for p, c in pairs)
    ids, mask, labels = (torch.full(shape, fill) for fill in (0, 0, -100))
    for i, (p, c) in enumerate(pairs):
        n = len(p) + len(c)
        ids[i, :n] = torch.tensor([*p, *c])
        mask[i, :n] = 1
        labels[i, len(p) : n] = torch.tensor(c)
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device), "labels": labels.to(device)}


def generator(base, method, adapter, device, form=None):
    """-> a function that continues prompts greedily by so many tokens each, whatever they are."""
    dtype = torch.bfloat16 if form == "bfloat16" else torch.float32
    model = PeftModel.from_pretrained(load(base, device, dtype), adapter).eval()
    model.generation_config.eos_token_id = None  # no token ends a text

    def generate(prompts, n):
        longest = max(map(len, prompts))
        room = [longest - len(p) for p in prompts]  # on the left, as `generate` wants it
        ids = torch.tensor([[0] * k + p for k, p in zip(room, prompts, strict=True)], device=device)
        mask = torch.tensor(
            [[0] * k + [1] * len(p) for k, p in zip(room, prompts, strict=True)], device=device
        )
        out = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=n, do_sample=False, pad_token_id=0
        )
        return out[:, longest:].tolist()

    return generate


def finish(device):
    """Wait until the GPU has done all of its work, so that a clock can be read."""
    if device == "cuda":
        torch.cuda.synchronize()


def gpu_memory_mb():
    """The most memory that was taken of the GPU."""
    return torch.cuda.max_memory_reserved() / 1e6
