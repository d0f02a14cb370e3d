"""How the training went: loss, learning rate, gradient norm."""

import numpy as np

from ..pictures import figure, log_scale, save
from .section import Section

TEXT = """
![Loss of training and evaluation, learning rate and gradient norm, by step](curves.svg)

Above, the loss in nats per labelled token: thin, that of each batch; thick, the mean of the last {window}.
Below, the learning rate with its warmup and decay; and the norm of the gradient before it is cut to
`max_grad_norm`, the dotted line: where it lies above, the step was shortened.
"""
BEST = """
Squares are the loss on the evaluation rows; the best, at step {step}, is what the folder holds. Where the
squares rise again while the thick line falls, the run has begun to learn its training rows by heart.
"""


def section(run):
    """Of every run."""
    loss = np.array([row["loss"] for row in run.steps])
    window = max(1, len(loss) // 20)
    means = running_mean(loss, window)
    best = min(run.evals, key=lambda row: row["eval_loss"]) if run.evals else None
    draw(run, means, window, best)
    summary = f"loss {loss[0]:.3f} at the first step, {means[-1]:.3f} at the end"
    if best:
        summary += f"; best evaluation {best['eval_loss']:.3f}, at step {best['step']}"
    text = TEXT.format(window=window) + (BEST.format(**best) if best else "")
    numbers = {"steps": len(loss), "first_loss": float(loss[0]), "last_loss": float(means[-1])}
    numbers |= {"window": window, "best": best}
    return Section("How it went", text, summary, numbers)


def running_mean(x, window):
    """The mean of the last `window` numbers up to each one; of as many as there are at the beginning. (n,)"""
    sums = np.cumsum(np.concatenate([[0], x]))
    begin = np.maximum(0, np.arange(1, len(x) + 1) - window)
    return (sums[1:] - sums[begin]) / (np.arange(1, len(x) + 1) - begin)


def draw(run, means, window, best):
    """curves.png, curves.svg."""
    steps = [row["step"] for row in run.steps]
    with figure(9, 8) as f:
        top, middle, bottom = f.subplots(3, 1, sharex=True, height_ratios=(3, 1, 1))
        raw = [row["loss"] for row in run.steps]
        line = {"linestyle": "-", "marker": "", "color": "#111111"}
        top.plot(steps, raw, **line | {"color": "#999999"}, linewidth=0.8, label="each batch")
        top.plot(steps, means, **line, label=f"training, mean of {window}")
        if best:
            at, losses = [row["step"] for row in run.evals], [row["eval_loss"] for row in run.evals]
            top.plot(at, losses, color="#0055a4", linestyle="--", marker="s", markevery=1, label="evaluation")
            label = f"best: {best['eval_loss']:.3f} at step {best['step']}"
            here = {"marker": "*", "markersize": 20, "linestyle": "", "markevery": 1}
            top.plot(best["step"], best["eval_loss"], color="#c2410c", label=label, **here)
        top.set_ylabel("loss\n(nats per token)")
        top.legend()
        middle.plot(steps, [row["learning_rate"] for row in run.steps], **line)
        middle.set(ylabel="learning\nrate", ylim=(0, None))
        bottom.plot(steps, [row["grad_norm"] for row in run.steps], **line)
        if limit := run.settings.get("max_grad_norm"):
            bottom.axhline(limit, color="#c2410c", linestyle=":")
        log_scale(bottom, "y")
        bottom.set(ylabel="gradient\nnorm", xlabel="step")
        bottom.xaxis.get_major_locator().set_params(integer=True)
        save(f, run.out, "curves")
