"""Write the stored reference of NF4: what `bitsandbytes` makes of a random matrix.

    python tests/reference/make_quantized.py

Made with torch 2.13, bitsandbytes 0.50 on a CPU; takes seconds. Writes quantized.npz beside itself:

    W              (320, 64) = (in, out); `bitsandbytes` is given its transpose, as torch.nn.Linear has it
    nf4 values     (16,) the code book
    nf4 codes      (10240,) uint8, two codes a byte
    nf4 absmax     (320,) of the blocks of 64, before they are quantised themselves
    nf4 weight     (320, 64) dequantised, absmax as it is
    double absmax  (320,) the same after their own quantisation, to 8 bits in groups of 256
"""

from pathlib import Path

import bitsandbytes.functional as bnb
import numpy as np
import torch

HERE = Path(__file__).parent


def main():
    rng = np.random.default_rng(0)
    W = (0.02 * rng.standard_t(5, (320, 64))).astype(np.float16)  # heavier tails than a normal's
    weight = torch.tensor(W.astype(np.float32).T.copy())
    codes, state = bnb.quantize_4bit(weight, blocksize=64, quant_type="nf4")
    _, double = bnb.quantize_4bit(weight, blocksize=64, quant_type="nf4", compress_statistics=True)
    absmax = bnb.dequantize_blockwise(double.absmax, double.state2) + double.offset
    np.savez_compressed(
        HERE / "quantized.npz",
        **{
            "W": W,
            "nf4 values": state.code.numpy(),
            "nf4 codes": codes.numpy().reshape(-1),
            "nf4 absmax": state.absmax.numpy(),
            "nf4 weight": bnb.dequantize_4bit(codes, state).numpy().T,
            "double absmax": absmax.numpy(),
        },
    )


if __name__ == "__main__":
    main()
