"""Training: loss, gradients, clipping, AdamW, schedule; evaluation; the best adapter kept."""

import math
import sys
import time
import warnings
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from .backend import to_host, xp_of
from .data.batches import ON_LONG, batches, load_pairs, orders
from .errors import InputError, SettingError, check_choice, counted
from .files.hub import refuse_base
from .files.json_files import as_json, atomic, clear_errors, write_json
from .files.run_folder import run_folder
from .optim import AdamW, clip_grads, learning_rate_at, schedule_called
from .peft_model import PeftModel, check_labelled
from .resuming.state import SavedRun, read_every, same_run
from .resuming.stopping import StopAsked, stop_asked
from .settings import check_fields, check_range
from .speed.flat import joined
from .speed.gradients import Gradients
from .speed.ranks import ALONE, world

RANGES = {
    "steps": {"least": 0}, "batch_size": {"least": 1}, "accumulation_steps": {"least": 1},
    "learning_rate": {"above": 0}, "warmup_steps": {"least": 0}, "weight_decay": {"least": 0},
    "max_grad_norm": {"least": 0}, "dropout": {"least": 0, "below": 1}, "eval_every": {"least": 0},
    "patience": {"least": 0}, "seed": {"least": 0}, "skip_bad_steps": {"least": 0},
}  # fmt: skip


@dataclass
class Training:
    """How to train. The same settings, from the same adapter, give the same numbers, bit for bit.

    That holds for a number of threads and of ranks: with another, sums round otherwise and dropout draws
    other masks. On a GPU masks depend on its kind, too; whether its libraries hold to it is not tried.

    steps               optimizer steps; 0: as many as the epochs take
    epochs              passes over the data, where no steps are given
    batch_size          sequences in a batch
    accumulation_steps  batches in an optimizer step
    learning_rate       the rate at its peak, after the warm-up
    warmup_steps        steps in which the rate rises to its peak, in a line
    schedule            how the rate falls from its peak: linear, cosine, constant (see optim.py)
    weight_decay        AdamW's, on matrices alone
    max_grad_norm       gradients are scaled down to this global norm
    dropout             GPT-2's own, on embeddings, attention weights and sublayer outputs; GPT-2 was
                        pre-trained with 0.1
    checkpointing       keep each block's input alone, and run the block again before its backward: less
                        memory, more time, the same numbers
    eval_every          steps between evaluations; 0: a tenth of all, so ten evaluations in all, or a few more
    patience            evaluations without a better one before stopping early; 0: never
    on_long             rows longer than the model: refuse, cut, drop or split (see data/batches.py)
    seed                of the order of the data, and dropout (the adapter's first values have PeftModel's)
    save_every          steps, or a time such as 5m, between two saves of the run's state, from which
                        it can go on; without it, the state is saved only where the run is stopped
    skip_bad_steps      how many steps whose loss or gradient is not finite may be skipped, in all
    """

    steps: int = 0
    epochs: float = 1.0
    batch_size: int = 8
    accumulation_steps: int = 1
    learning_rate: float = 1e-3
    warmup_steps: int = 0
    schedule: str = "linear"
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    dropout: float = 0.0
    checkpointing: bool = False
    eval_every: int = 0
    patience: int = 0
    on_long: str = "refuse"
    seed: int = 0
    save_every: int | str = ""
    skip_bad_steps: int = 0

    def __post_init__(self):
        check_fields(self)
        for name, limits in RANGES.items():
            check_range(name, getattr(self, name), **limits)
        schedule_called(self.schedule)
        check_choice("on_long", self.on_long, ON_LONG)
        read_every(self.save_every)
        if self.steps == 0:
            check_range("epochs", self.epochs, above=0)

    def check_evaluations(self, rows):
        """Raise SettingError where there are no rows to evaluate on, and something waits for evaluations."""
        if self.patience and not rows:
            raise SettingError("patience", "{} counts evaluations, and there are no rows to evaluate on")

    def steps_for(self, rows):
        """The optimizer steps of a training on so many rows; the last batch of an epoch may be short."""
        batches = self.epochs * math.ceil(rows / self.batch_size)
        return self.steps or math.ceil(batches / self.accumulation_steps)


@dataclass
class History:
    """What happened: one dict per step in `steps`, one per evaluation in `evals`, and which was the best.

    A step's "seconds" are its own; an evaluation's "elapsed" counts from the beginning, evaluations included.
    """

    steps: list = field(default_factory=list)
    evals: list = field(default_factory=list)
    best: dict | None = None
    seconds: float = 0.0
    too_long: int = 0  # rows that did not fit the model
    skipped: list = field(default_factory=list)  # the steps that `skip_bad_steps` left out, and why

    def __repr__(self):
        losses = [s["loss"] for s in self.steps]
        text = counted(len(losses), "step")
        text += f", loss {losses[0]:.3f} to {losses[-1]:.3f}" if losses else ""
        if self.best and "eval_loss" in self.best:
            text += f", best evaluation loss {self.best['eval_loss']:.3f} at step {self.best['step']}"
        return f"History({text}, {self.seconds:.1f} s)"

    @property
    def tokens_per_second(self):
        """Tokens trained on, per second of the training steps alone."""
        return sum(s["tokens"] for s in self.steps) / max(1e-9, sum(s["seconds"] for s in self.steps))


def train(model, data, eval_data=None, output_dir=None, progress=True, resume=False, **settings):
    """Train `model.trainable` in place. -> History.

    data, eval_data: a file (see data/rows.py), rows, or pairs of token ids. settings: fields of `Training`.
    With eval_data the best adapter by evaluation loss is what the model holds at the end; with output_dir
    it is also written there whenever a better one is found, next to settings.json and metrics.jsonl.
    resume: go on from the state that output_dir holds of this very run (see `resuming`), to the same bits as
    if it had never stopped; where it holds none, begin.

    Under `mpirun -n 4` each of the ranks takes a share of every batch and of the evaluation (speed/ranks.py):
    a step is that of one process on the whole batch, to rounding. The first rank alone writes.

    SIGINT and SIGTERM let the step end and the state be saved; then it raises KeyboardInterrupt, or
    `resuming.stopping.Terminated`.
    Raises InputError for bad data or settings, and a folder that another run writes to, before any work;
    where the loss is not a finite number: the model then holds the best adapter so far, if one was evaluated;
    and where nothing can be written any more: what was written last is whole.
    """
    s = Training(**settings)
    if not hasattr(model, "trainable"):
        raise InputError("nothing trains: put a method on the model, PeftModel(model, minipeft.LoRA())")
    if output_dir:
        refuse_base(output_dir, model.model.name)
    pairs, too_long = load_pairs(data, model, s.on_long)
    held_out = load_pairs(eval_data, model, s.on_long)[0] if eval_data is not None else None
    s.check_evaluations(held_out)
    steps = s.steps_for(len(pairs))
    if not model.trainable:
        raise InputError(
            "nothing trains: give the model a method, or load the adapter with is_trainable=True"
        )

    ranks = world()
    folder = output_dir if ranks.first else None  # what the first rank alone writes
    history, keeper = History(too_long=too_long), Keeper(model, folder)
    lr_scale = lambda name: model.method.lr_scale(name, model.config)
    optimizer = AdamW(s.learning_rate, weight_decay=s.weight_decay, lr_scale=lr_scale)
    same = partial(same_run, model, s, pairs, held_out)
    saved = SavedRun(model, optimizer, keeper, history, output_dir, s.save_every, same, ranks)
    with run_folder(folder) as held, stop_asked(ranks.size > 1) as stop:
        done = saved.begin(resume)
        stream = batches(pairs, s.batch_size, np.random.default_rng(s.seed), done * s.accumulation_steps)
        eval_every = s.eval_every or max(1, steps // 10)
        begin = time.perf_counter() - history.seconds
        if not done:
            forget_earlier_run(folder)
        shown = progress and ranks.first
        with metrics_log(folder, s, history) as log, progress_bar(steps, shown, done) as bar:
            for step in range(done, done if saved.finished else steps):
                optimizer.learning_rate = learning_rate_at(step, steps, s)
                micro_batches = islice(stream, s.accumulation_steps)
                row = optimizer_step(model, optimizer, micro_batches, s, step, ranks, stop)
                if math.isfinite(row["loss"] + row["grad_norm"]):
                    history.steps.append(row)
                    log(row)
                else:
                    skip(row, len(pairs), s, history, keeper)
                bar(row)
                done = step + 1
                held.check()
                if done % eval_every == 0 or done == steps:
                    result = {"step": done}
                    if held_out:
                        result |= evaluation(model, held_out, begin, keeper, done, ranks)
                        history.evals.append(result)
                        log(result)
                    if keeper.offer(result):
                        history.best = result
                    if s.patience and keeper.since_best >= s.patience:
                        break
                history.seconds = time.perf_counter() - begin
                if stop.asked or saved.due(done):
                    saved.save(done)
                if stop.asked:
                    ranks.wait()  # the first has saved
                    raise stop.asked(stopped_after(done, steps, output_dir))
        held.check()
        if history.skipped and not history.steps:
            raise InputError(f"all {counted(len(history.skipped), 'step')} were skipped: nothing is learnt")
        keeper.restore()
        history.seconds = time.perf_counter() - begin
        saved.finish(done)
        ranks.wait()
        if stop.heard:
            raise stop.heard("the training is done")
    return history


def forget_earlier_run(folder):
    """Remove what an earlier run said of itself in this folder: it is not this one's."""
    for name in ("result.json", "metrics.jsonl", "settings.json") if folder else ():
        (Path(folder) / name).unlink(missing_ok=True)


def evaluation(model, held_out, begin, keeper, step, ranks):
    """`evaluate`'s numbers as a History has them, and the seconds since `begin`.

    Raises InputError where it does; the model then holds the best adapter so far.
    """
    try:
        numbers = evaluate(model, held_out, ranks=ranks)
    except InputError as error:
        raise InputError(f"evaluation after step {step}: {error}; {keeper.restore()}") from None
    return {f"eval_{name}": n for name, n in numbers.items()} | {"elapsed": time.perf_counter() - begin}


def stopped_after(done, steps, folder):
    """Where a run was stopped, and what to do about it."""
    if folder is None:
        return f"stopped after step {done} of {steps}, and nothing is saved: there was no output_dir"
    return f"stopped after step {done} of {steps}, the state is in {folder}: resume=True (--resume) goes on"


def skip(row, n, s, history, keeper):
    """A step whose loss or gradient is no finite number: note it, and go on if it may be left out.

    Raises InputError where it may not, with the rows of its batches; the model holds the best adapter.
    """
    step, rng = row["step"], np.random.default_rng(s.seed)
    numbers = orders(n, s.batch_size, rng, (step - 1) * s.accumulation_steps)
    rows = sorted(int(i) + 1 for order in islice(numbers, s.accumulation_steps) for i in order)
    of = "rows" if history.too_long == 0 or s.on_long == "cut" else "rows, the too long ones not counted,"
    named = ", ".join(map(str, rows[:16])) + (f" and {len(rows) - 16} more" if len(rows) > 16 else "")
    what = f"the loss is {row['loss']} and the gradient's norm {row['grad_norm']} ({of} {named})"
    if len(history.skipped) >= s.skip_bad_steps:
        raise InputError(
            f"step {step}: {what}; {keeper.restore()}: look at these rows, or try a lower learning rate"
            + (f"; skipped before: {counted(len(history.skipped), 'step')}" if history.skipped else "")
        )
    history.skipped.append({"step": step, "rows": rows, "why": what})


def optimizer_step(model, optimizer, micro_batches, s, step, ranks=ALONE, stop=None):
    """Gradients summed over micro-batches and ranks, averaged over their labelled tokens, clipped, applied.

    Where the loss or a gradient is not finite, nothing is applied. Each rank runs its share of each batch.
    stop: the `StopAsked` of this rank; whether any rank has heard a signal travels with the sums. On a GPU
    loss and norm are fetched, in one transfer, when the update is under way: nothing waits between the
    backward and the update, but for several ranks, which fetch their sums there.
    """
    begin, loss, count, tokens, gradients = time.perf_counter(), 0.0, 0, 0, Gradients()
    stop, first_shard = stop or StopAsked(several=False), ranks.shards_before(model.num_shards)
    with no_warnings():
        for i, batch in enumerate(micro_batches):
            tokens += len(batch.ids)
            if (share := batch.share(ranks.rank, ranks.size)) is None:
                continue
            seed = (s.seed * 1_000_003 + step) * s.accumulation_steps + i
            sums = model.loss_and_grad_sums(share, seed, s.dropout, s.checkpointing, first_shard)
            loss, count = loss + sums[0], count + sums[1]
            gradients.add(sums[2])
        numbers = [loss, count, stop.heard is not None]
        grads, (loss, count, signals) = ranks.add_up(gradients.totals(), numbers, model.trainable)
        stop.agree(signals)
        check_labelled(count)
        grads = joined(grads)
        norm, xp = clip_grads(grads, s.max_grad_norm, count), xp_of(next(iter(grads.values())))
        both = xp.stack([xp.asarray(loss / count), xp.asarray(norm)])  # (2,)
        optimizer.step(model.trainable, grads, apply=xp.isfinite(both.sum()))
        loss, norm = to_host(both).tolist()
    if not math.isfinite(loss + norm):
        optimizer.take_back()
    seconds = time.perf_counter() - begin
    rate = optimizer.learning_rate
    result = {"step": step + 1, "loss": loss, "grad_norm": norm, "learning_rate": rate}
    return result | {"tokens": tokens, "seconds": seconds}


@contextmanager
def no_warnings():
    """Inside, NumPy does not warn of numbers that overflow: the loss, which is looked at, says it, too."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(overflow|invalid value) encountered", RuntimeWarning)
        yield


def evaluate(model, data, batch_size=16, on_long="refuse", ranks=None):
    """Mean loss per labelled token, perplexity, the share of tokens predicted right, their number.

    ranks: all of them call this, the batches are dealt out, and each gets the numbers of all; None: there are
    no others. Raises InputError where there is no such token, and where the loss is no finite number.
    """
    check_range("batch_size", batch_size, least=1)
    if not hasattr(model, "scores"):  # the base, as it is
        model = PeftModel(model)
    pairs, ranks = load_pairs(data, model, on_long)[0], ranks or ALONE
    with no_warnings():
        own = islice(batches(pairs, batch_size), ranks.rank, None, ranks.size)
        scores = [model.scores(batch) for batch in own]
    scores = [pair for each in ranks.gather(scores) for pair in each]
    logprob = np.concatenate([s[0] for s in scores])
    if not len(logprob):
        raise InputError("no token of the data has a label: nothing to evaluate")
    loss = -float(logprob.mean(dtype="float64"))
    if not math.isfinite(loss):
        bad = np.count_nonzero(~np.isfinite(logprob))
        raise InputError(f"the loss is {loss}: of {counted(len(logprob), 'token')} it is so on {bad:,}")
    accuracy = float(np.concatenate([s[1] for s in scores]).mean())
    perplexity = math.exp(min(loss, 700))
    return {"loss": loss, "perplexity": perplexity, "accuracy": accuracy, "tokens": len(logprob)}


class Keeper:
    """Keeps the best adapter so far, in memory and in a folder; without evaluations, the latest."""

    def __init__(self, model, folder):
        self.model, self.folder, self.since_best = model, folder, 0
        self.best, self.values = {}, None

    def offer(self, result):
        """Keep the model as it is now, if `result` is the best yet. -> was it?"""
        self.since_best += 1
        if "eval_loss" in result and not result["eval_loss"] < self.best.get("eval_loss", math.inf):
            return False
        self.best, self.since_best = result, 0
        self.values = {name: p.copy() for name, p in self.model.trainable.items()}
        if self.folder:
            self.model.save_pretrained(self.folder)
        return True

    def restore(self):
        """Put the best back into the model. -> which it was, in words."""
        if self.values is None:
            return "nothing was evaluated before, so no adapter is kept"
        for name, p in self.model.trainable.items():
            p[...] = self.values[name]
        where = f" in {self.folder}" if self.folder else ""
        return f"the best adapter so far, of step {self.best['step']}, is kept{where}"


@contextmanager
def metrics_log(folder, settings, history):
    """Gives a function that appends a dict to folder/metrics.jsonl, which begins with what is in the history.

    Without a folder it does nothing.
    """
    if folder is None:
        yield lambda row: None
        return
    path = Path(folder) / "metrics.jsonl"
    rows = sorted(history.steps + history.evals, key=lambda row: (row["step"], "loss" not in row))
    write_json(Path(folder) / "settings.json", asdict(settings))
    with atomic(path) as temporary:
        Path(temporary).write_text("".join(as_json(row) + "\n" for row in rows), encoding="utf-8")
    with open(path, "a", encoding="utf-8") as file:

        def log(row):
            with clear_errors(path):
                print(as_json(row), file=file, flush=True)

        yield log


@contextmanager
def progress_bar(steps, show, done=0):
    """Gives a function that moves a tqdm bar on by one step's row: loss, tokens per second, time left.

    Where the output is no terminal, a bar would be thousands of lines: then a line every tenth of the steps.
    """
    from tqdm import tqdm

    with tqdm(total=steps, desc="train", unit="step", disable=None if show else True, initial=done) as bar:

        def move(row):
            rate = row["tokens"] / row["seconds"]
            said = f"loss {row['loss']:.3f}, {rate:,.0f} tokens/s"
            bar.set_postfix_str(said, refresh=False)
            bar.update()
            if show and bar.disable and row["step"] % max(1, steps // 10) == 0:
                print(f"step {row['step']} of {steps}: {said}", file=sys.stderr, flush=True)

        yield move
