"""Distillation: the mixed loss and its derivative, which rows are compared, what a student is made of."""

import math
from dataclasses import replace

import numpy as np
import pytest
from against import (
    assert_same_loss_and_gradients,
    assert_ten_steps_follow,
    base,
    each_number_of_threads,
    stored,
)
from small import CONFIG, scramble, small_batch, small_model, snapshot, texts

from minipeft import (
    GPT2,
    Full,
    GPT2Config,
    InputError,
    LoRA,
    PeftModel,
    evaluate,
    gradcheck,
    pack,
    train,
)
from minipeft.distill import Distilled, distill_loss, distill_loss_backward, rows_in_front, student_of
from minipeft.gradcheck import TOLERANCE, check_array
from minipeft.methods.embed.prompt_tuning import PromptTuning
from minipeft.methods.keys_values.prefix_tuning import PrefixTuning
from minipeft.methods.linear.dora import DoRA
from minipeft.speed import fast

RNG = np.random.default_rng(0)
PAIRS = [([], ids) for ids in texts((6, 5, 7, 4, 8, 3))]
HELD_OUT = [([], ids) for ids in texts((6, 4), seed=9)]


def distilled(method, n_layer=2, teacher_method=(), dtype="float64", **settings):
    """A noisy student of the small model, in training with it."""
    teacher = small_model(dtype)
    student = PeftModel(student_of(teacher, n_layer), method)
    scramble(student.trainable, scale=0.1)
    return Distilled(student, PeftModel(teacher, teacher_method), **settings)


def log_softmax(z):
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def mixed(z_s, z_t, y, tau, weight):
    """The mean loss, from the formula."""
    hard = -log_softmax(z_s)[np.arange(len(y)), y].mean()
    p, q = log_softmax(z_s / tau), log_softmax(z_t / tau)
    return (1 - weight) * hard + weight * tau**2 * (np.exp(q) * (q - p)).sum(1).mean()


# ---------------------------------------------------------------------------------------------- the student


@pytest.mark.parametrize(
    "L, n, taken", [(12, 6, [0, 2, 4, 7, 9, 11]), (12, 1, [0]), (3, 2, [0, 2]), (5, 5, [0, 1, 2, 3, 4])]
)
def test_a_student_has_evenly_spaced_blocks_of_its_teacher(L, n, taken):
    """Of 12 blocks, those from which DistilGPT-2 was made."""
    teacher = small_model("float32", replace(CONFIG, n_layer=L, tie_word_embeddings=False))
    student = student_of(teacher, n)
    assert student.config == replace(teacher.config, n_layer=n)
    assert list(student.weights) == list(student.config.shapes())
    for name, w in student.weights.items():
        if name.startswith("h."):
            _, i, inside = name.split(".", 2)
            name = f"h.{taken[int(i)]}.{inside}"
        assert w is teacher.weights[name]


def test_a_student_with_every_block_is_its_teacher():
    teacher = small_model()
    assert all(map(np.array_equal, student_of(teacher, 3).logits(texts()), teacher.logits(texts())))


def test_a_student_of_gpt2_small_has_the_size_of_distilgpt2():
    config = GPT2Config()
    teacher = GPT2(config, {name: np.broadcast_to(0, shape) for name, shape in config.shapes().items()})
    assert student_of(teacher, 6).num_parameters == 81_912_576


@pytest.mark.parametrize("n", [0, 4])
def test_a_student_with_no_or_more_blocks_than_its_teacher_is_refused(n):
    with pytest.raises(InputError, match=f"a student of this teacher has 1 to 3 layers, not {n}"):
        student_of(small_model(), n)


# ------------------------------------------------------------------------------------------------- the loss


@pytest.mark.parametrize("head_rows", [512, 3], ids=["one chunk", "several chunks"])
@pytest.mark.parametrize("tau, weight", [(1, 0.5), (2.5, 0.7), (0.6, 1), (3, 0)])
def test_distill_loss(head_rows, tau, weight, monkeypatch):
    """Value and derivatives; the student's width is not the teacher's; nothing given is written to."""
    monkeypatch.setattr(fast, "HEAD_ROWS", head_rows)
    mixed_loss, backward = fast.in_chunks(distill_loss, distill_loss_backward)
    y = np.array([1, 4, 4, 0, 10, 3, 2])
    given = [RNG.standard_normal(shape) for shape in ((7, 5), (11, 5), (7, 3), (11, 3))]
    x, W, x_t, W_t = given
    for a in (*given, y):
        a.setflags(write=False)
    shared = {"W": W, "W_t": W_t, "temperature": tau, "weight": weight}
    f = lambda: distill_loss(x, x_t, y, **shared)[0]
    assert np.isclose(f(), 7 * mixed(x @ W.T, x_t @ W_t.T, y, tau, weight), rtol=1e-13)
    loss, cache = mixed_loss(x, x_t, y, wants=frozenset({"x", "weight"}), **shared)
    assert np.isclose(loss, f(), rtol=1e-13)
    dx, grads = backward(1, cache)
    for a, grad in ((x, dx), (W, grads["weight"])):
        a.setflags(write=True)
        assert check_array(f, a, grad, RNG) < TOLERANCE
    assert np.array_equal(backward(3, cache)[0], 3 * dx)
    _, cache = distill_loss(x, x_t, y, wants=frozenset({"x"}), **shared)
    np.testing.assert_allclose(distill_loss_backward(3, cache)[0], 3 * dx, rtol=1e-12)  # not in chunks


def test_scores_far_apart_do_not_overflow():
    x, x_t, W = np.array([[1e4, -1e4]]), np.array([[-1e4, 1e4]]), np.eye(3, 2)
    loss, cache = distill_loss(x, x_t, np.array([1]), W, W, 2.0, 0.5, frozenset({"x"}))
    assert np.isfinite(loss) and np.isfinite(distill_loss_backward(1, cache)[0]).all()


def test_logits_of_all_rows_never_exist(monkeypatch):
    """The largest array made is a chunk of logits."""
    import tracemalloc

    monkeypatch.setattr(fast, "HEAD_ROWS", 16)
    N, C, V = 2048, 4, 2000
    x, W, x_t, W_t = (RNG.standard_normal((n, C)) for n in (N, V, N, V))
    mixed_loss, _ = fast.in_chunks(distill_loss, distill_loss_backward)
    shared = {"W": W, "W_t": W_t, "temperature": 2.0, "weight": 0.5}
    tracemalloc.start()
    mixed_loss(x, x_t, np.zeros(N, int), wants=frozenset({"x", "weight"}), **shared)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.2 * N * V * 8


# ----------------------------------------------------------------------------------------- through the model

METHODS = {
    "full": Full(),
    "lora": LoRA(r=2, target_modules="all-linear"),
    "dora": DoRA(r=2),
    "prompt": PromptTuning(num_virtual_tokens=3),
    "prefix": PrefixTuning(num_virtual_tokens=3),
    "prompt and lora": [PromptTuning(num_virtual_tokens=2), LoRA(r=2, init_lora_weights=False)],
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@pytest.mark.slow
@every_method
def test_gradients_are_the_derivatives_of_the_mixed_loss(method):
    model = distilled(method, temperature=2.5, weight=0.6)
    errors = gradcheck(model, small_batch(), elements=1)
    assert errors.keys() == model.trainable.keys()
    assert max(errors.values()) < TOLERANCE, max(errors, key=errors.get)


@every_method
@pytest.mark.parametrize(
    "teacher_method", [(), METHODS["prompt"], METHODS["prefix"]], ids=["", "prompt", "prefix"]
)
def test_rows_that_predict_the_same_token_are_compared(method, teacher_method):
    """Against the formula on `logits`, which are aligned to the text; sequence 1 begins with a label."""
    tau, weight, model = (
        2.5,
        0.6,
        distilled(method, teacher_method=teacher_method, temperature=2.5, weight=0.6),
    )
    prompts = ([5, 6, 7], [], [9, 3])
    completions = ([1, 2, 4, 8], [11, 12, 13, 14, 15, 16], [20])
    first_too = rows_in_front(model) and rows_in_front(model.teacher)
    if first_too:  # the logits of a prompt's last row are not to be had: no first label then
        prompts = ([5, 6, 7], [10], [9, 3])
    z_s, z_t, y = [], [], []
    ids = [p + c for p, c in zip(prompts, completions, strict=True)]
    for p, one, s, t in zip(prompts, ids, model.logits(ids), model.teacher.logits(ids), strict=True):
        begin = max(1, len(p))
        z_s, z_t, y = [*z_s, *s[begin - 1 : -1]], [*z_t, *t[begin - 1 : -1]], [*y, *one[begin:]]
    batch = pack(list(zip(prompts, completions, strict=True)))
    expected = mixed(np.array(z_s), np.array(z_t), np.array(y), tau, weight)
    assert model.loss(batch) == pytest.approx(expected, rel=1e-12)
    assert float(model.loss_and_grads(batch)[0]) == pytest.approx(expected, rel=1e-12)


def test_first_tokens_count_where_both_or_neither_predicts_them():
    batch = small_batch(shapes=((0, 6), (0, 3)))
    prompt, prefix, lora = METHODS["prompt"], METHODS["prefix"], METHODS["lora"]
    for student, teacher, count in (
        (lora, (), 5 + 2),
        (prefix, (), 5 + 2),
        (prompt, (), 5 + 2),
        (lora, prompt, 5 + 2),
        (prompt, prompt, 6 + 3),
    ):
        assert distilled(student, teacher_method=teacher).loss_and_grad_sums(batch)[1] == count
    first_only = pack([([], [5]), ([], [7])])
    with pytest.raises(InputError, match="no token of the batch has a label"):
        distilled(prompt).loss_and_grads(first_only)


@pytest.mark.parametrize("method", [Full(), LoRA(r=2, lora_dropout=0.1)], ids=type)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weight_0_is_ordinary_training(method, dtype):
    """To rounding: softmax is taken in another order."""
    model, batch = distilled(method, dtype=dtype, weight=0), small_batch()
    student = PeftModel(model.model, method)
    for name, p in student.trainable.items():
        p[...] = model.trainable[name]
    loss, grads = model.loss_and_grads(batch, seed=3, dropout=0.1)
    true_loss, true_grads = student.loss_and_grads(batch, seed=3, dropout=0.1)
    close = 1e-13 if dtype == "float64" else 1e-5
    assert loss == pytest.approx(true_loss, rel=close) and grads.keys() == true_grads.keys()
    for name, g in grads.items():
        assert np.abs(g - true_grads[name]).max() <= close * np.abs(true_grads[name]).max()
    assert model.loss(batch) == pytest.approx(student.loss(batch), rel=1e-6)


@pytest.mark.parametrize("method", [Full(), LoRA(r=2)], ids=type)
def test_weight_1_and_an_identical_teacher_give_no_loss_and_no_gradient(method):
    teacher = small_model()
    model = Distilled(PeftModel(student_of(teacher, 3), method), teacher, weight=1)
    loss, grads = model.loss_and_grads(small_batch())
    assert abs(loss) < 1e-15
    assert all(np.abs(g).max() < 1e-15 for g in grads.values())


def test_shards_add_up_to_the_batch(monkeypatch):
    model, batch, results = distilled(Full()), small_batch(), []
    for n in (1, 3, 9):
        monkeypatch.setenv("MINIPEFT_THREADS", str(n))
        results.append(model.loss_and_grads(batch))
    for loss, grads in results[1:]:
        assert np.isclose(loss, results[0][0], rtol=1e-12)
        assert all(np.allclose(g, results[0][1][n], rtol=1e-9, atol=1e-13) for n, g in grads.items())


def test_dropout_is_the_students_alone():
    """With weight 1, a teacher with dropout would differ from one without."""
    model = distilled(LoRA(r=2), teacher_method=LoRA(r=2, lora_dropout=0.9, init_lora_weights=False))
    batch = small_batch()
    assert model.loss_and_grads(batch, seed=1)[0] == model.loss_and_grads(batch, seed=2)[0]
    assert model.loss_and_grads(batch, 1, dropout=0.2)[0] != model.loss_and_grads(batch, 2, dropout=0.2)[0]


# ------------------------------------------------------------------------------------------------- training


@pytest.mark.slow
@every_method
def test_training_brings_the_student_nearer_to_its_teacher_which_stays_as_it_is(method):
    model = distilled(method, dtype="float32", weight=0.9)
    frozen = [model.model.weights, model.teacher.weights]
    before, loss = [snapshot(f) for f in frozen], model.loss(pack(PAIRS))
    train(model, PAIRS, steps=20, learning_rate=0.02, progress=False)
    assert model.loss(pack(PAIRS)) < loss
    assert [snapshot(f) for f in frozen] == before


def test_what_trains_is_the_student():
    teacher = small_model("float32")
    student = PeftModel(student_of(teacher, 1), LoRA(r=2))
    before = snapshot(student.trainable)
    model = Distilled(student, teacher)
    train(model, PAIRS, steps=2, progress=False)
    assert before != snapshot(student.trainable) == snapshot(model.trainable)
    assert evaluate(model, HELD_OUT) == evaluate(student, HELD_OUT)  # the labels alone
    options = {"max_new_tokens": 5}
    assert model.generate_ids(texts(), **options) == student.generate_ids(texts(), **options)


@pytest.mark.parametrize("method", [Full(), LoRA(r=2)], ids=type)
def test_the_best_student_is_kept_and_comes_back_from_its_file(method, tmp_path):
    model = distilled(method, dtype="float32")
    history = train(
        model, PAIRS, HELD_OUT, tmp_path, progress=False, steps=6, eval_every=2, learning_rate=0.01
    )
    assert history.best == min(history.evals, key=lambda e: e["eval_loss"])
    assert evaluate(model, HELD_OUT)["loss"] == pytest.approx(history.best["eval_loss"])
    again = PeftModel.from_pretrained(model.model, tmp_path)
    assert snapshot(again.trainable) == snapshot(model.trainable)
    if isinstance(method, Full):  # a whole GPT-2, of the student's shape
        assert GPT2.from_pretrained(tmp_path).config == model.config


def test_on_the_device_everything_is_as_on_the_host(cupy):
    host = distilled(
        LoRA(r=2, target_modules="all-linear"), teacher_method=LoRA(r=2, init_lora_weights=False)
    )
    move = lambda model: GPT2(model.config, {n: cupy.asarray(w) for n, w in model.weights.items()})
    student = PeftModel(move(host.model), host.method)
    device = Distilled(student, PeftModel(move(host.teacher.model), host.teacher.method))
    for name, p in device.trainable.items():
        p[...] = cupy.asarray(host.trainable[name])
    (loss, grads), (true, true_grads) = (m.loss_and_grads(small_batch()) for m in (device, host))
    assert float(loss) == pytest.approx(float(true), rel=1e-10)
    assert device.loss(small_batch()) == pytest.approx(float(true), rel=1e-10)
    assert all(np.allclose(g.get(), true_grads[name], rtol=1e-9, atol=1e-12) for name, g in grads.items())


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"temperature": 0}, "temperature must be above 0, not 0"),
        ({"temperature": -1.0}, "temperature must be above 0, not -1.0"),
        ({"temperature": math.nan}, "temperature must be above 0, not nan"),
        ({"temperature": math.inf}, "temperature must be above 0, not inf"),
        ({"weight": -0.1}, "weight must be from 0 to 1, not -0.1"),
        ({"weight": 1.5}, "weight must be from 0 to 1, not 1.5"),
        ({"weight": math.nan}, "weight must be from 0 to 1, not nan"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        distilled(LoRA(r=2), **settings)


def test_a_teacher_of_another_vocabulary_is_refused():
    other = small_model(config=replace(CONFIG, vocab_size=60))
    with pytest.raises(InputError, match="the student has a vocabulary of 61 tokens, its teacher one of 60"):
        Distilled(PeftModel(small_model(), LoRA(r=2)), other)


class Words:
    """As much of a tokenizer as is looked at."""

    def __init__(self, *words):
        self.words = words

    def get_vocab(self):
        return {word: i for i, word in enumerate(self.words)}


def test_a_teacher_whose_tokens_are_other_words_is_refused():
    teacher, model = small_model(), small_model()
    teacher.tokenizer, model.tokenizer = Words("a", "b"), Words("a", "b")
    Distilled(PeftModel(model, LoRA(r=2)), teacher)
    teacher.tokenizer = Words("b", "a")
    with pytest.raises(InputError, match="different tokenizers"):
        Distilled(PeftModel(model, LoRA(r=2)), teacher)


@pytest.mark.parametrize(
    "teacher_method, n_positions", [(METHODS["prompt"], 24), ((), 21)], ids=["its prompt", "its positions"]
)
def test_a_text_that_the_teacher_has_no_room_for_is_refused_before_any_work(teacher_method, n_positions):
    student = PeftModel(small_model(), LoRA(r=2))
    teacher = PeftModel(small_model(config=replace(CONFIG, n_positions=n_positions)), teacher_method)
    model = Distilled(student, teacher)
    before = snapshot(student.trainable)
    assert np.isfinite(model.loss(pack([([], range(21))])))
    long = [([], list(range(22)))]
    with pytest.raises(InputError, match="3 virtual"):
        train(model, [*PAIRS, *long], steps=3, progress=False)
    with pytest.raises(InputError, match="3 virtual"):
        model.loss_and_grads(pack(long))
    assert snapshot(student.trainable) == before


# ------------------------------------------------------------------------------------------ against PyTorch


def reference(name):
    """The student that the stored numbers are of, and these."""
    true, teacher = stored(f"distill-{name}"), base()
    method = {
        "full": Full(),
        "lora": LoRA(r=4, lora_alpha=6, target_modules=("attn.c_attn",)),
        "prompt": PromptTuning(num_virtual_tokens=3),
    }[name]
    student = PeftModel(student_of(teacher, 1), method)
    for own, tensor in student.tensors.items():
        key, as_there = in_peft(own, tensor)  # a view, through which `tensor` is written
        as_there[...] = true[f"init {key}"]
    return Distilled(student, teacher, float(true["temperature"]), float(true["weight"])), true


def in_peft(name, tensor):
    if name == "prompt_embeddings":
        return "prompt_encoder.embedding.weight", tensor
    return (f"base_model.model.transformer.{name}.weight", tensor.T) if ".lora_" in name else (name, tensor)


each_reference = pytest.mark.parametrize("name", ["full", "lora", "prompt"])


@each_reference
@each_number_of_threads
def test_loss_and_every_gradient_are_those_of_pytorch(name, threads, monkeypatch):
    monkeypatch.setenv("MINIPEFT_THREADS", str(threads))
    model, true = reference(name)
    assert_same_loss_and_gradients(model, true, in_peft)


@each_reference
def test_ten_training_steps_follow_pytorchs_curve(name):
    model, true = reference(name)
    assert_ten_steps_follow(true["curve"], model)
