r"""A long short-term memory over one sequence, and its backward through time.

    a_t = x_t W_ih + b_ih + h_{t-1} W_hh + b_hh            (4H,): the gates i, f, g, o side by side
    i, f, o = sigmoid(a_i, a_f, a_o);   g = tanh(a_g)
    c_t = f c_{t-1} + i g                                  (H,): what is remembered
    h_t = o tanh(c_t)                                      (H,): what is said

Source: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000; gates, names and both biases
as in `torch.nn.LSTM`, whose matrices are the transposes of these. Letters: P steps, I width of x, H of h.
"""

from ...backend import xp_of

PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def init_lstm(name, I, H, num_layers, rng):
    """The tensors of a bidirectional LSTM, uniform in +-1/sqrt(H)."""
    tensors = {}
    for layer in range(num_layers):
        width = 2 * H if layer else I  # of what it reads: both directions of the layer below
        shapes = (width, 4 * H), (H, 4 * H), (4 * H,), (4 * H,)
        for keys in _keys(name, layer):
            for key, shape in zip(keys, shapes, strict=True):
                tensors[key] = rng.uniform(-(H**-0.5), H**-0.5, shape)
    return tensors


def lstm(x, W_ih, W_hh, b_ih, b_hh):
    """One layer, one direction, from a state of zeros.  x (P, I) -> h (P, H)."""
    xp, (P, H) = xp_of(x), (len(x), len(W_hh))
    gates = x @ W_ih + b_ih + b_hh  # (P, 4H): what no step has to wait for
    c, h = xp.zeros((P + 1, H), x.dtype), xp.zeros((P + 1, H), x.dtype)  # row t: before step t
    for t in range(P):
        i, f, g, o = xp.split(gates[t], 4)  # views: they turn a_t into the gates where it lies
        gates[t] += h[t] @ W_hh
        for a in (i, f, o):
            a[...] = 0.5 * (1 + xp.tanh(0.5 * a))  # the sigmoid, in a form that does not overflow
        xp.tanh(g, out=g)
        c[t + 1] = f * c[t] + i * g
        h[t + 1] = o * xp.tanh(c[t + 1])
    return h[1:], (x, W_ih, W_hh, gates, c, h)


def lstm_backward(dy, cache):
    r"""dy (P, H), the gradient of all h -> dx (P, I); gradients of W_ih, W_hh, b_ih, b_hh.

    From the last step to the first; h and c of a step are read at once and by the next one, so
    forward: $h = o \tanh(c)$ and $c_{t+1} = f c + i g$ give $dc \mathrel{+}= dh\,o\,(1 - \tanh^2 c)$;
    of a gate's argument: sigmoid' $= s\,(1 - s)$, tanh' $= 1 - g^2$.
    """
    x, W_ih, W_hh, gates, c, h = cache
    xp = xp_of(dy)
    da = xp.empty_like(gates)  # (P, 4H)
    dh_next = dc_next = xp.zeros_like(dy[0])
    for t in reversed(range(len(dy))):
        i, f, g, o = xp.split(gates[t], 4)
        di, df, dg, do = xp.split(da[t], 4)  # views to write to
        tanh_c = xp.tanh(c[t + 1])
        dh = dy[t] + dh_next
        dc = dc_next + dh * o * (1 - tanh_c * tanh_c)
        di[...] = dc * g * i * (1 - i)
        df[...] = dc * c[t] * f * (1 - f)
        dg[...] = dc * i * (1 - g * g)
        do[...] = dh * tanh_c * o * (1 - o)
        dh_next, dc_next = da[t] @ W_hh.T, dc * f
    return da @ W_ih.T, (x.T @ da, h[:-1].T @ da, da.sum(0), da.sum(0))


def bidirectional(name, x, tensors, num_layers):
    """Each layer reads what is below it forwards and backwards, and says both.  x (P, I) -> (P, 2H)."""
    xp, caches = xp_of(x), []
    for layer in range(num_layers):
        ahead, back = ([tensors[key] for key in keys] for keys in _keys(name, layer))
        h_ahead, cache_ahead = lstm(x, *ahead)
        h_back, cache_back = lstm(x[::-1], *back)
        x = xp.concatenate([h_ahead, h_back[::-1]], axis=1)
        caches.append((_keys(name, layer), cache_ahead, cache_back))
    return x, caches


def bidirectional_backward(dy, caches):
    """dy (P, 2H) -> dx (P, I), gradients by name."""
    grads = {}
    for (keys_ahead, keys_back), cache_ahead, cache_back in reversed(caches):
        dh_ahead, dh_back = xp_of(dy).split(dy, 2, axis=1)
        dx_ahead, ahead = lstm_backward(dh_ahead, cache_ahead)
        dx_back, back = lstm_backward(dh_back[::-1], cache_back)
        dy = dx_ahead + dx_back[::-1]  # both directions read the same x
        grads |= dict(zip(keys_ahead + keys_back, ahead + back, strict=True))
    return dy, grads


def _keys(name, layer):
    """The names of a layer's tensors: of the direction ahead, and of the one back."""
    return [[f"{name}.{part}_l{layer}{way}" for part in PARTS] for way in ("", "_reverse")]
