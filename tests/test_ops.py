"""Every op, plain, fast and for a GPU: its backward is its forward's derivative; it writes into no input.

And the other two give what the plain ones give, to 1e-12, forward and backward, on odd shapes. All in
float64; those for a GPU are given NumPy's arrays.
"""

import inspect
from dataclasses import replace

import numpy as np
import pytest
from small import small_model

from minipeft import GPT2, InputError, LoRA, PeftModel
from minipeft import ops as plain
from minipeft.gradcheck import check_array
from minipeft.layout import Layout
from minipeft.speed import fast, gpu, mixed_precision

RNG = np.random.default_rng(0)
ALL = frozenset({"x", "weight", "bias"})
TOLERANCE = 1e-7


@pytest.fixture(params=[plain, fast, gpu], ids=["plain", "fast", "gpu"])
def ops(request):
    """The modules of operations, one after the other."""
    return request.param


def array(*shape):
    return RNG.standard_normal(shape)


def check_op(forward, backward, inputs):
    """forward(**inputs) -> (y, cache); backward(dy, cache) -> {input name: gradient}; all inputs checked."""
    for a in inputs.values():
        a.setflags(write=False)
    y, cache = forward(**inputs)
    dy = array(*y.shape)
    dy.setflags(write=False)
    grads = backward(dy, cache)
    again = backward(dy, cache)  # a backward changes neither its cache nor dy
    for a in inputs.values():
        a.setflags(write=True)
    assert grads.keys() == inputs.keys()
    for name, grad in grads.items():
        assert np.array_equal(grad, again[name])
        error = check_array(lambda: (forward(**inputs)[0] * dy).sum(), inputs[name], grad, RNG)
        assert error < TOLERANCE, f"{name}: {error:.1e}"


def with_x(result):
    """(dx, grads of weight and bias) -> one dict."""
    dx, grads = result
    return {"x": dx, **grads}


def test_linear(ops):
    inputs = {"x": array(7, 5), "weight": array(5, 3), "bias": array(3)}
    check_op(
        lambda x, weight, bias: ops.linear(x, weight, bias, ALL),
        lambda dy, cache: with_x(ops.linear_backward(dy, cache)),
        inputs,
    )


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_a_few_rows_times_a_large_matrix_go_block_by_block(rows, monkeypatch):
    x, W, b = array(rows, 30), array(30, 20), array(20)
    monkeypatch.setattr(fast, "FEW_BYTES", 7 * W[:1].nbytes)  # five blocks, the last one smaller
    assert fast.few_rows(x, W) == (1 < rows <= 3)
    assert np.allclose(fast.linear(x, W, b)[0], plain.linear(x, W, b)[0], rtol=0, atol=1e-13)
    assert np.allclose(fast.lm_logits(x, W.T.copy()), plain.lm_logits(x, W.T), rtol=0, atol=1e-13)
    assert not fast.few_rows(x, W[:7])  # one block: BLAS does it at once


def test_layer_norm(ops):
    inputs = {"x": array(4, 9) * 3 + 1, "weight": array(9), "bias": array(9)}
    check_op(
        lambda x, weight, bias: ops.layer_norm(x, weight, bias, 1e-5, ALL),
        lambda dy, cache: with_x(ops.layer_norm_backward(dy, cache)),
        inputs,
    )


def test_gelu(ops):
    check_op(
        lambda x: ops.gelu(x, ALL),
        lambda dy, cache: {"x": ops.gelu_backward(dy, cache)},
        {"x": array(6, 8) * 2},
    )


def test_gelu_is_the_tanh_form(ops):
    x = np.linspace(-5, 5, 101)[:, None]
    expected = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    assert np.allclose(ops.gelu(x)[0], expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("extra", [0, 3], ids=["keys are the queries'", "three more keys in front"])
@pytest.mark.parametrize("p_drop", [0.0, 0.3])
def test_attention(ops, extra, p_drop):
    lengths, H = (4, 1, 6), 2
    queries, keys = Layout.of(lengths), Layout.of([n + extra for n in lengths])
    inputs = {"q": array(11, 8), "k": array(11 + 3 * extra, 8), "v": array(11 + 3 * extra, 8)}

    def forward(q, k, v):
        rng = np.random.default_rng(7)  # the same mask every time
        return ops.attention(q, k, v, queries.spans, keys.spans, H, p_drop, rng, ALL)

    check_op(
        forward, lambda do, cache: dict(zip("qkv", ops.attention_backward(do, cache), strict=True)), inputs
    )


def test_attention_is_softmax_of_scores_within_each_sequence(ops):
    q, k, v, H, extra = array(5, 6), array(9, 6), array(9, 6), 3, 2
    o, _ = ops.attention(q, k, v, ((0, 2), (2, 5)), ((0, 4), (4, 9)), H)
    for a, b, c in ((0, 2, 0), (2, 5, 4)):
        for h in range(H):
            cols = slice(2 * h, 2 * h + 2)
            for i in range(b - a):
                seen = slice(c, c + extra + i + 1)
                weights = np.exp(k[seen, cols] @ q[a + i, cols] / np.sqrt(2))
                expected = weights @ v[seen, cols] / weights.sum()
                assert np.allclose(o[a + i, cols], expected, rtol=1e-12)


def test_dropout(ops):
    def forward(x):
        return ops.dropout(x, 0.4, np.random.default_rng(1))

    check_op(forward, lambda dy, mask: {"x": ops.dropout_backward(dy, mask)}, {"x": array(6, 5)})


def test_dropout_keeps_the_mean_and_is_off_without_a_generator(ops):
    x = np.ones((400, 500))
    y, _ = ops.dropout(x, 0.25, np.random.default_rng(0))
    assert abs(y.mean() - 1) < 0.01 and set(np.unique(y)) == {0, 1 / 0.75}
    assert ops.dropout(x, 0.25, None)[0] is x


def test_embedding_adds_up_a_token_that_occurs_twice(ops):
    ids = np.array([2, 0, 2, 4])
    check_op(
        lambda weight: ops.embedding(ids, weight, ALL),
        lambda dy, c: ops.embedding_backward(dy, c),
        {"weight": array(5, 3)},
    )


@pytest.mark.parametrize("head_rows", [512, 3], ids=["one chunk", "several chunks"])
def test_lm_loss(ops, head_rows, monkeypatch):
    monkeypatch.setattr(fast, "HEAD_ROWS", head_rows)
    labels = np.array([1, 4, 4, 0, 10, 3, 2])
    check_op(
        lambda x, weight: ops.lm_loss(x, weight, labels, ALL),
        lambda dloss, cache: with_x(ops.lm_loss_backward(dloss, cache)),
        {"x": array(7, 5), "weight": array(11, 5)},
    )


def test_lm_loss_is_the_sum_of_the_labels_negative_log_probabilities(ops):
    x, W, labels = array(6, 5) * 4, array(11, 5) * 4, np.array([1, 4, 4, 0, 10, 3])
    z = x @ W.T
    expected = np.log(np.exp(z).sum(1)) - z[np.arange(6), labels]
    logprob, best = ops.lm_scores(x, W, labels)
    assert np.isclose(ops.lm_loss(x, W, labels)[0], expected.sum(), rtol=1e-13)
    assert np.allclose(-logprob, expected, rtol=1e-12) and np.array_equal(best, z.argmax(1))


def test_prepend(ops):
    layout = Layout.of((3, 1, 2))
    check_op(
        lambda rows, x: (ops.prepend(rows, x, layout)[0], None),
        lambda dy, _: dict(zip(("x", "rows"), ops.prepend_backward(dy, 2, layout), strict=True)),
        {"rows": array(2, 4), "x": array(6, 4)},
    )


def test_prepend_puts_the_rows_in_front_of_every_sequence(ops):
    rows, x = array(2, 4), array(6, 4)
    y, layout = ops.prepend(rows, x, Layout.of((4, 2)))
    assert np.array_equal(y, np.concatenate([rows, x[:4], rows, x[4:]]))
    assert layout.lengths == (6, 4) and layout.virtual == (2, 2)
    assert np.array_equal(layout.text_rows, [2, 3, 4, 5, 8, 9])
    assert np.array_equal(layout.positions, [0, 1, 2, 3, 4, 5, 0, 1, 2, 3])
    cached = replace(Layout.of((4, 2)), fresh=False)  # the rows are in the KV cache
    assert ops.prepend(rows, x, cached) == (x, cached)


# ------------------------------------------------------------------------- every other one, its plain twin

faster = pytest.mark.parametrize("other", [fast, gpu], ids=["fast", "gpu"])


def twins(name, *args, d, other):
    """forward and backward of both modules: the numbers that each gives, one after another."""
    for module in (plain, other):
        y, cache = getattr(module, name)(*args)
        grads = getattr(module, f"{name}_backward")(d if np.ndim(d) == 0 else d.copy(), cache)
        yield [y, *flat(grads)]


def flat(value):
    """All arrays of tuples and dicts, in order; None is left out."""
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]
    if isinstance(value, list | tuple):
        return [a for each in value for a in flat(each)]
    return [] if value is None else [value]


ODD = [(1, 1), (1, 7), (2, 3), (13, 1), (37, 5)]
WANTS = [frozenset(), frozenset({"x"}), frozenset({"weight"}), ALL]


@pytest.mark.parametrize("wants", WANTS, ids=lambda w: "+".join(sorted(w)) or "nothing")
@pytest.mark.parametrize("shape", ODD, ids=str)
@pytest.mark.parametrize("name", ["linear", "layer_norm", "gelu", "attention", "lm_loss"])
@faster
def test_a_faster_op_gives_what_its_plain_twin_gives(other, name, shape, wants, monkeypatch):
    """The head in chunks of three rows."""
    N, C = shape
    monkeypatch.setattr(fast, "HEAD_ROWS", 3)
    x, dy = array(N, C) * 3, array(N, C)
    if name == "linear":
        args, dy = (x, array(C, 4), array(4), wants), array(N, 4)
    elif name == "layer_norm":
        args = (x, array(C), array(C), 1e-5, wants)
    elif name == "gelu":
        args = (x, wants | {"x"})
    elif name == "attention":
        spans = Layout.of([n for n in (N // 3, N - N // 3) if n]).spans
        args = (x, array(N, C), array(N, C), spans, spans, 1, 0.0, None, wants | {"x"})
    else:
        args, dy = (x, array(9, C), RNG.integers(0, 9, N), wants), 0.7
    one, two = twins(name, *args, d=dy, other=other)
    assert len(one) == len(two) > 0
    for a, b in zip(one, two, strict=True):
        assert a.shape == b.shape and np.allclose(a, b, rtol=1e-12, atol=1e-12)


LENGTHS = {  # of queries and of keys
    "one": ((5,), (5,)),
    "equal": ((3, 3, 3), (3, 3, 3)),
    "ragged": ((4, 1, 6, 2), (4, 1, 6, 2)),
    "behind prefixes": ((4, 1, 6), (7, 4, 9)),
    "behind prefixes of several lengths": ((4, 1, 6), (4, 6, 7)),
    "a decode step": ((1, 1, 1), (9, 2, 5)),
}

CACHES = {
    "alike": (4, 4, 4),
    "ragged": (9, 3, 7),
    "very ragged": (9, 1, 1),
    "one": (5,),
}  # keys in a KV cache


@pytest.mark.parametrize("room", [0, 3])
@pytest.mark.parametrize("keys", CACHES.values(), ids=CACHES)
@faster
def test_attention_of_a_decode_step_is_that_of_each_sequence(other, keys, room):
    """Each sequence has the same number of rows in the cache, and those that it does not use are zeros."""
    S, capacity = len(keys), max(keys) + room
    spans = tuple((s * capacity, s * capacity + n) for s, n in enumerate(keys))
    q, used = array(S, 12), np.concatenate([np.arange(*span) for span in spans])
    k, v = np.zeros((2, S * capacity, 12))
    k[used], v[used] = array(len(used), 12), array(len(used), 12)
    one, two = (m.attention(q, k, v, Layout.of((1,) * S).spans, spans, 3)[0] for m in (plain, other))
    assert np.allclose(one, two, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("queries, keys", LENGTHS.values(), ids=LENGTHS)
def test_attention_over_one_padded_block_is_that_of_each_sequence(queries, keys):
    spans = Layout.of(queries).spans, Layout.of(keys).spans
    q, k, v = array(sum(queries), 12), array(sum(keys), 12), array(sum(keys), 12)
    args = (q, k, v, *spans, 3, 0.0, None, frozenset({"x"}))
    one, two = twins("attention", *args, d=array(*q.shape), other=gpu)
    for a, b in zip(one, two, strict=True):
        assert a.shape == b.shape and np.allclose(a, b, rtol=1e-12, atol=1e-12)
    weights = [module.attention_weights(module.attention(*args)[1]) for module in (plain, gpu)]
    for a, b in zip(*weights, strict=True):
        assert a.shape == b.shape and np.allclose(a, b, rtol=1e-12, atol=1e-14)


def test_rows_of_a_kv_cache_that_belong_to_no_sequence_are_not_seen():
    q, k, v, held = array(3, 4), array(21, 4), array(21, 4), [(0, 5), (7, 8), (14, 18)]
    k[5:7] = v[8:14] = v[18:] = np.nan
    args = (q, k, v, ((0, 1), (1, 2), (2, 3)), held, 2)
    assert np.allclose(gpu.attention(*args)[0], plain.attention(*args)[0], rtol=1e-12)


@pytest.mark.parametrize("other", [fast, gpu, mixed_precision], ids=["fast", "gpu", "bfloat16"])
def test_every_operation_has_all_forms_with_the_same_arguments(other):
    public = {
        name for name, f in vars(plain).items() if inspect.isfunction(f) and f.__module__ == plain.__name__
    }
    for name in public - {"softmax", "log_softmax", "heads"}:
        assert inspect.signature(getattr(other, name)) == inspect.signature(getattr(plain, name)), name


@faster
def test_one_query_each_on_keys_that_are_in_no_cache(other):
    """One-token sequences behind four rows and five: they begin as in a cache, and end after it."""
    args = (array(2, 12), array(11, 12), array(11, 12), ((0, 1), (1, 2)), ((0, 5), (5, 11)), 3)
    assert np.allclose(plain.attention(*args)[0], other.attention(*args)[0], rtol=1e-12, atol=1e-12)


def test_a_loss_of_no_rows_is_zero_and_so_is_every_gradient(ops):
    """Of a batch without labels; a rank's part of a batch may be one."""
    x, W = array(0, 3), array(5, 3)
    loss, cache = ops.lm_loss(x, W, np.zeros(0, int), frozenset({"x", "weight"}))
    dx, grads = ops.lm_loss_backward(1, cache)
    assert loss == 0 and dx.shape == (0, 3)
    assert grads["weight"].shape == (5, 3) and not grads["weight"].any()


def test_scores_in_chunks(monkeypatch):
    monkeypatch.setattr(fast, "HEAD_ROWS", 3)
    x, W, labels = array(7, 5), array(11, 5), RNG.integers(0, 11, 7)
    for one, other in zip(plain.lm_scores(x, W, labels), fast.lm_scores(x, W, labels), strict=True):
        assert np.allclose(one, other, rtol=1e-13)
    assert [len(a) for a in fast.lm_scores(x[:0], W, labels[:0])] == [0, 0]


def test_a_model_computes_with_what_it_is_told_to():
    model = small_model()
    assert model.step().ops is fast
    model.ops = "plain"
    assert model.step().ops is plain and PeftModel(model, LoRA()).step().ops is plain
    with pytest.raises(InputError, match=r"ops .slow. is not known"):
        GPT2(model.config, model.weights, ops="slow").step()


def test_what_nobody_wants_is_not_formed_nor_kept(ops):
    x, W, b = array(4, 3), array(3, 2), array(2)
    dy = array(4, 2)
    _, cache = ops.linear(x, W, b, frozenset())
    assert not any(c is x for c in cache) and ops.linear_backward(dy, cache) == (None, {})
    _, cache = ops.linear(x, W, b, frozenset({"x"}))
    assert not any(c is x for c in cache)
    _, grads = ops.linear_backward(dy, ops.linear(x, W, b, frozenset({"bias"}))[1])
    assert grads.keys() == {"bias"}
    assert ops.gelu(x)[1] is None and ops.attention(x, x, x, ((0, 4),), ((0, 4),), 1)[1] is None
    _, cache = ops.lm_loss(x, array(5, 3), np.array([0, 1, 2, 3]))
    assert ops.lm_loss_backward(1, cache) == (None, {})
