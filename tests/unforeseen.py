"""Wrong answers that were written after the checker, not from its list, and the questions it asks of each.

(what is wrong, exercise, questions, code). No question: no cause is seen, and the checker shows which entries
are right. "2x": two mistakes at once. Each question was read, and leads to the mistake or to a part of it.
"""

UNFORESEEN = [
    (
        '01 db keeps an axis', '01',
        ['Does keepdims hold on to an axis?'],
        '''
def linear_backward(dy, cache):
    x, W = cache
    return dy @ W.T, {"weight": x.T @ dy, "bias": dy.sum(0, keepdims=True)}
''',
    ),
    (
        '01 x is centred first', '01',
        [],
        '''
def linear_backward(dy, cache):
    x, W = cache
    return dy @ W.T, {"weight": (x - x.mean(0)).T @ dy, "bias": dy.sum(0)}
''',
    ),
    (
        '01 a mean added to dy', '01',
        [],
        '''
def linear_backward(dy, cache):
    x, W = cache
    return (dy + dy.mean(0)) @ W.T, {"weight": x.T @ dy, "bias": dy.sum(0)}
''',
    ),
    (
        "02 tanh' as 1 - t", '02',
        ['Why must the slope be 0 far left?'],
        '''
def gelu_backward(dy, cache):
    u, t = cache
    return dy * (0.5 * (1 + t) + 0.5 * u * (1 - t) * k * (1 + 3 * a * u**2))
''',
    ),
    (
        '02 a u^2 without 3', '02',
        [],
        '''
def gelu_backward(dy, cache):
    u, t = cache
    return dy * (0.5 * (1 + t) + 0.5 * u * (1 - t**2) * k * (1 + a * u**2))
''',
    ),
    (
        '02 half forgotten in second term', '02',
        ['How often should that part count?'],
        '''
def gelu_backward(dy, cache):
    u, t = cache
    return dy * (0.5 * (1 + t) + u * (1 - t**2) * k * (1 + 3 * a * u**2))
''',
    ),
    (
        '03 p squared', '03',
        ['Why must each row sum to 0?'],
        '''
def cross_entropy_backward(dloss, cache):
    p, labels = cache
    dz = dloss * p * (1 - p)
    dz[np.arange(len(p)), labels] -= dloss
    return dz
''',
    ),
    (
        '03 label subtracted at column index (dz[:, labels] -= 1)', '03',
        ["Why must each row sum to 0 and the label's entry alone be below 0?"],
        '''
def cross_entropy_backward(dloss, cache):
    p, labels = cache
    dz = dloss * p
    dz[:, labels] -= dloss
    return dz
''',
    ),
    (
        '04 row ids sorted', '04',
        ['What sets them apart from the others?'],
        '''
def embedding_backward(dy, cache):
    ids, shape = cache
    d = np.zeros(shape)
    np.add.at(d, np.sort(ids), dy)
    return {"weight": d}
''',
    ),
    (
        '05 steps add up', '05',
        [],
        '''
def derivative(f, array, direction, h):
    kept, values = array.copy(), {}
    for t in (h, -h, 2 * h, -2 * h):
        array[...] = array + t * direction
        values[t] = f()
    array[...] = kept
    return (8 * (values[h] - values[-h]) - (values[2 * h] - values[-2 * h])) / (12 * h)
''',
    ),
    (
        '06 sum over max', '06',
        ['Why must each row sum to 0?'],
        '''
def softmax_backward(dp, p):
    return p * (dp - (dp * p).max(1, keepdims=True))
''',
    ),
    (
        '07 N instead of C in the mean', '07',
        ['How often should that part count?'],
        '''
def layer_norm_backward(dy, cache):
    xhat, rstd, w = cache
    g = dy * w
    n = len(dy)
    dx = rstd * (g - g.sum(1, keepdims=True) / n - xhat * (g * xhat).sum(1, keepdims=True) / n)
    return dx, {"weight": (dy * xhat).sum(0), "bias": dy.sum(0)}
''',
    ),
    (
        '07 w on the outside', '07',
        ['Why must each row sum to 0 and dx . xhat be near 0 in each row?'],
        '''
def layer_norm_backward(dy, cache):
    xhat, rstd, w = cache
    g = dy
    dx = w * rstd * (g - g.mean(1, keepdims=True) - xhat * (g * xhat).mean(1, keepdims=True))
    return dx, {"weight": (dy * xhat).sum(0), "bias": dy.sum(0)}
''',
    ),
    (
        '08 no head split in dv: p mean of heads', '08',
        [],
        '''
def attention_backward(do, cache):
    q, k, v, p = cache
    H, _, D = q.shape
    do = heads(do, H)
    dv = p.mean(0, keepdims=True).transpose(0, 2, 1) @ do
    dp = do @ v.transpose(0, 2, 1)
    ds = p * (dp - (dp * p).sum(2, keepdims=True)) * D**-0.5
    return merged(ds @ k), merged(ds.transpose(0, 2, 1) @ q), merged(dv)
''',
    ),
    (
        '08 ds uses k for dk', '08',
        [],
        '''
def attention_backward(do, cache):
    q, k, v, p = cache
    H, _, D = q.shape
    do = heads(do, H)
    dv = p.transpose(0, 2, 1) @ do
    dp = do @ v.transpose(0, 2, 1)
    ds = p * (dp - (dp * p).sum(2, keepdims=True)) * D**-0.5
    return merged(ds @ v), merged(ds.transpose(0, 2, 1) @ do), merged(dv)
''',
    ),
    (
        '10 dA from dx and h', '10',
        [],
        '''
def lora_backward(dy, cache):
    x, h, W, A, B, s = cache
    dh = s * (dy @ B.T)
    dx = dy @ W.T + dh @ A.T
    return dx, {"lora_A": dx.T @ h, "lora_B": h.T @ dy}
''',
    ),
    (
        '12 the first sequence counts twice', '12',
        [],
        '''
def prepend_backward(dx, cache):
    P, lengths = cache
    pieces = np.split(dx, np.cumsum([P + n for n in lengths])[:-1])
    return np.concatenate([q[P:] for q in pieces]), {"prompt_embeddings": sum((q[:P] for q in pieces),
        pieces[0][:P])}
''',
    ),
    (
        '12 weighted by length', '12',
        [],
        '''
def prepend_backward(dx, cache):
    P, lengths = cache
    pieces = np.split(dx, np.cumsum([P + n for n in lengths])[:-1])
    return np.concatenate([q[P:] for q in pieces]), {"prompt_embeddings": sum(n * q[:P] for n,
        q in zip(lengths, pieces))}
''',
    ),
    (
        '15 mask from dz sign', '15',
        [],
        '''
def adapter_backward(dh, cache):
    u, a, D, U, s = cache
    df = s * dh
    dz = np.maximum(df @ U.T, 0)
    du = dz @ D.T
    return dh + du, du, {"down": u.T @ dz, "down_bias": dz.sum(0), "up": a.T @ df, "up_bias": df.sum(0)}
''',
    ),
    (
        '17 bias correction with b1 for both', '17',
        [],
        '''
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    return p - lr * wd * p - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b1**t)) + eps), m, v
''',
    ),
    (
        '18 g squared', '18',
        ['What sets them apart from the others?'],
        '''
def tied_backward(dz, cache):
    ids, a, wte, g = cache
    dwte = dz.T @ a
    np.add.at(dwte, ids, (dz @ wte) * g * g)
    return {"weight": dwte}
''',
    ),
    (
        '2x 01 transposed and mean', '01',
        ['Is a constant missing, or used twice?'],
        '''
def linear_backward(dy, cache):
    x, W = cache
    return dy @ W.T, {"weight": dy.T @ x / len(x), "bias": dy.sum(0)}
''',
    ),
    (
        '2x 02 product rule and dy', '02',
        ['Why must the slope be 1/2 at u = 0 and the slope be 1 far right?'],
        '''
def gelu_backward(dy, cache):
    u, t = cache
    return 0.5 * (1 + t)
''',
    ),
    (
        '2x 03 sign and mean', '03',
        ['Is a constant missing, or used twice?'],
        '''
def cross_entropy_backward(dloss, cache):
    p, labels = cache
    dz = -dloss * p / len(p)
    dz[np.arange(len(p)), labels] += dloss / len(p)
    return dz
''',
    ),
    (
        '2x 04 one-off ids and last wins', '04',
        ['What sets them apart from the others?'],
        '''
def embedding_backward(dy, cache):
    ids, shape = cache
    d = np.zeros(shape)
    d[(ids + 1) % shape[0]] += dy
    return {"weight": d}
''',
    ),
    (
        '2x 07 w forgotten and no mean path', '07',
        ['Why must each row sum to 0?'],
        '''
def layer_norm_backward(dy, cache):
    xhat, rstd, w = cache
    dx = rstd * (dy - xhat * (dy * xhat).mean(1, keepdims=True))
    return dx, {"weight": (dy * xhat).sum(0), "bias": dy.sum(0)}
''',
    ),
    (
        '2x 08 scale forgotten and sum not subtracted', '08',
        ['Row sums of ds should be 0: what does softmax never change?'],
        '''
def attention_backward(do, cache):
    q, k, v, p = cache
    H, _, D = q.shape
    do = heads(do, H)
    dv = p.transpose(0, 2, 1) @ do
    ds = p * (do @ v.transpose(0, 2, 1))
    return merged(ds @ k), merged(ds.transpose(0, 2, 1) @ q), merged(dv)
''',
    ),
    (
        '2x 10 s forgotten in dh and path W forgotten', '10',
        ['How often should that part count?', 'Which constant multiplies this path?'],
        '''
def lora_backward(dy, cache):
    x, h, W, A, B, s = cache
    dh = dy @ B.T
    return dh @ A.T, {"lora_A": x.T @ dh, "lora_B": h.T @ dy}
''',
    ),
    (
        '2x 10 s twice in dB, s forgotten in dA', '10',
        ['Which constant multiplies this path?', 'What does the h of the cache hold already?'],
        '''
def lora_backward(dy, cache):
    x, h, W, A, B, s = cache
    dh = dy @ B.T
    return dy @ W.T + s * dh @ A.T, {"lora_A": x.T @ dh, "lora_B": s * h.T @ dy}
''',
    ),
    (
        '2x 13 swapped and mean', '13',
        ['What sets dP_k apart from dP_v?', 'What sets dP_v apart from dP_k?'],
        '''
def prefix_backward(dK, dV, cache):
    dK, dP_k = prepend_backward(dK, cache)
    dV, dP_v = prepend_backward(dV, cache)
    S = len(cache[1])
    return dK, dV, {"prefix_key": dP_v / S, "prefix_value": dP_k / S}
''',
    ),
    (
        '2x 15 mask forgotten and s forgotten', '15',
        ['Which constant multiplies this path?',
         'Where u D + d < 0 nothing came through forwards: and backwards?'],
        '''
def adapter_backward(dh, cache):
    u, a, D, U, s = cache
    dz = dh @ U.T
    du = dz @ D.T
    return dh + du, du, {"down": u.T @ dz, "down_bias": dz.sum(0), "up": a.T @ dh, "up_bias": dh.sum(0)}
''',
    ),
    (
        '2x 16 g forgotten and s forgotten', '16',
        ['What is there one of per column?', 'y = u g + b: does dy pass g before it comes to A?'],
        '''
def dora_backward(dy, cache):
    x, h, u, g, n, W, A, B, s = cache
    dh = dy @ B.T
    return (dy * g) @ W.T + dh @ A.T, {"lora_A": x.T @ dh, "lora_B": h.T @ dy / s,
        "lora_magnitude_vector": (dy * u).sum(0) / n}
''',
    ),
    (
        '2x 17 no correction and coupled', '17',
        ['Set g to 0: should m know of p?', 'Set g to 0: should v know of p?'],
        '''
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    g = g + wd * p
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    return p - lr * m / (np.sqrt(v) + eps), m, v
''',
    ),
    (
        '2x 18 overwrite and g forgotten', '18',
        [],
        '''
def tied_backward(dz, cache):
    ids, a, wte, g = cache
    dwte = dz.T @ wte[ids]
    dwte[ids] = dz @ wte
    return {"weight": dwte}
''',
    ),
    (
        '01 dW from dx', '01',
        [],
        '''
def linear_backward(dy, cache):
    x, W = cache
    dx = dy @ W.T
    return dx, {"weight": dx.T @ dy, "bias": dy.sum(0)}
''',
    ),
    (
        '01 last row dropped', '01',
        [],
        '''
def linear_backward(dy, cache):
    x, W = cache
    return dy @ W.T, {"weight": x[:-1].T @ dy[:-1], "bias": dy[:-1].sum(0)}
''',
    ),
    (
        '03 dloss squared', '03',
        ['Is a constant missing, or used twice?'],
        '''
def cross_entropy_backward(dloss, cache):
    p, labels = cache
    return dloss**2 * (p - np.eye(p.shape[1])[labels])
''',
    ),
    (
        '06 p outside squared', '06',
        ['Where does p stand in the forward?'],
        '''
def softmax_backward(dp, p):
    return p * p * (dp - (dp * p).sum(1, keepdims=True))
''',
    ),
    (
        '06 keepdims of column', '06',
        [],
        '''
def softmax_backward(dp, p):
    s = (dp * p).sum(1, keepdims=True)
    return p * dp - s / p.shape[1]
''',
    ),
    (
        '09 absolute values', '09',
        [],
        '''
def ia3_backward(dy, cache):
    z, W, l = cache
    return (dy * l) @ W.T, {"ia3_l": np.abs(dy * z).sum(0)}
''',
    ),
    (
        '10 uses A for backward of dh (shape raise)', '10',
        [],
        '''
def lora_backward(dy, cache):
    x, h, W, A, B, s = cache
    dh = s * (dy @ A.T)
    return dy @ W.T + dh @ A.T, {"lora_A": x.T @ dh, "lora_B": h.T @ dy}
''',
    ),
    (
        '11 merge with B A order', '11',
        [],
        '''
def merge(W, A, B, s):
    return W + s * (B.T @ A.T)
''',
    ),
    (
        '11 unmerge divides', '11',
        ['How often should that part count?'],
        '''
def unmerge(merged, A, B, s):
    return merged - (A @ B) / s
''',
    ),
    (
        '14 relu + tanh both', '14',
        [],
        '''
def encoder_backward(dtable, cache):
    E, f, W_0, W_2 = cache
    dpre = dtable @ W_2.T * (1 - f**2) * (f > 0)
    return {"E": dpre @ W_0.T, "W_0": E.T @ dpre, "b_0": dpre.sum(0), "W_2": f.T @ dtable,
        "b_2": dtable.sum(0)}
''',
    ),
    (
        '14 f twice: slope 2f', '14',
        [],
        '''
def encoder_backward(dtable, cache):
    E, f, W_0, W_2 = cache
    dpre = dtable @ W_2.T * (1 - 2 * f)
    return {"E": dpre @ W_0.T, "W_0": E.T @ dpre, "b_0": dpre.sum(0), "W_2": f.T @ dtable,
        "b_2": dtable.sum(0)}
''',
    ),
    (
        '16 dm missing du->dy: uses du', '16',
        ['y = u g + b: what is the derivative of y by g?'],
        '''
def dora_backward(dy, cache):
    x, h, u, g, n, W, A, B, s = cache
    du = dy * g
    dh = s * (du @ B.T)
    return du @ W.T + dh @ A.T, {"lora_A": x.T @ dh, "lora_B": h.T @ du,
        "lora_magnitude_vector": (du * u).sum(0) / n}
''',
    ),
    (
        '17 wd scaled by correction', '17',
        ['Is a constant missing, or used twice?'],
        '''
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    return p - lr * wd * p / (1 - b1**t) - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps), m, v
''',
    ),
    (
        '17 sqrt forgotten', '17',
        [],
        '''
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    return p - lr * wd * p - lr * (m / (1 - b1**t)) / (v / (1 - b2**t) + eps), m, v
''',
    ),
    (
        '18 only first occurrence', '18',
        ['What sets them apart from the others?'],
        '''
def tied_backward(dz, cache):
    ids, a, wte, g = cache
    dwte = dz.T @ a
    dx = (dz @ wte) * g
    for n, i in enumerate(ids):
        if i not in ids[:n]:
            dwte[i] += dx[n]
    return {"weight": dwte}
''',
    ),
    (
        '13 share softmax off by max', '13',
        [],
        '''
def zero_share(s, P):
    return P / (P + np.exp(s - s.max()).sum())
''',
    ),
    (
        '2x 03 - onehot forgotten and dloss ignored', '03',
        ['How often should that part count?'],
        '''
def cross_entropy_backward(dloss, cache):
    p, labels = cache
    return p
''',
    ),
    (
        '2x 06 not subtracted and mean 1/K', '06',
        ['How often should that part count?'],
        '''
def softmax_backward(dp, p):
    return p * dp / p.shape[1]
''',
    ),
    (
        '2x 07 1/std forgotten, mean path missing', '07',
        ['Why must each row sum to 0?'],
        '''
def layer_norm_backward(dy, cache):
    xhat, rstd, w = cache
    g = dy * w
    dx = g - xhat * (g * xhat).mean(1, keepdims=True)
    return dx, {"weight": (dy * xhat).sum(0), "bias": dy.sum(0)}
''',
    ),
    (
        '2x 08 swapped dk dv and scale twice', '08',
        ['How wide is one head, and how often does the scale count?', 'dk and dv: which is which?'],
        '''
def attention_backward(do, cache):
    q, k, v, p = cache
    H, _, D = q.shape
    do = heads(do, H)
    dv = p.transpose(0, 2, 1) @ do
    dp = do @ v.transpose(0, 2, 1)
    ds = p * (dp - (dp * p).sum(2, keepdims=True)) / D
    return merged(ds @ k), merged(dv), merged(ds.transpose(0, 2, 1) @ q)
''',
    ),
    (
        '2x 12 first sequence only and text shifted', '12',
        ['Where do the virtual rows of sequence 2 begin?',
         'The same rows stand before each sequence: who else sends?'],
        '''
def prepend_backward(dx, cache):
    P, lengths = cache
    pieces = np.split(dx, np.cumsum([P + n for n in lengths])[:-1])
    return np.concatenate([q[:-P] for q in pieces]), {"prompt_embeddings": pieces[0][:P]}
''',
    ),
    (
        '2x 09 no sum and after scaling', '09',
        ['Between y and x W + b stands a factor: does dy pass it?',
         'Write the letters of each product: what comes out?'],
        '''
def ia3_backward(dy, cache):
    z, W, l = cache
    return dy @ W.T, {"ia3_l": dy * z * l}
''',
    ),
    (
        '2x 11 s forgotten and sign', '11',
        ['How often should that part count?'],
        '''
def merge(W, A, B, s):
    return W - A @ B
''',
    ),
    (
        '2x 17 eps inside and no decay', '17',
        ['Set g to 0: how far should p move?', 'Where does eps stand: under the root, or beside it?'],
        '''
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    return p - lr * (m / (1 - b1**t)) / np.sqrt(v / (1 - b2**t) + eps), m, v
''',
    ),
    (
        '2x 10 y: s squared (s in A and in h)', '10',
        ['How often should that part count?'],
        '''
def lora(x, W, b, A, B, alpha):
    s = alpha / len(B)
    h = s * (x @ (s * A))
    return x @ W + b + h @ B, (x, h, W, A, B, s)
''',
    ),
    (
        '2x 15 residual twice and x gets dh', '15',
        ["h reaches h' without f, too: how often?", 'What happens to it on the way?'],
        '''
def adapter_backward(dh, cache):
    u, a, D, U, s = cache
    df = s * dh
    dz = (df @ U.T) * (a > 0)
    du = dz @ D.T
    return 2 * dh + du, dh, {"down": u.T @ dz, "down_bias": dz.sum(0), "up": a.T @ df, "up_bias": df.sum(0)}
''',
    ),
    (
        '01 dW reshaped', '01',
        ['Was dW transposed, or reshaped?'],
        '''
def linear_backward(dy, cache):
    x, W = cache
    return dy @ W.T, {"weight": (dy.T @ x).reshape(W.shape), "bias": dy.sum(0)}
''',
    ),
    (
        '01 db from the last entry to the first', '01',
        ['In which order do its entries stand?'],
        '''
def linear_backward(dy, cache):
    x, W = cache
    return dy @ W.T, {"weight": x.T @ dy, "bias": dy.sum(0)[::-1]}
''',
    ),
    (
        '08 the heads of dv turned by one', '08',
        ['In which order were the heads taken apart?'],
        '''
def attention_backward(do, cache):
    q, k, v, p = cache
    H, _, D = q.shape
    do = heads(do, H)
    dv = p.transpose(0, 2, 1) @ do
    dp = do @ v.transpose(0, 2, 1)
    ds = p * (dp - (dp * p).sum(2, keepdims=True)) / D**0.5
    return merged(ds @ k), merged(ds.transpose(0, 2, 1) @ q), merged(np.roll(dv, 1, 0))
''',
    ),
]  # fmt: skip
