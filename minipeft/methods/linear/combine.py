r"""Adding up LoRA adapters: several (A_i, B_i, s_i) at one layer, with weights w_i, become one (A, B), s = 1.

    D_i = s_i A_i B_i             (I, O): what adapter i adds to the frozen weight
    D   = sum_i w_i D_i           what one would like to add; w_i below 0 takes a task away

    type     A                                 B                         rank             A B
    cat      [w_1 s_1 A_1, w_2 s_2 A_2, ...]   [B_1 ; B_2 ; ...]         sum of the R_i   D
    svd      U_R sqrt(S_R)                     sqrt(S_R) V_R^T           svd_rank         closest to D
    linear   sum_i +-sqrt|w_i s_i| A_i         sum_i sqrt|w_i s_i| B_i   R, all alike     D + cross terms

"linear" is not linear in the D_i: (A_1 + A_2)(B_1 + B_2) = A_1 B_1 + A_2 B_2 + A_1 B_2 + A_2 B_1. Nobody
trained the last two, and they are as large as the others: the price of staying at rank R without an SVD.

The other types first thin out each tensor t_i, and keep the share `density` of its entries:

    magnitude_prune   t_i <- its largest entries;              sum_i w_i t_i
    dare_linear       t_i <- entries at random, over density;  sum_i w_i t_i
    ties              t_i <- its largest entries;              mean of w_i t_i over the elected sign
    dare_ties         t_i <- entries at random, over density;  the same mean

Here t_i is A_i, and then B_i, with the weights that they have in "linear". With "_svd" behind the name t_i is
D_i, and the result goes through "svd". That is what the papers mean: A_i and B_i are only one way of many to
write D_i, which is (A_i M)(M^-1 B_i) as well, and their entries and signs depend on M.

Sources: Ilharco et al. 2023, "Editing Models with Task Arithmetic", section 2 (D); Yadav et al. 2023,
"TIES-Merging", algorithm 1; Yu et al. 2024, "Language Models are Super Mario" (DARE). TIES there looks for
the largest entries of all layers together; to do so layer by layer, and to prune A_i and B_i, is Hugging Face
PEFT's way, as are all names, "cat", "svd" (but PEFT leaves all of S with B) and "magnitude_prune".

Where this is not PEFT 0.21: adapters with use_rslora come out right (there sqrt(R) times too large, R that of
the sum); a single adapter is treated as several are (there by "linear", whatever the type); adapters may
differ in any way in target_modules and layers_to_transform (there the latter is the first adapter's for all).
Refused, and not there: a density of 0 (NaN), too few weights (cut short), a name that is taken (nothing
happens), DoRA (its magnitudes are lost) and PiSSA (the base changes again).
"""

from math import copysign

import numpy as np

from ...backend import to_host
from ...errors import InputError, check_choice, counted
from ...settings import fits
from .lora import LoRA
from .lora_plus import LoRAPlus
from .pissa import principal_factors

ON_FACTORS = ("linear", "magnitude_prune", "dare_linear", "ties", "dare_ties")  # t_i is A_i, and then B_i
ON_UPDATES = {"svd": "linear"} | {f"{rule}_svd": rule for rule in ON_FACTORS[1:]}  # t_i is D_i
COMBINATION_TYPES = ("cat", *ON_FACTORS, *ON_UPDATES)
MAJORITY_SIGN_METHODS = ("total", "frequency")


# ----------------------------------------------------------------------------------------------- at one layer


def combine(terms, combination_type, svd_rank, *options):
    """[(A_i (I, R_i), B_i (R_i, O), s_i, w_i), ...] -> A (I, R), B (R, O).

    options: density, majority_sign_method and rng of `merge`. "svd" gives no more than I or O columns.
    """
    if combination_type == "cat":
        As, Bs = [w * s * A for A, B, s, w in terms], [B for A, B, s, w in terms]
        return np.concatenate(As, axis=1), np.concatenate(Bs)
    if combination_type in ON_UPDATES:
        updates, weights = [s * (A @ B) for A, B, s, w in terms], [w for A, B, s, w in terms]
        D = merge(updates, weights, ON_UPDATES[combination_type], *options)
        return principal_factors(D, svd_rank, 1.0)
    roots = [abs(w * s) ** 0.5 for A, B, s, w in terms]
    signed = [copysign(root, w * s) for root, (A, B, s, w) in zip(roots, terms, strict=True)]  # once, with A
    A = merge([A for A, B, s, w in terms], signed, combination_type, *options)
    return A, merge([B for A, B, s, w in terms], roots, combination_type, *options)


def merge(tensors, weights, rule, density, majority_sign_method, rng):
    """Tensors of one shape -> one, by a rule of ON_FACTORS. rng: draws what DARE keeps."""
    if rule in ("magnitude_prune", "ties"):
        tensors = [keep_largest(t, density) for t in tensors]
    if rule in ("dare_linear", "dare_ties"):
        tensors = [keep_at_random(t, density, rng) for t in tensors]
    if rule in ("ties", "dare_ties"):
        return elected_mean(tensors, weights, majority_sign_method)
    return sum(w * t for w, t in zip(weights, tensors, strict=True))


def keep_largest(t, density):
    """t with zeros in place of its smallest entries; the share `density` stays."""
    kept = t.copy()
    kept.flat[np.argsort(np.abs(t), axis=None)[: t.size - int(density * t.size)]] = 0
    return kept


def keep_at_random(t, density, rng):
    """t / density with that probability, entry by entry, else 0: t in expectation."""
    return t * (rng.random(t.shape) < density) / density


def elected_mean(tensors, weights, majority_sign_method):
    """At each entry the mean of w_i t_i over those t_i that have the elected sign; 0 where there is none.

    Elected is the sign of sum_i t_i ("total"), or the sign that more of them have ("frequency"); plus in a
    tie. The weights come after the election: a negative one does not turn its tensor's vote around.
    """
    t = np.stack(tensors)  # (adapters, rows, columns)
    sign = np.sign(t)
    votes = {"total": t, "frequency": sign}[majority_sign_method]
    agrees = sign == np.where(votes.sum(axis=0) >= 0, 1, -1)  # a zero agrees with nobody
    return np.tensordot(weights, t * agrees, axes=1) / np.maximum(agrees.sum(axis=0), 1)


# --------------------------------------------------------------------------------------------- whole adapters


def combined_adapter(adapters, weights, combination_type, svd_rank, density, majority_sign_method, rng):
    """[(name, method, tensors), ...] and their weights -> the LoRA that they add up to, and its tensors.

    It acts on every layer on which one of them does; an adapter that does not act there has no part in the
    layer's sum, mean or vote. svd_rank: None, the largest rank there is. What it returns is on the host.

    Raises InputError for a setting that is not known or missing, for other methods than LoRA, and where ranks
    differ and must not.
    """
    check_settings(adapters, weights, combination_type, svd_rank, density, majority_sign_method)
    layers = {}  # name: the terms of its sum
    for (_, method, tensors), weight in zip(adapters, weights, strict=True):
        for layer in (key.removesuffix(".lora_A") for key in tensors if key.endswith(".lora_A")):
            A, B = to_host(tensors[f"{layer}.lora_A"]), to_host(tensors[f"{layer}.lora_B"])
            layers.setdefault(layer, []).append((A, B, method.scaling(layer), float(weight)))
    ranks = {layer: [A.shape[1] for A, *_ in terms] for layer, terms in layers.items()}
    for layer, found in ranks.items():
        if combination_type in ON_FACTORS and len(set(found)) > 1:
            raise InputError(
                f"{combination_type!r} needs adapters of one rank, and at {layer} they have "
                f"{', '.join(map(str, found))}: use 'cat', or a type that ends in 'svd'"
            )
    svd_rank = svd_rank or max(max(found) for found in ranks.values())
    options = (combination_type, svd_rank, density, majority_sign_method, rng)
    factors = {layer: combine(terms, *options) for layer, terms in layers.items()}
    where = [(method.target_modules, method.layers_to_transform) for _, method, _ in adapters]
    targets, numbers = where[0] if all(w == where[0] for w in where) else (tuple(layers), None)
    R = max(A.shape[1] for A, _ in factors.values())
    return LoRA(r=R, lora_alpha=R, target_modules=targets, layers_to_transform=numbers), padded(factors, R)


def padded(factors, R):
    """{layer: (A, B)} -> the tensors of a LoRA of rank R in every layer: zeros where there is less."""
    tensors = {}
    for layer, (A, B) in factors.items():
        room = (0, R - A.shape[1])
        tensors[f"{layer}.lora_A"] = np.pad(A, [(0, 0), room])  # (I, R)
        tensors[f"{layer}.lora_B"] = np.pad(B, [room, (0, 0)])  # (R, O)
    return tensors


def check_settings(adapters, weights, combination_type, svd_rank, density, majority_sign_method):
    """Raise InputError for what cannot be added up, or not in this way."""
    check_choice("combination_type", combination_type, COMBINATION_TYPES)
    check_choice("majority_sign_method", majority_sign_method, MAJORITY_SIGN_METHODS)
    if not adapters or len(adapters) != len(weights):
        given = f"{counted(len(adapters), 'adapter')} and {counted(len(weights), 'weight')}"
        raise InputError(f"{given}: each adapter needs one")
    if wrong := [w for w in weights if not fits(w, float)]:
        raise InputError(f"a weight must be a finite number, not {wrong[0]!r}")
    if svd_rank is not None and (not fits(svd_rank, int) or svd_rank < 1):
        raise InputError(f"svd_rank must be a whole number, 1 or more, not {svd_rank!r}")
    if combination_type not in ("cat", "linear", "svd") and not (fits(density, float) and 0 < density <= 1):
        raise InputError(f"{combination_type!r} needs a density above 0 and at most 1, not {density}")
    for name, method, _ in adapters:
        if type(method) not in (LoRA, LoRAPlus):
            raise InputError(f"the adapter {name!r} is {type(method).__name__}: only LoRA can be added up")
        if method.init_lora_weights == "pissa":
            raise InputError(f"the adapter {name!r} is PiSSA, on a base of its own: it cannot be added up")
