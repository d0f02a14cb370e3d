r"""Are the gradients the derivatives? Compared with differences of the loss, in float64.

Along a direction d of one tensor, with the five-point rule, whose error is of order h^4:
$\frac{d\ell}{dt} \approx \frac{8(\ell(h) - \ell(-h)) - (\ell(2h) - \ell(-2h))}{12 h}$
with $\ell(t) = loss(p + t\,d)$
"""

import numpy as np

from .backend import like, to_host
from .errors import InputError
from .settings import seeded

TOLERANCE = 1e-7
STEPS = (1e-2, 1e-3, 2e-4, 1e-5)  # a large step suffers from curvature and kinks, a small one from rounding


def derivative(f, array, direction, h):
    """The derivative of f() while `array` moves along `direction`; the array is put back as it was."""
    kept, values = array.copy(), {}
    for t in (h, -h, 2 * h, -2 * h):
        array[...] = kept + t * direction
        values[t] = float(f())
    array[...] = kept
    return (8 * (values[h] - values[-h]) - (values[2 * h] - values[-2 * h])) / (12 * h)


def check_array(f, array, grad, rng, elements=None):
    """The worst relative error of `grad`, the claimed gradient of f() by `array`: float64, both.

    Along one random direction, and at `elements` single elements chosen at random (None: at every one).
    An element's error is relative to its derivative. A derivative below a thousandth of the tensor's largest
    is mostly rounding of the loss: there the error is relative to this thousandth.
    """
    host = to_host(grad)
    floor = 1e-3 * float(np.abs(host).max(initial=0)) or 1e-12

    def error(direction):
        claimed, best = float((host * direction).sum()), float("inf")
        for h in STEPS:
            numeric = derivative(f, array, like(array, direction), h)
            best = min(best, abs(numeric - claimed) / max(abs(numeric), abs(claimed), floor))
            if best < TOLERANCE / 10:
                break
        return best

    direction = rng.standard_normal(host.shape)
    worst = error(direction / np.linalg.norm(direction))
    chosen = (
        range(host.size)
        if elements is None
        else rng.choice(host.size, min(elements, host.size), replace=False)
    )
    for i in chosen:
        one = np.zeros(host.shape)
        one.flat[i] = 1
        worst = max(worst, error(one))
    return worst


def gradcheck(model, batch, elements=4, scramble=0.1, seed=0, progress=None):
    """{tensor: worst relative error} of `model.loss_and_grads(batch)`, for every trainable tensor.

    scramble: noise put on the trainable tensors first, relative to their size, and taken off at the end.
    At initialisation many gradients are zero (LoRA's A while B = 0) and would pass unseen.
    What a method says that its backward takes for constant (DoRA's norms) is held still, see
    `Method.with_constants_held`.
    progress: wraps the list of names, for a bar. Raises InputError unless the model is float64, and
    for a tensor that should train and got no gradient.
    """
    if model.dtype != np.float64:
        raise InputError(
            f"a gradient check needs float64, and this model is {model.dtype}: load it with dtype='float64'"
        )
    rng = seeded(seed)
    kept = {name: p.copy() for name, p in model.trainable.items()}
    for p in model.trainable.values():
        size = float((p * p).mean()) ** 0.5 or 1.0
        p += like(p, scramble * size * rng.standard_normal(p.shape))
    method = model.method
    try:
        model.method = method.with_constants_held(model.weights, model.tensors)
        _, grads = model.loss_and_grads(batch)
        names = list(model.trainable) if progress is None else progress(list(model.trainable))
        return {
            name: check_array(lambda: model.loss(batch), model.trainable[name], grads[name], rng, elements)
            for name in names
        }
    finally:
        model.method = method
        for name, p in model.trainable.items():
            p[...] = kept[name]
