"""Write loha.npz: what the LoHa layer of `peft` computes beside a torch.nn.Linear.

    python tests/reference/make_loha.py

Made with torch 2.13, peft 0.21; takes two seconds. PEFT has no LoHa for GPT-2's Conv1D, so this is the layer
alone, in float64: x (N, I), the weight and bias as PyTorch has them, PEFT's four factors, all random; y, the
gradients of sum(y * dy) by x and by the factors, and the weight merged.
"""

from pathlib import Path

import numpy as np
import torch
from peft import LoHaConfig, get_peft_model

N, I, O, R, ALPHA = 7, 6, 5, 3, 4


def main():
    """Write everything."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    base = torch.nn.Sequential(torch.nn.Linear(I, O))
    model = get_peft_model(base, LoHaConfig(r=R, alpha=ALPHA, target_modules=["0"], init_weights=False))
    layer = model.base_model.model[0]
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape))
    x, dy = torch.randn(N, I, requires_grad=True), torch.randn(N, O)
    y = model(x)
    (y * dy).sum().backward()
    factors = {n: getattr(layer, n)["default"] for n in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")}
    values = {
        "alpha": ALPHA, "x": x, "dy": dy, "y": y, "dx": x.grad,
        "weight": layer.base_layer.weight.clone(),  # merging writes into it
        "bias": layer.base_layer.bias,
        **factors, **{f"grad {n}": p.grad for n, p in factors.items()},
        "merged": model.merge_and_unload()[0].weight,
    }  # fmt: skip
    arrays = {n: np.asarray(v.detach() if isinstance(v, torch.Tensor) else v) for n, v in values.items()}
    np.savez_compressed(Path(__file__).with_name("loha.npz"), **arrays)


if __name__ == "__main__":
    main()
