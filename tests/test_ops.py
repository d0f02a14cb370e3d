"""Every op: its backward is the derivative of its forward, in float64; it writes into nothing it is given."""

import numpy as np
import pytest

from minipeft import ops
from minipeft.gradcheck import check_array
from minipeft.layout import Layout, prepend, prepend_backward

RNG = np.random.default_rng(0)
ALL = frozenset({"x", "weight", "bias"})
TOLERANCE = 1e-7


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


def test_linear():
    inputs = {"x": array(7, 5), "weight": array(5, 3), "bias": array(3)}
    check_op(
        lambda x, weight, bias: ops.linear(x, weight, bias, ALL),
        lambda dy, cache: with_x(ops.linear_backward(dy, cache)),
        inputs,
    )


@pytest.mark.parametrize("rows", [1, 2, 8, 9])
def test_a_few_rows_times_a_large_matrix_go_block_by_block(rows, monkeypatch):
    x, dy, W = array(rows, 30), array(rows, 20), array(30, 20)
    true, true_transposed = ops.times(x, W), ops.times_transposed(dy, W)
    monkeypatch.setattr(ops, "FEW_BYTES", 7 * W[:1].nbytes)  # five blocks, the last one smaller
    assert ops.few_rows(x, W) == ops.few_rows(dy, W) == (1 < rows <= 8)
    assert np.allclose(ops.times(x, W), true, rtol=0, atol=1e-13)
    assert np.allclose(ops.times_transposed(dy, W), true_transposed, rtol=0, atol=1e-13)
    assert not ops.few_rows(x, W[:7])  # one block: BLAS does it at once


def test_layer_norm():
    inputs = {"x": array(4, 9) * 3 + 1, "weight": array(9), "bias": array(9)}
    check_op(
        lambda x, weight, bias: ops.layer_norm(x, weight, bias, 1e-5, ALL),
        lambda dy, cache: with_x(ops.layer_norm_backward(dy, cache)),
        inputs,
    )


def test_gelu():
    check_op(
        lambda x: ops.gelu(x, ALL),
        lambda dy, cache: {"x": ops.gelu_backward(dy, cache)},
        {"x": array(6, 8) * 2},
    )


def test_gelu_is_the_tanh_form():
    x = np.linspace(-5, 5, 101)[:, None]
    expected = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    assert np.allclose(ops.gelu(x)[0], expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("extra", [0, 3], ids=["keys are the queries'", "three more keys in front"])
@pytest.mark.parametrize("p_drop", [0.0, 0.3])
def test_attention(extra, p_drop):
    lengths, H = (4, 1, 6), 2
    queries, keys = Layout.of(lengths), Layout.of([n + extra for n in lengths])
    inputs = {"q": array(11, 8), "k": array(11 + 3 * extra, 8), "v": array(11 + 3 * extra, 8)}

    def forward(q, k, v):
        rng = np.random.default_rng(7)  # the same mask every time
        return ops.attention(q, k, v, queries.spans, keys.spans, H, p_drop, rng, ALL)

    check_op(
        forward, lambda do, cache: dict(zip("qkv", ops.attention_backward(do, cache), strict=True)), inputs
    )


def test_attention_is_softmax_of_scores_within_each_sequence():
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


def test_dropout():
    def forward(x):
        return ops.dropout(x, 0.4, np.random.default_rng(1))

    check_op(forward, lambda dy, mask: {"x": ops.dropout_backward(dy, mask)}, {"x": array(6, 5)})


def test_dropout_keeps_the_mean_and_is_off_without_a_generator():
    x = np.ones((400, 500))
    y, _ = ops.dropout(x, 0.25, np.random.default_rng(0))
    assert abs(y.mean() - 1) < 0.01 and set(np.unique(y)) == {0, 1 / 0.75}
    assert ops.dropout(x, 0.25, None)[0] is x


def test_embedding_adds_up_a_token_that_occurs_twice():
    ids = np.array([2, 0, 2, 4])
    check_op(
        lambda weight: ops.embedding(ids, weight, ALL),
        lambda dy, c: ops.embedding_backward(dy, c),
        {"weight": array(5, 3)},
    )


@pytest.mark.parametrize("head_rows", [512, 3], ids=["one chunk", "several chunks"])
def test_lm_loss(head_rows, monkeypatch):
    monkeypatch.setattr(ops, "HEAD_ROWS", head_rows)
    labels = np.array([1, 4, 4, 0, 10, 3, 2])
    check_op(
        lambda x, weight: ops.lm_loss(x, weight, labels, ALL),
        lambda dloss, cache: with_x(ops.lm_loss_backward(dloss, cache)),
        {"x": array(7, 5), "weight": array(11, 5)},
    )


def test_lm_loss_is_the_sum_of_the_labels_negative_log_probabilities():
    x, W, labels = array(6, 5) * 4, array(11, 5) * 4, np.array([1, 4, 4, 0, 10, 3])
    z = x @ W.T
    expected = np.log(np.exp(z).sum(1)) - z[np.arange(6), labels]
    logprob, best = ops.lm_scores(x, W, labels)
    assert np.isclose(ops.lm_loss(x, W, labels)[0], expected.sum(), rtol=1e-13)
    assert np.allclose(-logprob, expected, rtol=1e-12) and np.array_equal(best, z.argmax(1))


def test_prepend():
    layout = Layout.of((3, 1, 2))
    check_op(
        lambda rows, x: (prepend(rows, x, layout)[0], None),
        lambda dy, _: dict(zip(("rows", "x"), prepend_backward(dy, 2, layout), strict=True)),
        {"rows": array(2, 4), "x": array(6, 4)},
    )


def test_prepend_puts_the_rows_in_front_of_every_sequence():
    rows, x = array(2, 4), array(6, 4)
    y, layout = prepend(rows, x, Layout.of((4, 2)))
    assert np.array_equal(y, np.concatenate([rows, x[:4], rows, x[4:]]))
    assert layout.lengths == (6, 4) and layout.virtual == (2, 2)
    assert np.array_equal(layout.text_rows, [2, 3, 4, 5, 8, 9])
    assert np.array_equal(layout.positions, [0, 1, 2, 3, 4, 5, 0, 1, 2, 3])


@pytest.mark.parametrize("rows", [1, 5], ids=["one row a block", "five rows a block"])
def test_row_blocks_do_not_change_results(rows, monkeypatch):
    x, w, b, labels = array(9, 6), array(6), array(6), np.arange(9)
    W = array(10, 6)
    whole = [ops.gelu(x, ALL), ops.layer_norm(x, w, b, 1e-5, ALL)[0], ops.lm_loss(x, W, labels)[0]]
    monkeypatch.setattr(ops, "L2_BYTES", rows * x[:1].nbytes)
    blocks = [ops.gelu(x, ALL), ops.layer_norm(x, w, b, 1e-5, ALL)[0], ops.lm_loss(x, W, labels)[0]]
    assert len(ops.row_blocks(x)) > 1
    for one, other in zip(whole, blocks, strict=True):
        assert np.allclose(one, other, rtol=1e-13)


def test_what_nobody_wants_is_not_formed_nor_kept():
    x, W, b = array(4, 3), array(3, 2), array(2)
    dy = array(4, 2)
    _, cache = ops.linear(x, W, b, frozenset())
    assert not any(c is x for c in cache) and ops.linear_backward(dy, cache) == (None, {})
    _, cache = ops.linear(x, W, b, frozenset({"x"}))
    assert not any(c is x for c in cache)
    _, grads = ops.linear_backward(dy, ops.linear(x, W, b, frozenset({"bias"}))[1])
    assert grads.keys() == {"bias"}
    assert ops.gelu(x)[1] is None and ops.attention(x, x, x, ((0, 4),), ((0, 4),), 1)[1] is None
    assert ops.lm_loss(x, array(5, 3), np.array([0, 1, 2, 3]))[1] == (None, None)
