r"""Muon: the matrices of the blocks move along the orthogonal part of their momentum.

    m = beta m + (1 - beta) g        u = beta m + (1 - beta) g        U S V^T = u, its singular values in S
    p = p - eta lambda p - eta 0.2 sqrt(max(rows, columns)) U V^T     g, m, u, p: (rows, columns)

A gradient's singular values differ by orders of magnitude: a step along it changes what many documents agree
on, and hardly anything else. U V^T has the same directions, all of one length, so what few documents teach
moves the weights as far. From random weights a model of the embedded one's shape learns to look back with it
within five million tokens; with AdamW it had not after twelve.

Keller Jordan 2024, "Muon: An optimizer for hidden layers in neural networks". The factor 0.2 sqrt(max(rows,
columns)), with which a step is as long as one of AdamW at the same rate, is Liu et al.'s (2025, "Muon is
scalable for LLM training").
"""

import math

import numpy as np

from .optim import AdamW
from .speed.parallel import map_shards, num_threads

ITERATIONS, POLYNOMIAL = 5, (3.4445, -4.7750, 2.0315)  # of Newton and Schulz; Jordan's


class Muon(AdamW):
    """Muon for the blocks' matrices; AdamW, at the same rate, for all else: embeddings, biases, layer norms.

    NumPy's arrays alone. momentum: beta above. What it keeps: m of every array, and v of AdamW's.
    """

    def __init__(self, learning_rate=1e-3, weight_decay=0.01, momentum=0.95):
        super().__init__(learning_rate, weight_decay=weight_decay)
        self.momentum = momentum

    def _make_state(self, grads):
        zeros = {name: np.zeros_like(g) for name, g in grads.items() if name not in self.m}
        self.m |= zeros
        self.v |= {name: a.copy() for name, a in zeros.items() if not self.turns(name, a)}

    def _step(self, params, grads):
        super()._step(params, {name: g for name, g in grads.items() if not self.turns(name, g)})
        turned = [(name, params[name], g) for name, g in grads.items() if self.turns(name, g)]
        n = min(num_threads(), len(turned))
        map_shards(lambda part: [self._turn(*each) for each in part], [turned[i::n] for i in range(n)])

    def turns(self, name, array):
        """Is it a matrix of a block?"""
        return name.startswith("h.") and array.ndim == 2

    def _turn(self, name, p, g):
        m, beta = self.m[name], self.momentum
        m *= beta
        m += (1 - beta) * g
        u = beta * m + (1 - beta) * g
        parts = 3 if name.endswith("c_attn.weight") else 1  # queries, keys, values: a matrix each
        for matrix, along in zip(np.split(p, parts, axis=1), np.split(u, parts, axis=1), strict=True):
            matrix *= 1 - self.learning_rate * self.weight_decay
            matrix -= self.learning_rate * 0.2 * math.sqrt(max(along.shape)) * orthogonal(along)


def orthogonal(a):
    r"""$a = U S V^T$ -> $U V^T$, nearly, and it need not be nearer.

    Singular values of 0.002 of the norm of a, and larger ones, come to 0.68 ... 1.21; smaller ones grow 485
    times at most.

    By an odd polynomial of a, five times over, which is products alone:
    $X = c_1 X + c_2 X X^T X + c_3 (X X^T)^2 X$ does to each singular value s of X what
    $c_1 s + c_2 s^3 + c_3 s^5$ does to s. a: (rows, columns); of zeros it makes zeros.
    """
    c1, c2, c3 = POLYNOMIAL
    tall = a.shape[0] > a.shape[1]
    X = a.T if tall else a
    X = X / (np.linalg.norm(X) or 1)  # no singular value is above 1
    for _ in range(ITERATIONS):
        XXT = X @ X.T
        X = c1 * X + (c2 * XXT + c3 * XXT @ XXT) @ X
    return X.T if tall else X
