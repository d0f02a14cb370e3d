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
        ['Where was the sign turned, and is a constant missing, or used twice?'],
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
        ['y = u g + b: what is the derivative of y with respect to g?'],
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
        ['In which order were the heads put together?'],
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
    (
        '2x 01 dW and db are means', '01',
        ['Every entry is too small by the number of rows: is anything averaged in the forward?'],
        '''
def linear_backward(dy, cache):
    x, W = cache
    return dy @ W.T, {"weight": x.T @ dy / len(x), "bias": dy.mean(0)}
''',
    ),
    (
        '2x 01 product of the sums, and db the sum of all', '01',
        [],
        '''
def linear_backward(dy, cache):
    x, W = cache
    return dy @ W.T, {"weight": np.outer(x.sum(0), dy.sum(0)), "bias": np.full(W.shape[1], dy.sum())}
''',
    ),
    (
        '2x 01 dW / O, dx / N', '01',
        ['Is a constant missing, or used twice?',
         'Is a constant missing, or used twice?'],
        '''
def linear_backward(dy, cache):
    x, W = cache
    return dy @ W.T / len(x), {"weight": x.T @ dy / dy.shape[1], "bias": dy.sum(0)}
''',
    ),
    (
        '02 the second half lacks u', '02',
        ['Why must the slope be 1/2 at u = 0?'],
        '''
def gelu_backward(dy, cache):
    u, t = cache
    return dy * (0.5 * (1 + t) + 0.5 * (1 - t**2) * k * (1 + 3 * a * u**2))
''',
    ),
    (
        '2x 02 no 3, no half', '02',
        [],
        '''
def gelu_backward(dy, cache):
    u, t = cache
    return dy * (0.5 * (1 + t) + u * (1 - t**2) * k * (1 + a * u**2))
''',
    ),
    (
        '02 slope of tanh at u', '02',
        [],
        '''
def gelu_backward(dy, cache):
    u, t = cache
    return dy * (0.5 * (1 + t) + 0.5 * u * (1 - np.tanh(u) ** 2) * k * (1 + 3 * a * u**2))
''',
    ),
    (
        '02 the slope ends at 1', '02',
        [],
        '''
def gelu_backward(dy, cache):
    u, t = cache
    return dy * np.minimum(0.5 * (1 + t) + 0.5 * u * (1 - t**2) * k * (1 + 3 * a * u**2), 1)
''',
    ),
    (
        '2x 03 1 off in the columns of all labels, no dloss', '03',
        ["Why must each row sum to 0 and the label's entry alone be below 0?"],
        '''
def cross_entropy_backward(dloss, cache):
    p, labels = cache
    dz = p.copy()
    dz[:, labels] -= 1
    return dz
''',
    ),
    (
        '2x 03 divided by M, dloss for p alone', '03',
        ['How often should that part count?'],
        '''
def cross_entropy_backward(dloss, cache):
    p, labels = cache
    M, V = p.shape
    return (dloss * p - np.eye(V)[labels]) / M
''',
    ),
    (
        '03 p (1 - p) at the label', '03',
        ['Why must each row sum to 0?'],
        '''
def cross_entropy_backward(dloss, cache):
    p, labels = cache
    dz = p.copy()
    r = np.arange(len(p))
    dz[r, labels] = -p[r, labels] * (1 - p[r, labels])
    return dloss * dz
''',
    ),
    (
        '03 label 0 is taken for padding', '03',
        [],
        '''
def cross_entropy_backward(dloss, cache):
    p, labels = cache
    dz = p.copy()
    dz[np.arange(len(p)), labels] -= 1
    dz[labels == 0] = 0
    return dloss * dz
''',
    ),
    (
        '04 the last one, as often as it occurs', '04',
        ['What sets them apart from the others?'],
        '''
def embedding_backward(dy, cache):
    ids, shape = cache
    dtable = np.zeros(shape)
    counts = np.bincount(ids, minlength=len(dtable))
    dtable[ids] = dy * counts[ids][:, None]
    return {"weight": dtable}
''',
    ),
    (
        '04 token 0 is taken for padding', '04',
        ['What sets them apart from the others?'],
        '''
def embedding_backward(dy, cache):
    ids, shape = cache
    dtable = np.zeros(shape)
    keep = ids != 0
    np.add.at(dtable, ids[keep], dy[keep])
    return {"weight": dtable}
''',
    ),
    (
        '04 the loop ends before the last token', '04',
        ['What sets them apart from the others?'],
        '''
def embedding_backward(dy, cache):
    ids, shape = cache
    dtable = np.zeros(shape)
    for i in range(len(dtable) - 1):
        dtable[i] = dy[ids == i].sum(0)
    return {"weight": dtable}
''',
    ),
    (
        '04 ids sorted, dy not', '04',
        ['What sets them apart from the others?'],
        '''
def embedding_backward(dy, cache):
    ids, shape = cache
    dtable = np.zeros(shape)
    np.add.at(dtable, np.sort(ids), dy)
    return {"weight": dtable}
''',
    ),
    (
        '2x 04 the last one only, and its sign', '04',
        ['What reaches that row: one dy, or as many as the token occurs?'],
        '''
def embedding_backward(dy, cache):
    ids, shape = cache
    dtable = np.zeros(shape)
    dtable[ids] -= dy
    return {"weight": dtable}
''',
    ),
    (
        '05 put back by a subtraction', '05',
        ['What should the next one who reads it find there?'],
        '''
def derivative(f, array, direction, h):
    kept, values = (array.copy(), {})
    for t in (h, -h, 2 * h, -2 * h):
        array += t * direction
        values[t] = f()
        array -= t * direction
    return (8 * (values[h] - values[-h]) - (values[2 * h] - values[-2 * h])) / (12 * h)
''',
    ),
    (
        '05 each step from where the last one ended', '05',
        [],
        '''
def derivative(f, array, direction, h):
    kept, values = (array.copy(), {})
    for t in (h, -h, 2 * h, -2 * h):
        array += t * direction
        values[t] = f()
    array[...] = kept
    return (8 * (values[h] - values[-h]) - (values[2 * h] - values[-2 * h])) / (12 * h)
''',
    ),
    (
        '2x 05 two points, and not put back', '05',
        ['What should the next one who reads it find there?'],
        '''
def derivative(f, array, direction, h):
    kept, values = (array.copy(), {})
    array[...] = kept + h * direction
    up = f()
    array[...] = kept - h * direction
    return (up - f()) / (2 * h)
''',
    ),
    (
        '2x 06 a mean, and added', '06',
        ['How often should that part count?'],
        '''
def softmax_backward(dp, p):
    return p * (dp + (dp * p).mean(1, keepdims=True))
''',
    ),
    (
        '06 the plain mean is taken off', '06',
        ['Why must each row sum to 0?'],
        '''
def softmax_backward(dp, p):
    return p * (dp - dp.mean(1, keepdims=True))
''',
    ),
    (
        '06 the slope of log softmax', '06',
        ['Which function has that slope: softmax, or its logarithm?'],
        '''
def softmax_backward(dp, p):
    return dp - p * dp.sum(1, keepdims=True)
''',
    ),
    (
        '06 written into p', '06',
        ['This line writes into an array that was given. Who else still reads it?'],
        '''
def softmax_backward(dp, p):
    p *= dp - (dp * p).sum(1, keepdims=True)
    return p
''',
    ),
    (
        '2x 06 the sign, and a half', '06',
        ['Where was the sign turned, and is a constant missing, or used twice?'],
        '''
def softmax_backward(dp, p):
    return -0.5 * p * (dp - (dp * p).sum(1, keepdims=True))
''',
    ),
    (
        '07 w at the end', '07',
        ['Why must each row sum to 0 and dx . xhat be near 0 in each row?'],
        '''
def layer_norm_backward(dy, cache):
    xhat, rstd, w = cache
    dx = w * rstd * (dy - dy.mean(1, keepdims=True) - xhat * (dy * xhat).mean(1, keepdims=True))
    return dx, {"weight": (dy * xhat).sum(0), "bias": dy.sum(0)}
''',
    ),
    (
        '2x 07 means over the other axis, db a mean', '07',
        ['Which axis did the forward average over?',
         'Every entry is too small by the number of rows: is anything averaged in the forward?'],
        '''
def layer_norm_backward(dy, cache):
    xhat, rstd, w = cache
    d = dy * w
    dx = rstd * (d - d.mean(0) - xhat * (d * xhat).mean(0))
    return dx, {"weight": (dy * xhat).sum(0), "bias": dy.mean(0)}
''',
    ),
    (
        "2x 07 no mean's path, dw with w", '07',
        ['Adding a constant to a row changes nothing: what must a row of dx sum to?',
         'Does w stand in the slope of xhat w by w?'],
        '''
def layer_norm_backward(dy, cache):
    xhat, rstd, w = cache
    d = dy * w
    dx = rstd * (d - xhat * (d * xhat).mean(1, keepdims=True))
    return dx, {"weight": (d * xhat).sum(0), "bias": dy.sum(0)}
''',
    ),
    (
        '07 a mean without xhat', '07',
        ['Why must dx . xhat be near 0 in each row?'],
        '''
def layer_norm_backward(dy, cache):
    xhat, rstd, w = cache
    d = dy * w
    m1 = d.mean(1, keepdims=True)
    m2 = (d * xhat).mean(1, keepdims=True)
    return rstd * (d - m1 - xhat * d.mean(1, keepdims=True)), {"weight": (dy * xhat).sum(0),
        "bias": dy.sum(0)}
''',
    ),
    (
        '2x 07 w in the first term alone, dw a mean', '07',
        ['Why must each row sum to 0 and dx . xhat be near 0 in each row?',
         'Every entry is too small by the number of rows: is anything averaged in the forward?'],
        '''
def layer_norm_backward(dy, cache):
    xhat, rstd, w = cache
    d = dy * w
    m1 = d.mean(1, keepdims=True)
    m2 = (d * xhat).mean(1, keepdims=True)
    dx = rstd * (d - dy.mean(1, keepdims=True) - xhat * (dy * xhat).mean(1, keepdims=True))
    return dx, {"weight": (dy * xhat).mean(0), "bias": dy.sum(0)}
''',
    ),
    (
        '08 masked again, as if J = T', '08',
        ['What sets them apart from the others?'],
        '''
def attention_backward(do, cache):
    q, k, v, p = cache
    H, _, D = q.shape
    do = heads(do, H)
    dp = do @ v.transpose(0, 2, 1)
    ds = np.tril(p * (dp - (dp * p).sum(2, keepdims=True))) * D**-0.5
    return merged(ds @ k), merged(ds.transpose(0, 2, 1) @ q), merged(p.transpose(0, 2, 1) @ do)
''',
    ),
    (
        '2x 08 dv from dp, dk without the scale', '08',
        ['What stands between the scores and q k^T?'],
        '''
def attention_backward(do, cache):
    q, k, v, p = cache
    H, _, D = q.shape
    do = heads(do, H)
    dp = do @ v.transpose(0, 2, 1)
    ds = p * (dp - (dp * p).sum(2, keepdims=True))
    return merged(ds @ k * D**-0.5), merged(ds.transpose(0, 2, 1) @ q), merged(dp.transpose(0, 2, 1) @ do)
''',
    ),
    (
        '2x 08 dq scaled twice, dv / T', '08',
        ['How wide is one head, and how often does the scale count?',
         'Is a constant missing, or used twice?'],
        '''
def attention_backward(do, cache):
    q, k, v, p = cache
    H, _, D = q.shape
    do = heads(do, H)
    dp = do @ v.transpose(0, 2, 1)
    ds = p * (dp - (dp * p).sum(2, keepdims=True)) * D**-0.5
    dv = p.transpose(0, 2, 1) @ do / p.shape[1]
    return merged(ds @ k * D**-0.5), merged(ds.transpose(0, 2, 1) @ q), merged(dv)
''',
    ),
    (
        '2x 08 no sum taken off, no scale', '08',
        ['Row sums of ds should be 0: what does softmax never change?'],
        '''
def attention_backward(do, cache):
    q, k, v, p = cache
    H, _, D = q.shape
    do = heads(do, H)
    dp = do @ v.transpose(0, 2, 1)
    ds = p * dp
    return merged(ds @ k), merged(ds.transpose(0, 2, 1) @ q), merged(p.transpose(0, 2, 1) @ do)
''',
    ),
    (
        '2x 08 dv from ds, dq with its sign turned', '08',
        ['Where was the sign turned?',
         'What makes it: ds or p, and which of q, k, do?'],
        '''
def attention_backward(do, cache):
    q, k, v, p = cache
    H, _, D = q.shape
    do = heads(do, H)
    dp = do @ v.transpose(0, 2, 1)
    ds = p * (dp - (dp * p).sum(2, keepdims=True)) * D**-0.5
    return merged(-ds @ k), merged(ds.transpose(0, 2, 1) @ q), merged(ds.transpose(0, 2, 1) @ do)
''',
    ),
    (
        '08 the last key is cut off', '08',
        ['What sets them apart from the others?',
         'What sets them apart from the others?'],
        '''
def attention_backward(do, cache):
    q, k, v, p = cache
    H, _, D = q.shape
    do = heads(do, H)
    dp = do @ v.transpose(0, 2, 1)
    ds = p * (dp - (dp * p).sum(2, keepdims=True)) * D**-0.5
    ds = np.where(np.arange(k.shape[1]) < k.shape[1] - 1, ds, 0)
    return merged(ds @ k), merged(ds.transpose(0, 2, 1) @ q), merged(p.transpose(0, 2, 1) @ do)
''',
    ),
    (
        '09 product of the sums', '09',
        [],
        '''
def ia3_backward(dy, cache):
    z, W, l = cache
    return (dy * l) @ W.T, {"ia3_l": dy.sum(0) * z.sum(0)}
''',
    ),
    (
        '2x 09 dl a mean, dx with l twice', '09',
        ['How often does dy pass l on its way down?',
         'Is anything averaged over the rows in the forward?'],
        '''
def ia3_backward(dy, cache):
    z, W, l = cache
    return (dy * l * l) @ W.T, {"ia3_l": (dy * z).mean(0)}
''',
    ),
    (
        '10 a whole number for s', '10',
        ['How often should that part count?'],
        '''
def lora(x, W, b, A, B, alpha):
    s = alpha // A.shape[1]
    return x @ W + b + s * (x @ A) @ B, (x, W, A, B, s)


def lora_backward(dy, cache):
    x, W, A, B, s = cache
    return dy @ W.T + s * dy @ B.T @ A.T, {"lora_A": s * x.T @ (dy @ B.T), "lora_B": s * (x @ A).T @ dy}
''',
    ),
    (
        '10 alpha / O', '10',
        ['How often should that part count?'],
        '''
def lora(x, W, b, A, B, alpha):
    s = alpha / B.shape[1]
    return x @ W + b + s * (x @ A) @ B, (x, W, A, B, s)


def lora_backward(dy, cache):
    x, W, A, B, s = cache
    return dy @ W.T + s * dy @ B.T @ A.T, {"lora_A": s * x.T @ (dy @ B.T), "lora_B": s * (x @ A).T @ dy}
''',
    ),
    (
        '2x 10 dB with s twice, dx without W', '10',
        ['x goes two ways to y: which one is this?',
         'What does the h of the cache hold already?'],
        '''
def lora(x, W, b, A, B, alpha):
    s = alpha / A.shape[1]
    h = s * (x @ A)
    return x @ W + b + h @ B, (x, h, A, B, s)


def lora_backward(dy, cache):
    x, h, A, B, s = cache
    dh = s * dy @ B.T
    return dh @ A.T, {"lora_A": x.T @ dh, "lora_B": s * h.T @ dy}
''',
    ),
    (
        '2x 10 no b, no s in dx', '10',
        ['How often should that part count?'],
        '''
def lora(x, W, b, A, B, alpha):
    s = alpha / A.shape[1]
    return x @ W + s * (x @ A) @ B, (x, W, A, B, s)


def lora_backward(dy, cache):
    x, W, A, B, s = cache
    return dy @ W.T + dy @ B.T @ A.T, {"lora_A": s * x.T @ (dy @ B.T), "lora_B": s * (x @ A).T @ dy}
''',
    ),
    (
        '2x 10 dA with s twice, dB a mean', '10',
        ['How often does this path pass s in the forward?',
         'Is anything averaged over the rows in the forward?'],
        '''
def lora(x, W, b, A, B, alpha):
    s = alpha / A.shape[1]
    return x @ W + b + s * (x @ A) @ B, (x, W, A, B, s)


def lora_backward(dy, cache):
    x, W, A, B, s = cache
    return dy @ W.T + s * dy @ B.T @ A.T, {"lora_A": s * s * x.T @ (dy @ B.T),
        "lora_B": s * (x @ A).T @ dy / len(x)}
''',
    ),
    (
        '2x 10 s on both ways of dx, none in dB', '10',
        ['s stands on one of the two ways: was dy changed before its second use?',
         'Which constant multiplies this path?'],
        '''
def lora(x, W, b, A, B, alpha):
    s = alpha / A.shape[1]
    return x @ W + b + s * (x @ A) @ B, (x, W, A, B, s)


def lora_backward(dy, cache):
    x, W, A, B, s = cache
    return s * (dy @ W.T + dy @ B.T @ A.T), {"lora_A": s * x.T @ (dy @ B.T), "lora_B": (x @ A).T @ dy}
''',
    ),
    (
        '2x 11 divided by s, largest with its sign', '11',
        ['How often should that part count?',
         'And the entry that is furthest below 0?'],
        '''
def merge(W, A, B, s):
    return W + s * A @ B


def unmerge(merged, A, B, s):
    return merged - A @ B / s


def largest_difference(x, merged, W, A, B, s):
    return (x @ merged - (x @ W + s * (x @ A) @ B)).max()
''',
    ),
    (
        '11 the difference of the weights', '11',
        [],
        '''
def merge(W, A, B, s):
    return W + s * A @ B


def unmerge(merged, A, B, s):
    return merged - s * A @ B


def largest_difference(x, merged, W, A, B, s):
    return np.abs(merged - (W + s * A @ B)).max()
''',
    ),
    (
        '2x 11 added, a relative difference', '11',
        ['Which way does the change go?'],
        '''
def merge(W, A, B, s):
    return W + s * A @ B


def unmerge(merged, A, B, s):
    return merged + s * A @ B


def largest_difference(x, merged, W, A, B, s):
    y = x @ W + s * (x @ A) @ B
    return np.abs((x @ merged - y) / y).max()
''',
    ),
    (
        '2x 12 rows behind the text, dE a mean', '12',
        ['Which comes first, the virtual rows or the text?'],
        '''
def prepend(E, x, lengths):
    P, rows, start = len(E), [], 0
    for n in lengths:
        rows += [x[start : start + n], E]
        start += n
    return np.concatenate(rows), (P, lengths)


def prepend_backward(dx, cache):
    P, lengths = cache
    texts, tops, start = [], [], 0
    for n in lengths:
        tops.append(dx[start : start + P])
        texts.append(dx[start + P : start + P + n])
        start += P + n
    return np.concatenate(texts), {"prompt_embeddings": np.mean(tops, 0)}
''',
    ),
    (
        '12 each sequence begins P rows early', '12',
        ['What sets them apart from the others?'],
        '''
def prepend(E, x, lengths):
    P, rows, start = len(E), [], 0
    for n in lengths:
        rows += [E, x[start : start + n]]
        start += n
    return np.concatenate(rows), (P, lengths)


def prepend_backward(dx, cache):
    P, lengths = cache
    texts, dE, start = [], 0, 0
    for n in lengths:
        dE = dE + dx[start : start + P]
        texts.append(dx[start + P : start + P + n])
        start += n
    return np.concatenate(texts), {"prompt_embeddings": dE}
''',
    ),
    (
        '12 dE is added up in dy', '12',
        ['This line writes into an array that was given. Who else still reads it?'],
        '''
def prepend(E, x, lengths):
    P, rows, start = len(E), [], 0
    for n in lengths:
        rows += [E, x[start : start + n]]
        start += n
    return np.concatenate(rows), (P, lengths)


def prepend_backward(dx, cache):
    P, lengths = cache
    texts, dE, start = [], None, 0
    for n in lengths:
        if dE is None:
            dE = dx[:P]
        else:
            dE += dx[start : start + P]
        texts.append(dx[start + P : start + P + n])
        start += P + n
    return np.concatenate(texts), {"prompt_embeddings": dE}
''',
    ),
    (
        '12 all sequences as long as the first', '12',
        ['Which size is taken for granted?'],
        '''
def prepend(E, x, lengths):
    P, rows, start = len(E), [], 0
    for n in lengths:
        rows += [E, x[start : start + n]]
        start += n
    return np.concatenate(rows), (P, lengths)


def prepend_backward(dx, cache):
    P, lengths = cache
    n = lengths[0]
    starts = [i * (P + n) for i in range(len(lengths))]
    texts = [dx[s + P : s + P + m] for s, m in zip(starts, lengths)]
    return np.concatenate(texts), {"prompt_embeddings": sum(dx[s : s + P] for s in starts)}
''',
    ),
    (
        '2x 12 the text shifted, dE a mean', '12',
        ['Where do the virtual rows of sequence 2 begin?',
         'Is anything averaged over the sequences in the forward?'],
        '''
def prepend(E, x, lengths):
    P, rows, start = len(E), [], 0
    for n in lengths:
        rows += [E, x[start : start + n]]
        start += n
    return np.concatenate(rows), (P, lengths)


def prepend_backward(dx, cache):
    P, lengths = cache
    pieces = np.split(dx, np.cumsum([P + n for n in lengths])[:-1])
    dE = sum(q[:P] for q in pieces) / len(pieces)
    return np.concatenate([q[:-P] for q in pieces]), {"prompt_embeddings": dE}
''',
    ),
    (
        '2x 13 key and value exchanged, all keys alike', '13',
        ['Keys and values: which is which?',
         'Keys and values: which is which?'],
        '''
def prefix(K, V, P_k, P_v, lengths):
    K, cache = prepend(P_k, K, lengths)
    V, _ = prepend(P_v, V, lengths)
    return K, V, cache


def prefix_backward(dK, dV, cache):
    dK, dP_k = prepend_backward(dK, cache)
    dV, dP_v = prepend_backward(dV, cache)
    return dK, dV, {"prefix_key": dP_v, "prefix_value": dP_k}


def zero_share(s, P):
    return P / (P + len(s))
''',
    ),
    (
        '13 V with the prefix of K', '13',
        ['What sets them apart from the others?'],
        '''
def prefix(K, V, P_k, P_v, lengths):
    K, cache = prepend(P_k, K, lengths)
    V, _ = prepend(P_k, V, lengths)
    return K, V, cache


def prefix_backward(dK, dV, cache):
    dK, dP_k = prepend_backward(dK, cache)
    dV, dP_v = prepend_backward(dV, cache)
    return dK, dV, {"prefix_key": dP_k, "prefix_value": dP_v}


def zero_share(s, P):
    return P / (P + np.exp(s).sum())
''',
    ),
    (
        '13 the share of the text', '13',
        ["Whose share is asked for: the text's, or that of the zeros?"],
        '''
def prefix(K, V, P_k, P_v, lengths):
    K, cache = prepend(P_k, K, lengths)
    V, _ = prepend(P_v, V, lengths)
    return K, V, cache


def prefix_backward(dK, dV, cache):
    dK, dP_k = prepend_backward(dK, cache)
    dV, dP_v = prepend_backward(dV, cache)
    return dK, dV, {"prefix_key": dP_k, "prefix_value": dP_v}


def zero_share(s, P):
    e = np.exp(s)
    return e.sum() / (P + e.sum())
''',
    ),
    (
        '2x 14 1 - f, db_0 without the slope', '14',
        ['The slope of tanh is 1 - f^2: is the square there?',
         'Between f and E W_0 + b_0 stands an activation: what is its slope?'],
        '''
def encoder_backward(dtable, cache):
    E, f, W_0, W_2 = cache
    df = dtable @ W_2.T
    da = df * (1 - f)
    return {"E": da @ W_0.T, "W_0": E.T @ da, "b_0": df.sum(0), "W_2": f.T @ dtable, "b_2": dtable.sum(0)}
''',
    ),
    (
        '2x 14 dW_2 a mean, dE with its sign turned', '14',
        ['Where was the sign turned?',
         'Is anything averaged over the rows in the forward?'],
        '''
def encoder_backward(dtable, cache):
    E, f, W_0, W_2 = cache
    da = dtable @ W_2.T * (1 - f**2)
    return {"E": -da @ W_0.T, "W_0": E.T @ da, "b_0": da.sum(0), "W_2": f.T @ dtable / len(f),
        "b_2": dtable.sum(0)}
''',
    ),
    (
        '2x 15 dx with dh, dU without s', '15',
        ["Does x reach h' without f?",
         'Which constant multiplies this path?'],
        '''
def adapter_backward(dh, cache):
    u, a, D, U, s = cache
    df = s * dh
    da = df @ U.T * (a > 0)
    du = da @ D.T
    return dh + du, dh + du, {"down": u.T @ da, "down_bias": da.sum(0), "up": a.T @ dh, "up_bias": df.sum(0)}
''',
    ),
    (
        '15 a for a > 0', '15',
        [],
        '''
def adapter_backward(dh, cache):
    u, a, D, U, s = cache
    df = s * dh
    da = df @ U.T * a
    du = da @ D.T
    return dh + du, du, {"down": u.T @ da, "down_bias": da.sum(0), "up": a.T @ df, "up_bias": df.sum(0)}
''',
    ),
    (
        '2x 15 s on the residual, dd without the mask', '15',
        ["h reaches h' without f, too: how often?",
         'Where u D + d < 0 nothing came through forwards: and backwards?'],
        '''
def adapter_backward(dh, cache):
    u, a, D, U, s = cache
    df = s * dh
    da = df @ U.T * (a > 0)
    du = da @ D.T
    return df + du, du, {"down": u.T @ da, "down_bias": (df @ U.T).sum(0), "up": a.T @ df,
        "up_bias": df.sum(0)}
''',
    ),
    (
        '2x 15 s twice, dx with its sign turned', '15',
        ['How often does this path pass s in the forward?',
         'Where was the sign turned, and is a constant missing, or used twice?'],
        '''
def adapter_backward(dh, cache):
    u, a, D, U, s = cache
    df = s * dh
    da = s * df @ U.T * (a > 0)
    du = da @ D.T
    return dh + du, -du, {"down": u.T @ da, "down_bias": da.sum(0), "up": a.T @ df, "up_bias": df.sum(0)}
''',
    ),
    (
        '2x 16 dB with s twice, dm without n', '16',
        ['What does the h of the cache hold already?',
         'g = m / n: what is the derivative of g with respect to m?'],
        '''
def dora_backward(dy, cache):
    x, h, u, g, n, W, A, B, s = cache
    du = dy * g
    dh = s * du @ B.T
    return du @ W.T + dh @ A.T, {"lora_A": x.T @ dh, "lora_B": s * h.T @ du,
        "lora_magnitude_vector": (dy * u).sum(0)}
''',
    ),
    (
        '2x 16 no g, no way beside W', '16',
        ['x goes two ways to y: which one is this?',
         'y = u g + b: does dy pass g before it comes to A?'],
        '''
def dora_backward(dy, cache):
    x, h, u, g, n, W, A, B, s = cache
    dh = s * dy @ B.T
    return (dy * g) @ W.T, {"lora_A": x.T @ dh, "lora_B": h.T @ dy,
        "lora_magnitude_vector": (dy * u / n).sum(0)}
''',
    ),
    (
        '2x 16 s twice beside W, n in dB', '16',
        ['How often should that part count?',
         'g = m / n: is all of it there?'],
        '''
def dora_backward(dy, cache):
    x, h, u, g, n, W, A, B, s = cache
    du = dy * g
    dh = s * du @ B.T
    return du @ W.T + s * dh @ A.T, {"lora_A": x.T @ dh, "lora_B": h.T @ du * n,
        "lora_magnitude_vector": (dy * u / n).sum(0)}
''',
    ),
    (
        "2x 17 eps inside, the decay's sign", '17',
        ['Set g to 0: does p shrink, or grow?',
         'Where does eps stand: under the root, or beside it?'],
        '''
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    mh, vh = m / (1 - b1**t), v / (1 - b2**t)
    return p - lr * (mh / np.sqrt(vh + eps) - wd * p), m, v
''',
    ),
    (
        '17 written into m and v', '17',
        ['This line writes into an array that was given. Who else still reads it?'],
        '''
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    m *= b1
    m += (1 - b1) * g
    v *= b2
    v += (1 - b2) * g**2
    mh, vh = m / (1 - b1**t), v / (1 - b2**t)
    return p - lr * (mh / (np.sqrt(vh) + eps) + wd * p), m, v
''',
    ),
    (
        '17 the corrected m and v are kept', '17',
        ['- m keeps how much of the old, and takes how much of the new?',
         '- Is the m that is kept the corrected one?',
         '- v keeps how much of the old, and takes how much of the new?',
         '- Is the v that is kept the corrected one?'],
        '''
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    m, v = m / (1 - b1**t), v / (1 - b2**t)
    return p - lr * (m / (np.sqrt(v) + eps) + wd * p), m, v
''',
    ),
    (
        '2x 17 g for m, decay without lr', '17',
        ['Set g to 0: how far should p move?'],
        '''
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    return p - wd * p - lr * g / (np.sqrt(v / (1 - b2**t)) + eps), m, v
''',
    ),
    (
        '2x 17 |g| in v, no corrections', '17',
        ['v is a mean of what: |g|, or g^2?'],
        '''
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * np.abs(g)
    mh, vh = m / (1 - 0), v / (1 - 0)
    return p - lr * (mh / (np.sqrt(vh) + eps) + wd * p), m, v
''',
    ),
    (
        "2x 17 m without 1 - b1, the decay's sign", '17',
        ['- m keeps how much of the old, and takes how much of the new?',
         '- Is the m that is kept the corrected one?',
         'Set g to 0: does p shrink, or grow?'],
        '''
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    m, v = b1 * m + g, b2 * v + (1 - b2) * g**2
    mh, vh = m / (1 - b1**t), v / (1 - b2**t)
    return p - lr * (mh / (np.sqrt(vh) + eps) - wd * p), m, v
''',
    ),
    (
        '17 v never falls', '17',
        [],
        '''
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    m = b1 * m + (1 - b1) * g
    v = np.maximum(v, b2 * v + (1 - b2) * g**2)
    mh, vh = m / (1 - b1**t), v / (1 - b2**t)
    return p - lr * (mh / (np.sqrt(vh) + eps) + wd * p), m, v
''',
    ),
    (
        '2x 17 both signs', '17',
        ['Where was the sign turned?',
         'Set g to 0: does p shrink, or grow?'],
        '''
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    mh, vh = m / (1 - b1**t), v / (1 - b2**t)
    return p - lr * (-mh / (np.sqrt(vh) + eps) - wd * p), m, v
''',
    ),
    (
        '2x 18 the last one only, without g', '18',
        ['What sets them apart from the others?'],
        '''
def tied_backward(dz, cache):
    ids, a, wte, g = cache
    dwte = dz.T @ a
    dwte[ids] += dz @ wte
    return {"weight": dwte}
''',
    ),
    (
        '18 g on both parts', '18',
        [],
        '''
def tied_backward(dz, cache):
    ids, a, wte, g = cache
    dwte = np.zeros_like(wte)
    np.add.at(dwte, ids, dz @ wte)
    return {"weight": (dwte + dz.T @ a) * g}
''',
    ),
    (
        '2x 18 no g at all', '18',
        ['What is there one of per column?'],
        '''
def tied_backward(dz, cache):
    ids, a, wte, g = cache
    dwte = dz.T @ wte[ids]
    np.add.at(dwte, ids, dz @ wte)
    return {"weight": dwte}
''',
    ),
    (
        "2x 18 the head's part / N, the other's sign", '18',
        ['How often should that part count?'],
        '''
def tied_backward(dz, cache):
    ids, a, wte, g = cache
    dwte = dz.T @ a / len(ids)
    np.add.at(dwte, ids, -dz @ wte * g)
    return {"weight": dwte}
''',
    ),
    (
        '18 token 0 is taken for padding', '18',
        ['What sets them apart from the others?'],
        '''
def tied_backward(dz, cache):
    ids, a, wte, g = cache
    dwte = dz.T @ a
    keep = ids > 0
    np.add.at(dwte, ids[keep], (dz @ wte * g)[keep])
    return {"weight": dwte}
''',
    ),
    (
        '10 x in a global', '10',
        ['What is read that came in no argument: a global, say, that another call has written?'],
        '''
KEPT = {}


def lora(x, W, b, A, B, alpha):
    KEPT["x"], s = x, alpha / len(B)
    return x @ W + b + s * (x @ A) @ B, (W, A, B, s)


def lora_backward(dy, cache):
    x, (W, A, B, s) = KEPT["x"], cache
    dh = s * (dy @ B.T)
    return dy @ W.T + dh @ A.T, {"lora_A": x.T @ dh, "lora_B": s * (x @ A).T @ dy}
''',
    ),
    (
        '10 dropout in the forward', '10',
        ['What is read that came in no argument: a global, say, that another call has written?'],
        '''
rng = np.random.default_rng(0)


def lora(x, W, b, A, B, alpha):
    s, x = alpha / len(B), x * (rng.random(x.shape) > 0.1)
    h = s * (x @ A)
    return x @ W + b + h @ B, (x, h, W, A, B, s)
''',
    ),
    (
        '10 the names of dA and dB exchanged', '10',
        ['What sets dA apart from it?',
         'What sets dB apart from it?'],
        '''
def lora_backward(dy, cache):
    x, h, W, A, B, s = cache
    dh = s * (dy @ B.T)
    return dy @ W.T + dh @ A.T, {"lora_B": x.T @ dh, "lora_A": h.T @ dy}
''',
    ),
    (
        '11 unmerge takes off what merge has kept', '11',
        ['What is read that came in no argument: a global, say, that another call has written?'],
        '''
def merge(W, A, B, s):
    global change
    change = s * (A @ B)
    return W + change


def unmerge(merged, A, B, s):
    return merged - change
''',
    ),
    (
        '12 the sizes in a global', '12',
        ['What is read that came in no argument: a global, say, that another call has written?'],
        '''
def prepend(E, x, lengths):
    global P, rows
    P, rows = len(E), lengths
    texts = np.split(x, np.cumsum(lengths)[:-1])
    return np.concatenate([piece for text in texts for piece in (E, text)]), None


def prepend_backward(dx, cache):
    pieces = np.split(dx, np.cumsum([P + n for n in rows])[:-1])
    dE = sum(piece[:P] for piece in pieces)
    return np.concatenate([piece[P:] for piece in pieces]), {"prompt_embeddings": dE}
''',
    ),
    (
        '17 m and v in a global, from t = 1', '17',
        ['What is read that came in no argument: a global, say, that another call has written?'],
        '''
KEPT = {}


def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    m, v = KEPT.get("mv", (0, 0)) if t > 1 else (0 * p, 0 * p)
    m, v = KEPT["mv"] = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    return p - lr * (m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps) + wd * p), m, v
''',
    ),
    (
        '17 m and v in a global, for ever', '17',
        ['What is read that came in no argument: a global, say, that another call has written?'],
        '''
KEPT = {"m": 0, "v": 0}


def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    m = KEPT["m"] = b1 * KEPT["m"] + (1 - b1) * g
    v = KEPT["v"] = b2 * KEPT["v"] + (1 - b2) * g**2
    return p - lr * (m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps) + wd * p), m, v
''',
    ),
    (
        '17 t counted by the function', '17',
        ['What is read that came in no argument: a global, say, that another call has written?'],
        '''
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd, counted=[0]):
    counted[0] = t = counted[0] + 1 if m.any() else 1
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    return p - lr * (m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps) + wd * p), m, v
''',
    ),
    (
        '17 the decay is added', '17',
        ['Set g to 0: does p shrink, or grow?'],
        '''
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    return p - lr * (m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps) - wd * p), m, v
''',
    ),
    (
        '17 v comes back before m', '17',
        ['In which order does the docstring name them?'],
        '''
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    return p - lr * (m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps) + wd * p), v, m
''',
    ),
    (
        '17 p comes back last', '17',
        ['In which order does the docstring name them?'],
        '''
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    return m, v, p - lr * (m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps) + wd * p)
''',
    ),
    (
        '17 the corrections without t', '17',
        ['What is 1 - b1^t at the second step?'],
        '''
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    return p - lr * (m / (1 - b1) / (np.sqrt(v / (1 - b2)) + eps) + wd * p), m, v
''',
    ),
    (
        '12 dx from the last sequence to the first', '12',
        ['In which order do its rows stand?'],
        '''
def prepend_backward(dx, cache):
    P, lengths = cache
    pieces = np.split(dx, np.cumsum([P + n for n in lengths])[:-1])
    dE = sum(piece[:P] for piece in pieces)
    return np.concatenate([piece[P:] for piece in pieces[::-1]]), {"prompt_embeddings": dE}
''',
    ),
    (
        '12 dE from its last row to its first', '12',
        ['In which order do its rows stand?'],
        '''
def prepend_backward(dx, cache):
    P, lengths = cache
    pieces = np.split(dx, np.cumsum([P + n for n in lengths])[:-1])
    dE = sum(piece[:P] for piece in pieces)
    return np.concatenate([piece[P:] for piece in pieces]), {"prompt_embeddings": dE[::-1]}
''',
    ),
    (
        '08 dk from the last key to the first', '08',
        ['In which order do its rows stand?'],
        '''
def attention_backward(do, cache):
    q, k, v, p = cache
    H, _, D = q.shape
    do = heads(do, H)
    dv = p.transpose(0, 2, 1) @ do
    dp = do @ v.transpose(0, 2, 1)
    ds = p * (dp - (dp * p).sum(2, keepdims=True)) * D**-0.5
    dq, dk = ds @ k, ds.transpose(0, 2, 1) @ q
    return merged(dq), merged(dk)[::-1], merged(dv)
''',
    ),
    (
        '08 dv with its heads side by side', '08',
        ['In which order were the heads put together?'],
        '''
def attention_backward(do, cache):
    q, k, v, p = cache
    H, _, D = q.shape
    do = heads(do, H)
    dv = p.transpose(0, 2, 1) @ do
    dp = do @ v.transpose(0, 2, 1)
    ds = p * (dp - (dp * p).sum(2, keepdims=True)) * D**-0.5
    dq, dk = ds @ k, ds.transpose(0, 2, 1) @ q
    return merged(dq), merged(dk), dv.transpose(1, 2, 0).reshape(-1, H * D)
''',
    ),
    (
        '08 dk comes back first', '08',
        ['In which order does the docstring name them?'],
        '''
def attention_backward(do, cache):
    q, k, v, p = cache
    H, _, D = q.shape
    do = heads(do, H)
    dv = p.transpose(0, 2, 1) @ do
    dp = do @ v.transpose(0, 2, 1)
    ds = p * (dp - (dp * p).sum(2, keepdims=True)) * D**-0.5
    dq, dk = ds @ k, ds.transpose(0, 2, 1) @ q
    return merged(dk), merged(dq), merged(dv)
''',
    ),
    (
        '15 dx comes back first', '15',
        ['In which order does the docstring name them?'],
        '''
def adapter_backward(dh, cache):
    u, a, D, U, s = cache
    df = s * dh
    dz = (df @ U.T) * (a > 0)
    du = dz @ D.T
    return du, dh + du, {"down": u.T @ dz, "down_bias": dz.sum(0), "up": a.T @ df, "up_bias": df.sum(0)}
''',
    ),
    (
        "15 dh' handed on as dx", '15',
        ['What happens to it on the way?'],
        '''
def adapter_backward(dh, cache):
    u, a, D, U, s = cache
    df = s * dh
    dz = (df @ U.T) * (a > 0)
    du = dz @ D.T
    return dh + du, dh, {"down": u.T @ dz, "down_bias": dz.sum(0), "up": a.T @ df, "up_bias": df.sum(0)}
''',
    ),
    (
        '07 the mean is added', '07',
        ['With which sign should that part count?'],
        '''
def layer_norm_backward(dy, cache):
    xhat, rstd, w = cache
    g = dy * w
    dx = rstd * (g + g.mean(1, keepdims=True) - xhat * (g * xhat).mean(1, keepdims=True))
    return dx, {"weight": (dy * xhat).sum(0), "bias": dy.sum(0)}
''',
    ),
    (
        '07 w in db', '07',
        ['Where does w stand in the forward?'],
        '''
def layer_norm_backward(dy, cache):
    xhat, rstd, w = cache
    g = dy * w
    dx = rstd * (g - g.mean(1, keepdims=True) - xhat * (g * xhat).mean(1, keepdims=True))
    return dx, {"weight": (dy * xhat).sum(0), "bias": g.sum(0)}
''',
    ),
    (
        '13 the largest score taken off, from the text alone', '13',
        [],
        '''
def zero_share(s, P):
    e = np.exp(s - s.max())
    return P / (P + e.sum())
''',
    ),
    (
        '17 the move comes back, without p', '17',
        ['From where does p move?'],
        '''
def adamw(p, g, m, v, t, lr, b1, b2, eps, wd):
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    return -lr * (m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps) + wd * p), m, v
''',
    ),
]  # fmt: skip
