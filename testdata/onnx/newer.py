"""Writes state.npz, experts.npz, grouped.npz, blocks.npz, attention.npz and beside.npz: operators of
com.microsoft and of operator sets 23 to 25 that onnxruntime has from 1.25 on, or whose results changed until 1.32.

    python3 testdata/onnx/newer.py [KIND ...]

Made with onnxruntime 1.32.0; make.py says what the files hold. Each case is computed by the operator's
documented formula, too, in float64 (onnxruntime's docs/ContribOperators.md); where both differ nothing
is written. A case that onnxruntime refuses on the CPU has the formula's results alone, and says so.
"""

import sys

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from make import TYPES, Cases, run_ort, run_reference

assert onnxruntime.__version__ >= "1.32", "CausalConvWithState and LinearAttention are new in 1.32"
f2, f4 = np.float16, np.float32


def build(op, inputs, outs, consts=(), **attrs):
    """A graph of one node of com.microsoft. Inputs are arrays, None for those that are left out."""
    while inputs and inputs[-1] is None:
        inputs = inputs[:-1]
    names = ["" if v is None else f"x{i}" for i, v in enumerate(inputs)]
    feed = {k: v for i, (k, v) in enumerate(zip(names, inputs)) if k and i not in consts}
    infos = [helper.make_tensor_value_info(k, TYPES[v.dtype], v.shape) for k, v in feed.items()]
    fixed = [onnx.numpy_helper.from_array(inputs[i], names[i]) for i in consts if i < len(inputs) and inputs[i] is not None]
    outputs = [helper.make_empty_tensor_value_info(f"y{i}") for i in range(outs)]
    node = helper.make_node(op, names, [o.name for o in outputs], domain="com.microsoft", **attrs)
    graph = helper.make_graph([node], "g", infos, outputs, fixed)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10), feed


def add(c, op, inputs, formula, consts=(), refused=False, tolerance=1e-4, valid=None, **attrs):
    """Adds a case whose results formula, a list of arrays of float64, has by definition. valid is which of
    the first output's numbers are compared."""
    model, feed = build(op, inputs, len(formula), consts, **attrs)
    if valid is not None:
        model.graph.initializer.append(onnx.numpy_helper.from_array(valid, "valid"))
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(1, f4), "zero"))
        model.graph.node[0].output[0] = "all"
        model.graph.node.append(helper.make_node("Where", ["valid", "all", "zero"], ["y0"]))
    name = f"{op}-{len(c.names)}"
    dtype = next(v.dtype for v in inputs if v is not None)
    if refused:
        c.put(name, model, feed, [np.asarray(v, f4) for v in formula])
        return
    try:
        got = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feed)
    except Exception as e:
        c.left.append(f"{name} {attrs}: {str(e)[:200]}")
        return
    for g, w in zip(got, formula):
        near = 2e-2 if dtype == f2 else tolerance
        if g.shape != w.shape or not np.allclose(g, w, near, near * max(1, np.abs(w).max(initial=0))):
            c.left.append(f"{name} {attrs}: {[v.shape for v in inputs if v is not None]}: off by {np.abs(g - w).max()}")
            return
    c.put(name, model, feed, got if tolerance < 1e-3 else [np.asarray(v, f4) for v in formula])


def some(r, *choices):
    return choices[r.integers(len(choices))]


def floats(r, *shape):
    return r.standard_normal(shape).astype(f4)


def swish(v, alpha=1.0):
    return v / (1 + np.exp(-alpha * v))


def causal(r, c):
    batch, channels, length = (int(r.integers(1, n)) for n in (4, 7, 12))
    taps, dilation, last = int(r.integers(1, 6)), int(some(r, 1, 1, 2, 3)), int(r.integers(2))
    dims = [channels] if not last or r.integers(2) else [channels, int(r.integers(1, 4))]
    channels = int(np.prod(dims))
    keep = (taps - 1) * dilation
    shape = lambda n: [batch, n, *dims] if last else [batch, channels, n]  # noqa: E731
    x, w = floats(r, *shape(length)), floats(r, channels, 1, taps)
    bias, past = some(r, floats(r, channels), None), some(r, floats(r, *shape(keep)), None)
    flat = lambda v: np.moveaxis(v.reshape(batch, -1, channels), 1, 2) if last else v  # noqa: E731
    seen = np.concatenate([flat(past) if past is not None else np.zeros((batch, channels, keep)), flat(x)], 2)
    y = sum(w[None, :, 0, j, None].astype(float) * seen[:, :, j * dilation : j * dilation + length] for j in range(taps))
    if bias is not None:
        y = y + bias[None, :, None]
    state = seen[:, :, length:]
    activation = some(r, "none", "silu", "swish", None)
    if activation in ("silu", "swish"):
        y = swish(y)
    back = lambda v: np.moveaxis(v, 2, 1).reshape(shape(v.shape[2])) if last else v  # noqa: E731
    inputs = [x, w, bias, past]
    if r.integers(4) == 0:
        inputs = [v if v is None else v.astype(f2) for v in inputs]
    attrs = {k: v for k, v in dict(activation=activation, dilation=dilation, channels_last=last).items() if v}
    add(c, "CausalConvWithState", inputs, [back(y), back(state)], **attrs)


def linear(r, c):
    batch, length, keys, values = (int(r.integers(1, n)) for n in (4, 9, 9, 12))
    few, many = int(r.integers(1, 4)), int(r.integers(1, 4))
    heads, kv = some(r, (few * many, few), (few, few), (few, few * many))
    rule = some(r, "linear", "gated", "delta", "gated_delta", None)
    gated, delta = rule in ("gated", "gated_delta", None), rule in ("delta", "gated_delta", None)
    q, k, v = floats(r, batch, length, heads * keys), floats(r, batch, length, kv * keys), floats(r, batch, length, kv * values)
    k = k / f4(np.sqrt(keys))
    past = some(r, floats(r, batch, kv, keys, values), None)
    decay = -np.abs(floats(r, batch, length, int(some(r, kv, kv * keys)))) if gated else None
    beta = r.uniform(0, 1, (batch, length, int(some(r, kv, 1)))).astype(f4) if delta else None
    scale = float(some(r, 0.0, 0.3))
    s = np.zeros((batch, kv, keys, values)) if past is None else past.astype(float)
    y = np.zeros((batch, length, max(heads, kv), values))
    for t in range(length):
        kt, vt, qt = (a[:, t].reshape(batch, n, -1).astype(float) for a, n in ((k, kv), (v, kv), (q, heads)))
        if gated:
            s = s * np.exp(decay[:, t].reshape(batch, kv, -1).astype(float))[..., None]
        u = vt
        if delta:
            u = beta[:, t][..., None] * (vt - np.einsum("bhkv,bhk->bhv", s, kt))
        s = s + kt[..., None] * u[:, :, None]
        for h in range(max(heads, kv)):
            of = h * kv // max(heads, kv), h * heads // max(heads, kv)
            y[:, t, h] = np.einsum("bkv,bk->bv", s[:, of[0]], qt[:, of[1]]) * (scale or keys**-0.5)
    inputs = [q, k, v, past, decay, beta]
    if r.integers(4) == 0:
        inputs = [a if a is None or i == 3 and r.integers(2) else a.astype(f2) for i, a in enumerate(inputs)]
    attrs = dict(q_num_heads=heads, kv_num_heads=kv)
    if rule:
        attrs["update_rule"] = rule
    if scale:
        attrs["scale"] = scale
    add(c, "LinearAttention", inputs, [y.reshape(batch, length, -1), s], **attrs)


ACTIVATIONS = {
    "relu": lambda v: np.maximum(v, 0),
    "gelu": lambda v: 0.5 * v * (1 + np.tanh(np.sqrt(2 / np.pi) * (v + 0.044715 * v**3))),
    "silu": swish,
    "identity": lambda v: v,
}


def mixture(r, c, quantised):
    experts, rows = int(r.integers(1, 5)), int(r.integers(1, 9))
    bits, block = int(some(r, 2, 4, 8)), int(some(r, 0, 16, 32))
    unit = max(block, 8)
    width, inner = unit * int(r.integers(1, 3)), unit * int(r.integers(1, 3))
    kind = some(r, "relu", "gelu", "silu", "identity", "swiglu", "swiglu")
    fusion = int(some(r, 1, 1, 0, 2)) if kind == "swiglu" else 0
    refused = kind == "swiglu" and fusion != 1
    parts = 2 if kind == "swiglu" and fusion else 1
    third = kind == "swiglu" and fusion == 0
    k = int(r.integers(1, experts + 1))
    attrs = dict(k=k, activation_type=kind)
    alpha, beta, limit = 1.0, 0.0, np.inf
    if kind == "swiglu":
        attrs["swiglu_fusion"] = fusion
        if r.integers(2):
            alpha, beta, limit = 1.702, 1.0, float(some(r, 0.7, 7.0))
            attrs |= dict(activation_alpha=alpha, activation_beta=beta, swiglu_limit=limit)
    shape = some(r, [rows, width], [1, rows, width])
    x, scores = floats(r, *shape), floats(r, rows, experts)

    def weight(n, kk):
        """What the node reads of a product's weights, and their values [experts,n,kk]."""
        if not quantised:
            w = floats(r, experts, n, kk) / f4(np.sqrt(kk))
            return [w], w
        q = r.integers(0, 2**bits, (experts, n, kk))
        per = kk // block if block else 1
        scales = r.uniform(0.2, 1, (experts, n, per)).astype(f4) * f4(4 / 2**bits / np.sqrt(kk))
        zeros = some(r, r.integers(0, 2**bits, (experts, n, per)), None)
        point = 2 ** (bits - 1) if zeros is None else np.repeat(zeros, kk // per, 2)
        value = (q - point) * np.repeat(scales, kk // per, 2).astype(float)
        if zeros is not None:
            zeros = pack(zeros, bits) if block else pack(zeros[..., 0], bits)
        return [pack(q, bits), scales if block else scales[..., 0], zeros], value

    def bias(n):
        return floats(r, experts, n) if r.integers(2) else None

    (one, w1), b1 = weight(parts * inner, width), bias(parts * inner)
    (two, w2), b2 = weight(width, inner), bias(width)
    (three, w3), b3 = (weight(inner, width), bias(inner)) if third else (([None] * 3, None), None)
    flat = x.reshape(rows, width).astype(float)
    shares = np.exp(scores - scores.max(1, keepdims=True)).astype(float)
    shares /= shares.sum(1, keepdims=True)
    normalize = int(r.integers(2))
    attrs["normalize_routing_weights"] = normalize
    weights = None
    if quantised:
        weights = some(r, r.uniform(0.1, 1, scores.shape).astype(f4), None)
        if weights is None:
            normalize = 1
        else:
            shares = weights.astype(float)
    y = np.zeros((rows, width))
    for t in range(rows):
        top = np.argsort(-scores[t], kind="stable")[:k]
        share = shares[t][top] / (shares[t][top].sum() if normalize else 1)
        for e, s in zip(top, share):
            h = w1[e] @ flat[t] + (0 if b1 is None else b1[e])
            if kind == "swiglu":
                gate, line = {0: lambda: (h, w3[e] @ flat[t] + (0 if b3 is None else b3[e])),
                              1: lambda: (h[0::2], h[1::2]), 2: lambda: (h[:inner], h[inner:])}[fusion]()
                gate, line = np.minimum(gate, limit), np.clip(line, -limit, limit)
                h = swish(gate, alpha) * (line + beta)
            else:
                h = ACTIVATIONS[kind](h)
            y[t] += s * (w2[e] @ h + (0 if b2 is None else b2[e]))
    y = y.reshape(shape)
    if not quantised:
        inputs = [x, scores, *one, b1, *two, b2, three[0], b3]
        add(c, "MoE", inputs, [y], consts=[2, 3, 4, 5, 6, 7][: 6 if third else 4], refused=refused, **attrs)
        return
    inputs = [x, scores, one[0], one[1], b1, two[0], two[1], b2, three[0], three[1], b3, one[2], two[2], three[2], weights]
    attrs |= dict(expert_weight_bits=bits) | (dict(block_size=block) if block else {})
    # onnxruntime rounds rows to 8 bits where weights have 8 bits in blocks, and at times the weights anew
    # where they have 4: some of those are off by a hundredth.
    tolerance = 5e-2 if bits == 8 and block or bits == 4 else 1e-4
    consts = [2, 3, 5, 6, 8, 9, 11, 12, 13] if r.integers(4) else []
    add(c, "QMoE", inputs, [y], consts=consts, refused=refused, tolerance=tolerance, **attrs)


def pack(q, bits):
    """Values along the last axis to bytes, the first in the lowest bits."""
    per = 8 // bits
    q = np.concatenate([q, np.zeros((*q.shape[:-1], -q.shape[-1] % per), q.dtype)], -1)
    return sum(q[..., i::per].astype(np.uint8) << np.uint8(i * bits) for i in range(per)).astype(np.uint8)


def grouped(r, c):
    """GroupQueryAttention's attributes and inputs of 1.25 to 1.32."""
    kv, groups, size = int(r.integers(1, 4)), int(r.integers(1, 4)), 8 * int(r.integers(1, 4))
    heads, length, past = kv * groups, int(r.integers(1, 6)), int(some(r, 0, 3, 6))
    batch = int(r.integers(1, 4))
    chunked = batch > 1 or r.integers(3) == 0
    if chunked:
        past = max(past, length)
    counts = r.integers(1, length + 1, batch) if chunked else np.full(batch, length)
    pasts = r.integers(0, past - length + 1, batch) if chunked else np.full(batch, past)
    total = past if chunked else past + length
    q, k, v = floats(r, batch, length, heads * size), floats(r, batch, length, kv * size), floats(r, batch, length, kv * size)
    inputs = [q, k, v] + [None] * 14
    attrs = dict(num_heads=heads, kv_num_heads=kv)
    spread = lambda a: a.reshape(batch, length, -1, size).transpose(0, 2, 1, 3).astype(float)  # noqa: E731
    keys, values = spread(k), spread(v)
    bits, kind = int(some(r, 0, 0, 8, 4)), some(r, "PER_TENSOR", "PER_CHANNEL")
    caches = []
    for i, new in enumerate((keys, values)):
        if not bits:
            old = floats(r, batch, kv, past, size)
            stored, encode = old, lambda x: x
        else:
            scale = r.uniform(0.01, 0.05, 1 if kind == "PER_TENSOR" else (1, kv, 1, size)).astype(f4) * f4(256 / 2**bits)
            half = 2 ** (bits - 1)
            number = r.integers(-half, half, (batch, kv, past, size))
            old = number * scale
            encode = (lambda x, s=scale: np.round(x / s).astype(np.int8)) if bits == 8 else (  # noqa: E731
                lambda x, s=scale: pack((np.round(x / s) + 8).astype(np.int64), 4))
            stored = encode(old)
            new[:] = np.clip(np.round(new.astype(f4) / scale), -half, half - 1) * scale
            attrs["kv"[i] + "_quant_type"], inputs[12 + i] = kind, scale
        inputs[3 + i] = stored
        joined = np.zeros((batch, kv, max(total, past), size))
        for b in range(batch):
            joined[b, :, : pasts[b]] = old[b, :, : pasts[b]]
            joined[b, :, pasts[b] : pasts[b] + counts[b]] = new[b, :, : counts[b]]
        caches.append((joined, encode))
    if bits:
        attrs["kv_cache_bit_width"] = bits
    inputs[5], inputs[6] = (pasts + counts - 1).astype(np.int32), np.array(total, np.int32)
    if chunked:
        inputs[16] = counts.astype(np.int32)
    causal = 1 if chunked else int(r.integers(2))
    window = int(some(r, -1, 2, 4)) if causal else -1
    cap, sinks = float(some(r, 0.0, 2.0)), some(r, floats(r, heads), None)
    bias = floats(r, 1, int(some(r, 1, heads)), length, total) if not chunked and r.integers(3) == 0 else None
    inputs[10], inputs[11] = bias, sinks
    if sinks is None and r.integers(3) == 0:  # a score of 0 beside those of the keys
        attrs["smooth_softmax"], sinks = 1, np.zeros(heads)
    attrs |= {k: v for k, v, d in (("causal", causal, 1), ("local_window_size", window, -1), ("softcap", cap, 0.0)) if v != d}
    want = 0 if chunked else int(some(r, 0, 1, 2))  # the scores of padding are anything
    if want:
        attrs["qk_output"] = want
    y, shown = np.zeros((batch, length, heads, size)), np.zeros((batch, heads, length, total))
    for b in range(batch):
        for h in range(heads):
            for t in range(counts[b]):
                own, end = pasts[b] + t, pasts[b] + counts[b]
                s = caches[0][0][b, h // groups, :end] @ q[b, t, h * size : (h + 1) * size].astype(float) / np.sqrt(size)
                s = cap * np.tanh(s / cap) if cap else s
                if bias is not None:
                    s = s + bias[0, h % bias.shape[1], t, :end]
                at = np.arange(end)
                seen = (at <= own if causal else at >= 0) & (at > own - window if window > 0 else at >= 0)
                e = np.where(seen, np.exp(s), 0)
                e /= e.sum() + (np.exp(sinks[h]) if sinks is not None else 0)
                y[b, t, h] = e @ caches[1][0][b, h // groups, :end]
                shown[b, h, t, :end] = np.where(seen, s, 0) if want == 1 else e
    outputs = [y.reshape(batch, length, -1)] + [encode(x) for x, encode in caches] + ([shown] if want else [])
    valid = np.arange(length)[None, :, None] < counts[:, None, None]  # rows of padding are anything
    add(c, "GroupQueryAttention", inputs, outputs, valid=valid if chunked else None, **attrs)


def gathered(r, c):
    """GatherBlockQuantized: rows of zero points begin at a byte, and an index out of range gives zeros."""
    bits, block = int(some(r, 2, 4, 8)), int(some(r, 16, 32, 64))
    rows, between = int(r.integers(1, 9)), [int(r.integers(1, 4))] if r.integers(3) == 0 else []
    width = int(some(r, block * int(r.integers(1, 5)), 8 // bits * int(r.integers(1, 60))))
    count = -(-width // block)
    q = r.integers(0, 2**bits, (rows, *between, width))
    scales = r.uniform(0.01, 0.2, (rows, *between, count)).astype(f4)
    zeros = r.integers(0, 2**bits, scales.shape) if r.integers(2) else None
    index = r.integers(-rows - 1, rows + 1, some(r, [3], [2, 2])).astype(some(r, np.int32, np.int64))
    each = lambda v: np.repeat(v, block, -1)[..., :width]  # noqa: E731
    value = (q - (2 ** (bits - 1) if zeros is None else each(zeros))) * each(scales).astype(float)
    good = (index >= -rows) & (index < rows)
    y = value[np.where(good, index, 0)]
    y[~good] = 0
    inputs = [pack(q, bits), index, scales, None if zeros is None else pack(zeros, bits)]
    last = len(between) + 1
    add(c, "GatherBlockQuantized", inputs, [y], consts=[0, 2, 3], bits=bits, block_size=block, gather_axis=0,
        quantize_axis=int(some(r, last, -1)))


def omitted(r, c):
    """MatMulNBits whose weights are empty: a product of zeros."""
    k, n = 32 * int(r.integers(1, 4)), int(r.integers(1, 9))
    bias = some(r, floats(r, n), None)
    a = floats(r, 2, k)
    inputs = [a, np.zeros((n, 0, 16), np.uint8), floats(r, n, k // 32), None, None, bias]
    y = np.zeros((2, n)) + (0 if bias is None else bias)
    add(c, "MatMulNBits", inputs, [y], consts=[1, 2, 5], K=k, N=n, bits=4, block_size=32)


def blocks():
    c = Cases("blocks")
    for i in range(40):
        gathered(np.random.default_rng([6, i]), c)
    for i in range(4):
        omitted(np.random.default_rng([7, i]), c)
    c.save()


def of_onnx(built, opset):
    """Takes a node into the default domain."""
    model, feed = built
    model.graph.node[0].domain = ""
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", opset))
    return model, feed


def beside(r, c):
    """RMSNormalization and TensorScatter: ONNX's reference and onnxruntime agree, or one lacks the form."""
    if r.integers(2):
        shape = [int(r.integers(1, 6)) for _ in range(int(r.integers(1, 5)))]
        axis = int(r.integers(-len(shape), len(shape)))
        op, opset = "RMSNormalization", 23
        inputs = [floats(r, *shape), floats(r, *shape[axis:])]
        attrs = {"epsilon": float(some(r, 1e-5, 1e-2))} | ({"axis": axis} if axis != -1 or r.integers(2) else {})
    else:
        op, opset = "TensorScatter", 24
        rank, batch, length = int(r.integers(3, 5)), int(r.integers(1, 4)), int(r.integers(2, 8))
        axis = int(r.integers(1, rank))
        shape = [batch] + [int(r.integers(1, 4)) for _ in range(rank - 1)]
        shape[axis] = length
        new = list(shape)
        new[axis] = int(r.integers(1, length + 1))
        mode = some(r, "linear", "circular")
        most = length if mode == "circular" else length - new[axis] + 1
        inputs = [floats(r, *shape), floats(r, *new), some(r, r.integers(0, most, batch), None)]
        attrs = {"mode": mode, "axis": int(some(r, axis, axis - rank))}
    model, feed = of_onnx(build(op, inputs, 1, **attrs), opset)
    results = []
    for run in (run_reference, run_ort):
        try:
            results.append(run(model, feed)[0])
        except Exception as e:
            c.left.append(f"{op}-{len(c.names)} {attrs}: {run.__name__}: {str(e)[-120:]}")
    if len(results) == 2 and not np.allclose(*results, 1e-5, 1e-6):
        c.left.append(f"{op}-{len(c.names)} {attrs}: they differ")
    elif results:
        c.put(f"{op}-{len(c.names)}", model, feed, [np.ascontiguousarray(results[0])])


def besides():
    c = Cases("beside")
    for i in range(80):
        beside(np.random.default_rng([9, i]), c)
    c.save()


def standard(r, c):
    """Attention of the default domain, beside ONNX's reference, which rules where onnxruntime lacks a form."""
    opset = int(some(r, 23, 24, 25))
    batch, kv, groups, size, values = (int(r.integers(1, n)) for n in (4, 4, 4, 9, 9))
    heads, queries, keys = kv * groups, int(r.integers(1, 6)), int(r.integers(1, 8))
    past = int(some(r, 0, 0, 3)) if keys >= queries else 0
    flat = r.integers(2)
    shape = lambda h, n, d: (batch, n, h * d) if flat else (batch, h, n, d)  # noqa: E731
    inputs = [floats(r, *shape(heads, queries, size)), floats(r, *shape(kv, keys, size)), floats(r, *shape(kv, keys, values))]
    total = past + keys
    mask = None
    if r.integers(3):
        dims = some(r, [queries, total], [1, heads, queries, total], [batch, 1, queries, total])
        if opset > 23 and r.integers(4) == 0:
            dims[-1] = int(r.integers(1, total + 1))
        mask = r.integers(0, 3, dims) > 0 if r.integers(2) else floats(r, *dims)
        if r.integers(3) == 0:  # a row that sees nothing
            mask[..., 0, :] = False if mask.dtype == bool else -np.inf
    inputs.append(mask)
    inputs += [floats(r, batch, kv, past, size), floats(r, batch, kv, past, values)] if past else [None, None]
    if opset > 23 and not past and r.integers(3) == 0:
        inputs.append(r.integers(1, total + 1, batch))
    attrs = dict(is_causal=int(r.integers(2)))
    if flat:
        attrs |= dict(q_num_heads=heads, kv_num_heads=kv)
    if r.integers(3) == 0:
        attrs["softcap"] = 2.0
    if r.integers(3) == 0:
        attrs["scale"] = 0.3
    if opset > 24 and r.integers(2):
        attrs |= dict(left_window_size=int(r.integers(-1, 4)), right_window_size=int(r.integers(-1, 4)))
    outs = int(some(r, 1, 3, 4)) if len(inputs) < 7 else 1
    if outs == 4:
        attrs["qk_matmul_output_mode"] = int(r.integers(4))
    model, feed = of_onnx(build("Attention", inputs, outs, **attrs), opset)
    want = [np.ascontiguousarray(v) for v in run_reference(model, feed)]
    name = f"Attention-{len(c.names)}"
    try:
        got = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feed)
        if outs == 4 and attrs["qk_matmul_output_mode"] == 0 and "softcap" in attrs:
            want[3] = got[3]  # the reference bounds these scores, against the operator's text
        if not all(g.shape == w.shape and np.allclose(g, w, 1e-4, 1e-4, equal_nan=True) for g, w in zip(got, want)):
            c.left.append(f"{name} {opset} {attrs}: onnxruntime differs")
    except Exception as e:
        c.left.append(f"{name} {opset} {attrs}: {str(e)[-150:]}")
    if not any(np.isnan(w).any() for w in want):
        c.put(name, model, feed, want)


def standards():
    c = Cases("attention")
    for i in range(140):
        standard(np.random.default_rng([8, i]), c)
    c.save()


def state():
    c = Cases("state")
    for i in range(60):
        causal(np.random.default_rng([1, i]), c)
    for i in range(60):
        linear(np.random.default_rng([2, i]), c)
    c.save()


def experts():
    c = Cases("experts")
    for i in range(20):
        mixture(np.random.default_rng([3, i]), c, False)
    for i in range(44):
        mixture(np.random.default_rng([4, i]), c, True)
    c.save()


def attention():
    c = Cases("grouped")
    for i in range(70):
        grouped(np.random.default_rng([5, i]), c)
    c.save()


KINDS = dict(state=state, experts=experts, grouped=attention, blocks=blocks, attention=standards, beside=besides)

if __name__ == "__main__":
    for kind in sys.argv[1:] or KINDS:
        KINDS[kind]()
