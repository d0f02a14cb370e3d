"""What is stored of a gradient too large to store."""

import zlib

import numpy as np

SAMPLES = 8


def fingerprint(name, gradient):
    """A gradient -> (3 + SAMPLES,): its norm, sum, inner product with a random direction, sampled entries.

    Direction and entries are drawn by NumPy's default generator, its seed the CRC-32 of the tensor's name.
    """
    g = np.asarray(gradient, dtype=np.float64).reshape(-1)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    entries = g[rng.integers(g.size, size=SAMPLES)]
    direction = rng.standard_normal(g.size)
    return np.array([np.linalg.norm(g), g.sum(), g @ direction, *entries])


def fingerprint_error(claimed, true, size):
    """The worst difference of two fingerprints of a tensor with `size` entries, relative to the gradient.

    Norm, sum and inner product are measured by the true norm, entries by their root mean square.
    """
    norm = true[0]
    scale = np.array([norm] * 3 + [norm / size**0.5] * SAMPLES)
    return float((np.abs(claimed - true) / scale).max())
