r"""AdamW, one step.

    m = b1 m + (1 - b1) g          v = b2 v + (1 - b2) g^2
    p = p - lr wd p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

p, g, m, v (I, O); t counts steps from 1; lr, b1, b2, eps, wd are numbers. The decay wd acts on p itself,
beside the gradient. Return the new p, m and v; what is given stays as it is. The example, on 2 x 2 numbers:
the first step moves each entry by about lr, whatever the size of its gradient.

    >>> p, zero = np.array([[1.0, 2], [3, 4]]), np.zeros((2, 2))
    >>> g = np.array([[0.1, -0.1], [5.0, 0.001]])
    >>> new, m, v = adamw(p, g, zero, zero, t=1, lr=0.1, b1=0.9, b2=0.999, eps=1e-8, wd=0.0)
    >>> (new - p).round(4).tolist()
    [[-0.1, 0.1], [-0.1, -0.1]]

In the package: minipeft/optim.py, AdamW.
"""

import numpy as np


def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    """p, g, m, v (I, O) -> the new p, m, v (I, O)."""
    raise NotImplementedError
