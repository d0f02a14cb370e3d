"""AdamW, Muon, schedules, clipping, the loop: what it keeps, when it stops, that it can be repeated."""

import json
import math
from copy import deepcopy
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from small import CONFIG, small_batch, small_model, snapshot, texts

from minipeft import GPT2, AdamW, Full, InputError, LoRA, PeftModel, evaluate, gradcheck, optim, train
from minipeft.data.batches import orders
from minipeft.muon import Muon, orthogonal
from minipeft.optim import clip_grads, learning_rate_at
from minipeft.speed import fast
from minipeft.train import Training

PAIRS = [([], ids) for ids in texts((6, 5, 7, 4, 8, 3))]
HELD_OUT = [([], ids) for ids in texts((6, 4), seed=9)]


def lora(dtype="float32"):
    return PeftModel(small_model(dtype), LoRA(r=2, target_modules="all-linear"))


# --------------------------------------------------------------------------------------- the optimizer


def test_adamw_is_its_formula():
    p, g = np.array([[1.0, -2.0]]), np.array([[0.5, 0.1]])
    optimizer = AdamW(learning_rate=0.1, betas=(0.9, 0.99), eps=1e-6, weight_decay=0.2)
    m = v = 0
    expected = p.copy()
    for t in (1, 2, 3):
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
        expected = expected - 0.1 * 0.2 * expected
        expected = expected - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-6)
        optimizer.step({"p": p}, {"p": g})
        assert np.allclose(p, expected, rtol=1e-14)


def test_vectors_do_not_decay_and_what_has_no_gradient_stays():
    params = {"bias": np.ones(3), "matrix": np.ones((2, 2)), "other": np.ones(2)}
    grads = {"bias": np.zeros(3), "matrix": np.zeros((2, 2))}
    AdamW(learning_rate=0.1, weight_decay=0.5).step(params, grads)
    assert (params["bias"] == 1).all() and (params["other"] == 1).all()
    assert np.allclose(params["matrix"], 0.95)


def test_muon_turns_the_blocks_matrices_and_leaves_all_else_to_adamw():
    rng = np.random.default_rng(0)
    shapes = {
        "wte.weight": (9, 4), "h.0.ln_1.weight": (4,), "h.0.attn.c_attn.weight": (4, 12),
        "h.0.attn.c_proj.weight": (4, 4), "h.0.mlp.c_fc.weight": (4, 16), "h.0.mlp.c_proj.weight": (16, 4),
    }  # fmt: skip
    params = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    expected, muon, adamw = deepcopy(params), Muon(0.1, weight_decay=0.2), AdamW(0.1, weight_decay=0.2)
    m = dict.fromkeys(shapes, 0)
    for _ in range(3):
        grads = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
        muon.step(params, grads)
        adamw.step(*({name: each[name] for name in list(shapes)[:2]} for each in (expected, grads)))
        for name in list(shapes)[2:]:
            m[name] = 0.95 * m[name] + 0.05 * grads[name]
            u = 0.95 * m[name] + 0.05 * grads[name]
            expected[name] *= 1 - 0.1 * 0.2
            for part in (slice(0, 4), slice(4, 8), slice(8, 12)) if "c_attn" in name else (slice(None),):
                length = 0.2 * max(u[:, part].shape) ** 0.5
                expected[name][:, part] -= 0.1 * length * orthogonal(u[:, part])
        assert params.keys() == expected.keys() and muon.v.keys() == adamw.v.keys()
        for name, p in params.items():
            assert np.allclose(p, expected[name], rtol=1e-12), name


@pytest.mark.parametrize("shape", [(6, 6), (5, 9), (9, 5)])
def test_what_muon_steps_along_has_the_gradients_directions_all_of_one_length(shape):
    rng = np.random.default_rng(0)
    U, V = (np.linalg.qr(rng.standard_normal((n, n)))[0][:, :5] for n in shape)  # (n, 5)
    for scale in (1e-12, 1.0, 1e12):
        turned = U.T @ orthogonal(scale * (U * [1, 0.5, 0.2, 0.1, 0.05]) @ V.T) @ V  # in a's own directions
        assert np.allclose(turned, np.diag(np.diag(turned)), atol=1e-9)
        assert (np.diag(turned) > 0.6).all() and (np.diag(turned) < 1.25).all()
    assert not orthogonal(np.zeros(shape)).any()


def test_blocks_of_a_large_tensor_are_all_updated(monkeypatch):
    rng = np.random.default_rng(0)
    g = rng.standard_normal((7, 5))
    whole, blocks = np.ones((7, 5)), np.ones((7, 5))
    AdamW().step({"p": whole}, {"p": g})
    monkeypatch.setattr(optim, "BLOCK_BYTES", 64)
    AdamW().step({"p": blocks}, {"p": g})
    assert np.array_equal(whole, blocks) and (whole != 1).all()


def test_threads_change_nothing_of_an_update(monkeypatch):
    rng = np.random.default_rng(0)
    shapes = {"a": (40, 5), "b": (3,), "c": (7, 5)}
    start, sums = ({n: rng.standard_normal(s) for n, s in shapes.items()} for _ in range(2))

    def after(threads):
        monkeypatch.setenv("MINIPEFT_THREADS", threads)
        params, grads = deepcopy((start, sums))
        clip_grads(grads, 0.5, count=3)
        AdamW().step(params, grads)
        return [*params.values(), *grads.values()]

    alone = after("1")
    monkeypatch.setattr(optim, "BLOCK_BYTES", 64)
    monkeypatch.setattr(optim, "THREADED_BYTES", 0)
    for a, b in zip(alone, after("3"), strict=True):
        assert np.allclose(a, b, rtol=1e-15, atol=0)  # the norm is summed in another order


def test_a_norm_of_zero_clips_nothing():
    grads = {"a": np.array([3.0, 4.0]), "b": np.array([12.0])}
    assert clip_grads(grads, 0.0, count=2) == 6.5
    assert np.array_equal(grads["a"], [1.5, 2.0]) and np.array_equal(grads["b"], [6.0])


def test_clipping_scales_all_gradients_to_the_global_norm():
    grads = {"a": np.array([3.0, 0.0]), "b": np.array([[4.0]])}
    assert clip_grads(grads, 10) == 5 and grads["b"][0, 0] == 4
    assert clip_grads(dict(grads), 10, count=2) == 2.5 and grads["b"][0, 0] == 2  # sums over two tokens
    assert clip_grads(grads, 1) == 2.5
    assert np.isclose(math.hypot(grads["a"][0], grads["b"][0, 0]), 1) and np.isclose(grads["a"][0], 0.6)


def test_schedules():
    def rates(schedule, warmup_steps=0):
        settings = Training(learning_rate=2.0, warmup_steps=warmup_steps, schedule=schedule)
        return [learning_rate_at(s, 10, settings) for s in range(10)]

    assert np.allclose(rates("linear"), [2 - 0.2 * s for s in range(10)])
    assert np.allclose(rates("cosine"), [1 + math.cos(math.pi * s / 10) for s in range(10)])
    assert rates("constant") == [2.0] * 10
    warm = rates("linear", warmup_steps=4)
    assert np.allclose(warm[:5], [0.4, 0.8, 1.2, 1.6, 2.0]) and warm[-1] == pytest.approx(2 / 6)
    with pytest.raises(
        InputError, match="schedule 'step' is not known: choose from linear, cosine, constant"
    ):
        rates("step")


# -------------------------------------------------------------------------------------------- the loop


@pytest.mark.parametrize("method", [LoRA(r=2, lora_dropout=0.1), Full()], ids=type)
def test_the_same_settings_give_the_same_bits(method):
    def run(seed):
        peft = PeftModel(small_model("float32"), method, seed=seed)
        history = train(peft, PAIRS, HELD_OUT, steps=6, batch_size=4, dropout=0.1, seed=seed, progress=False)
        evals = [e["eval_loss"] for e in history.evals]
        return snapshot(peft.trainable), [s["loss"] for s in history.steps], evals

    assert run(1) == run(1) != run(2)


def test_accumulated_micro_batches_are_one_large_batch():
    """Where they hold different numbers of labelled tokens, too: the mean is over tokens, not batches."""
    results = []
    for settings in ({"batch_size": 6}, {"batch_size": 2, "accumulation_steps": 3}):
        peft = lora("float64")
        train(peft, PAIRS, steps=3, dropout=0.0, progress=False, **settings)
        results.append(peft.trainable)
    assert all(np.allclose(a, results[1][n], rtol=1e-9, atol=1e-12) for n, a in results[0].items())


def test_the_best_adapter_is_kept_and_training_stops_early(monkeypatch, tmp_path):
    losses, seen = iter([3.0, 2.0, 2.5, 2.6, 1.0]), []
    peft = lora()

    def fake_evaluate(model, data, ranks):
        seen.append(snapshot(model.trainable))
        return {"loss": next(losses)}

    monkeypatch.setattr(import_module("minipeft.train"), "evaluate", fake_evaluate)
    history = train(peft, PAIRS, HELD_OUT, tmp_path, False, steps=10, eval_every=2, patience=2)
    assert [e["eval_loss"] for e in history.evals] == [3.0, 2.0, 2.5, 2.6]  # the fifth is never made
    assert history.best == history.evals[1] and history.best["step"] == 4 and len(history.steps) == 8
    assert 0 < history.best["elapsed"] < history.evals[-1]["elapsed"] < history.seconds
    assert snapshot(peft.trainable) == seen[1]
    saved = PeftModel.from_pretrained(small_model("float32"), tmp_path)
    assert snapshot(saved.trainable) == seen[1]


def test_metrics_and_settings_are_written(tmp_path):
    train(lora(), PAIRS, HELD_OUT, tmp_path, False, steps=4, eval_every=2, learning_rate=0.01)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows] == [1, 2, 2, 3, 4, 4]
    assert {"loss", "grad_norm", "learning_rate", "tokens", "seconds"} < rows[0].keys()
    assert {"eval_loss", "eval_perplexity", "eval_accuracy"} < rows[2].keys()
    assert json.loads((tmp_path / "settings.json").read_text())["learning_rate"] == 0.01


def test_a_loss_that_is_no_number_stops_training_and_keeps_the_last_good_adapter(monkeypatch, tmp_path):
    peft, kept = lora(), []
    sums = PeftModel.loss_and_grad_sums

    def poisoned(self, batch, seed, *options):
        loss, count, grads = sums(self, batch, seed, *options)
        if seed == 4:  # the fifth step
            kept.append(PeftModel.from_pretrained(small_model("float32"), tmp_path))
            loss = loss * np.nan
        return loss, count, grads

    monkeypatch.setattr(PeftModel, "loss_and_grad_sums", poisoned)
    with pytest.raises(
        InputError, match=r"step 5: the loss is nan.*best adapter so far, of step [24], is kept in"
    ):
        train(peft, PAIRS, HELD_OUT, tmp_path, False, steps=8, eval_every=2)
    assert snapshot(peft.trainable) == snapshot(kept[0].trainable)
    assert all(np.isfinite(p).all() for p in peft.trainable.values())


@pytest.mark.filterwarnings("error")
def test_a_rate_far_too_high_ends_in_one_clear_line():
    with pytest.raises(InputError, match="try a lower learning rate"):
        train(PeftModel(small_model("float32"), Full()), PAIRS, steps=50, learning_rate=1e30, progress=False)


def test_only_what_a_step_or_an_evaluation_reports_is_silenced():
    class Warns(PeftModel):
        def loss_and_grad_sums(self, *args):
            np.array([1e300]) * 1e300  # an overflow: the loss and the gradient's norm would say it
            np.array([1.0]) / 0
            return super().loss_and_grad_sums(*args)

        def scores(self, batch):
            np.array([1e300]) * 1e300  # an evaluation is refused where its loss is not finite
            return super().scores(batch)

    with pytest.warns(RuntimeWarning) as said:
        train(Warns(small_model(), LoRA()), PAIRS, HELD_OUT, steps=1, progress=False)
    messages = [str(w.message).split(" encountered")[0] for w in said]
    assert messages == ["divide by zero"]


def test_evaluation_is_the_mean_over_labelled_tokens():
    peft = lora("float64")
    result = evaluate(peft, PAIRS, batch_size=4)
    logprob, hit = [], []
    for _, ids in PAIRS:
        z = peft.logits([ids])[0][:-1]
        logprob += [row[t] - np.log(np.exp(row).sum()) for row, t in zip(z, ids[1:], strict=True)]
        hit += [row.argmax() == t for row, t in zip(z, ids[1:], strict=True)]
    assert result["loss"] == pytest.approx(-np.mean(logprob), rel=1e-12)
    assert result["perplexity"] == pytest.approx(math.exp(-np.mean(logprob)))
    assert result["accuracy"] == np.mean(hit) and result["tokens"] == len(hit)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"batch_size": 0}, "batch_size must be 1 or more"),
        ({"learning_rate": 0}, "learning_rate must be above 0"),
        ({"steps": -1}, "steps must be 0 or more, not -1"),
        ({"epochs": 0}, "epochs must be above 0, not 0"),
        ({"dropout": 1}, "dropout must be 0 or more and below 1"),
        ({"schedule": "step"}, "schedule 'step' is not known"),
    ],
)
def test_bad_settings_are_refused_before_any_work(settings, message):
    peft = lora()
    before = snapshot(peft.trainable)
    with pytest.raises(InputError, match=message):
        train(peft, PAIRS, progress=False, **settings)
    assert snapshot(peft.trainable) == before


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: lora().loss_and_grads(small_batch(), dropout=1.5), "dropout must be 0 or more and below 1"),
        (lambda: evaluate(lora(), PAIRS, batch_size=0), "batch_size must be 1 or more, not 0"),
        (lambda: AdamW(learning_rate=-1), "learning_rate must be 0 or more, not -1"),
        (lambda: AdamW(weight_decay=math.nan), "weight_decay must be 0 or more"),
        (lambda: AdamW(betas=(0.9, 1)), "betas must be 0 or more and below 1, not 1"),
    ],
)
def test_a_number_out_of_range_is_refused_where_a_loop_is_written_by_hand(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    "rows, batch, epochs, steps", [(9, 8, 10, 20), (33, 32, 4, 8), (5, 8, 3, 3), (8, 4, 1.5, 3)]
)
def test_an_epoch_reads_every_row_once(rows, batch, epochs, steps):
    """Its last batch may be short."""
    settings = Training(epochs=epochs, batch_size=batch)
    assert settings.steps_for(rows) == steps
    order = orders(rows, batch, np.random.default_rng(0))
    read = np.concatenate([next(order) for _ in range(steps)])
    assert len(read) == epochs * rows and np.bincount(read).max() == np.ceil(epochs)


def test_a_run_into_the_folder_of_its_base_is_refused_before_it_writes(tmp_path):
    small_model("float32").save_pretrained(tmp_path)
    files = sorted(tmp_path.iterdir())
    peft = PeftModel(GPT2.from_pretrained(tmp_path), LoRA(r=2))
    with pytest.raises(InputError, match="the folder of the base: choose another one"):
        train(peft, PAIRS, output_dir=tmp_path, steps=1, progress=False)
    assert sorted(tmp_path.iterdir()) == files


def test_a_plain_model_is_evaluated_and_has_nothing_to_train():
    assert evaluate(small_model(), PAIRS) == evaluate(PeftModel(small_model()), PAIRS)
    with pytest.raises(InputError, match="put a method on the model"):
        train(small_model(), PAIRS)


def test_a_model_in_which_nothing_trains_is_refused():
    with pytest.raises(InputError, match="nothing trains"):
        train(PeftModel(small_model()), PAIRS, progress=False)


# --------------------------------------------------------------------------------- the gradient check


def wrong_gelu(dy, slope):
    return dy * slope * 1.001


def wrong_bias(dy, cache):
    dx, grads = right_linear_backward(dy, cache)
    return dx, {n: g * (1 + 1e-6) if n == "bias" else g for n, g in grads.items()}


right_linear_backward = fast.linear_backward


@pytest.mark.parametrize("name, wrong", [("gelu_backward", wrong_gelu), ("linear_backward", wrong_bias)])
def test_a_wrong_backward_is_caught(name, wrong, monkeypatch):
    monkeypatch.setattr(fast, name, wrong)
    one_layer = small_model(config=replace(CONFIG, n_layer=1))
    errors = gradcheck(PeftModel(one_layer, Full()), small_batch(), elements=1)
    assert max(errors.values()) > 1e-7


def test_a_gradient_that_is_missing_is_caught(monkeypatch):
    monkeypatch.setattr(fast, "embedding_backward", lambda dy, cache: {})
    with pytest.raises(InputError, match=r"no gradient came back for 'wpe\.weight'"):
        gradcheck(PeftModel(small_model(), Full()), small_batch(), elements=0)


def test_a_gradient_of_which_a_part_is_missing_is_caught(monkeypatch):
    """The head's part of a tied wte alone is not its gradient."""
    right = fast.embedding_backward
    without_wte = lambda dy, cache: {n: 0 * g for n, g in right(dy, cache).items()}
    monkeypatch.setattr(fast, "embedding_backward", without_wte)
    errors = gradcheck(PeftModel(small_model(), Full()), small_batch(), elements=0)
    assert errors["wpe.weight"] > 1e-7 and errors["wte.weight"] > 1e-7


def test_the_gradient_check_leaves_the_weights_alone_and_wants_float64():
    peft = lora("float64")
    before = snapshot(peft.trainable)
    gradcheck(peft, small_batch(), elements=0)
    assert snapshot(peft.trainable) == before
    with pytest.raises(InputError, match="needs float64, and this model is float32"):
        gradcheck(lora("float32"), small_batch())


def test_a_log_has_ten_lines_and_no_bar(capsys):
    train(lora(), PAIRS, steps=40, eval_every=40)
    said = capsys.readouterr().err
    assert said.count("\n") == 10 and "\r" not in said and "step 40 of 40: loss " in said
    train(lora(), PAIRS, steps=4, progress=False)
    assert capsys.readouterr().err == ""
