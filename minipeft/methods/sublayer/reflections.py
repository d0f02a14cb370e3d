r"""Reflections: a matrix whose columns are orthonormal, made of R of them (Householder 1958).

    H_i = 1 - 2 v_i v_i^T / v_i^T v_i     v_i (C,): column i of V (C, R), but 1 at i and 0 above

Of a matrix E (C, R) with orthonormal columns, H_1 ... H_R E has orthonormal columns again, whatever V is.
"""

import numpy as np

from ...backend import xp_of


def mirror(V, i):
    """v_i (C,): column i of V, with 1 at i and 0 above."""
    v = V[:, i].copy()
    v[:i], v[i] = 0, 1
    return v


def reflected(v, E):
    """H E = E - 2 v (v^T E) / v^T v.  E (C, R)."""
    return E - v[:, None] * ((2 / (v @ v)) * (v @ E))


def reflect(V, E):
    """H_1 ... H_R E.  V (C, R), E with C rows."""
    for i in reversed(range(V.shape[1])):
        E = reflected(mirror(V, i), E)
    return E


def reflect_backward(dE, V, E):
    r"""dE, the gradient of E = H_1 ... H_R E_0 -> dV.

    Of one reflection, E' = H E: with $w = v^T E$, $g = v^T dE'$, $n = v^T v$,
    $dv = -\frac{2}{n} (dE'\,w^T + E\,g^T) + \frac{4}{n^2} (g\,w^T)\,v$, and $dE = H\,dE'$.
    A reflection undoes itself, so E before it comes from E after it, and nothing need be kept.
    """
    dV = xp_of(V).zeros_like(V)
    for i in range(V.shape[1]):
        v = mirror(V, i)
        n, E = v @ v, reflected(v, E)
        w, g = v @ E, v @ dE  # (R,)
        dv = (4 / n**2) * (g @ w) * v - (2 / n) * (dE @ w + E @ g)
        dV[i + 1 :, i] = dv[i + 1 :]
        dE = reflected(v, dE)
    return dV


def random_reflections(C, R, rng):
    """V (C, R) whose reflections take E to a subspace drawn evenly from all (Stewart 1980)."""
    V = np.zeros((C, R))
    for i in range(R):
        v = rng.standard_normal(C - i)
        v[0] += np.copysign(np.linalg.norm(v), v[0])
        V[i + 1 :, i] = v[1:] / v[0]
    return V
