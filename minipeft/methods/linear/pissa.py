r"""PiSSA: LoRA that begins with the principal part of the weight itself and leaves the rest frozen.

    W = U S V^T                                     W (I, O);  U (I, K), S (K,), V^T (K, O);  K = min(I, O)
    A = U_R sqrt(S_R / s)                           (I, R): the first R columns, the R largest of S
    B = sqrt(S_R / s) V_R^T                         (R, O)
    the base becomes W - s A B = U_rest S_rest V_rest^T

So nothing changes at first, and what trains are the directions in which W is largest.

Source: Meng et al. 2024, "PiSSA: Principal Singular Values and Singular Vectors Adaptation", eq. 2-4;
the scale s as in Hugging Face PEFT. A column of U may change sign with its row of V^T: A B stays the same.
"""

import numpy as np


def principal_factors(W, rank, s):
    """W (I, O) -> A (I, R), B (R, O) with s A B the best approximation of W of that rank."""
    U, S, Vt = np.linalg.svd(W, full_matrices=False)
    root = np.sqrt(S[:rank] / s)  # (R,)
    return U[:, :rank] * root, root[:, None] * Vt[:rank]
