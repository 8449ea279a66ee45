"""Random cases of the operators that ONNX Runtime adds to ONNX (com.microsoft), for cases.py."""

import numpy as np
from onnx import helper, numpy_helper

from cases import Case, floats, single, some

MS = "com.microsoft"


def ints(r, low, high):
    return int(r.integers(low, high))


def narrow(r, op, inputs, outputs, opset, tolerance=(1e-4, 2e-5), **attrs):
    """A case whose floats are float16 at times."""
    if r.integers(4) == 0:
        half = lambda v: v.astype(np.float16) if v.dtype == np.float32 else v
        inputs = [i and (i[0], half(i[1])) for i in inputs]
        tolerance = (max(2e-2, tolerance[0]), max(2e-2, tolerance[1]))
    return single(op, inputs, outputs, opset, tolerance=tolerance, domain=MS, **attrs)


def activation(op, **attrs):
    def make(r):
        shape = [ints(r, 1, 5) for _ in range(ints(r, 1, 4))] + [ints(r, 1, 40)]
        inputs = [("x", floats(r, *shape) * 3)]
        if op == "BiasGelu" or op == "FastGelu" and r.integers(2):
            inputs.append(("b", floats(r, shape[-1])))
        more = {k: float(r.uniform(0.5, 2)) for k in attrs}
        return single(op, inputs, 1, 17, domain=MS, **more)

    return make


def fused_matmul(r):
    batch = [ints(r, 1, 4) for _ in range(ints(r, 0, 3))]
    m, k, n = (ints(r, 1, 9) for _ in range(3))
    attrs = {"alpha": float(some(r, 1.0, r.uniform(-2, 2)))}
    shapes = []
    for name, (rows, cols) in zip("AB", ((m, k), (k, n))):
        full = batch + [rows, cols]
        if r.integers(2):
            attrs["trans" + name] = 1
            full[-1], full[-2] = full[-2], full[-1]
        shapes.append(full)
    if len(batch) > 0 and r.integers(3) == 0:
        for i, name in enumerate("AB"):
            attrs["transBatch" + name] = 1
            shapes[i] = [shapes[i][-2]] + shapes[i][:-2] + [shapes[i][-1]]
    return single(
        "FusedMatMul", [("a", floats(r, *shapes[0])), ("b", floats(r, *shapes[1]))], 1, 17, domain=MS, **attrs
    )


def skip_norm(r):
    batch, length, width = ints(r, 1, 4), ints(r, 1, 5), ints(r, 1, 40)
    skip = some(r, [batch, length, width], [1, length, width], [length, width])
    inputs = [
        ("x", floats(r, batch, length, width)),
        ("skip", floats(r, *skip)),
        ("gamma", floats(r, width)),
        some(r, ("beta", floats(r, width)), None),
        some(r, ("bias", floats(r, width)), None),
    ]
    case = single("SkipLayerNormalization", inputs, 1, 17, domain=MS, epsilon=float(some(r, 1e-5, 1e-2)))
    return with_sum(r, case)


def with_sum(r, case):
    """Asks for output 3, the sum, too."""
    if r.integers(2):
        case.model.graph.node[0].output.extend(["", "", "sum"])
        case.model.graph.output.append(helper.make_empty_tensor_value_info("sum"))
    return case


def skip_rms_norm(r):
    batch, length, width = ints(r, 1, 4), ints(r, 1, 5), ints(r, 1, 40)
    shape = some(r, [batch, length, width], [length, width])
    inputs = [
        ("x", floats(r, *shape)),
        ("skip", floats(r, *shape)),
        ("gamma", floats(r, width)),
        some(r, ("bias", floats(r, width)), None),
    ]
    return with_sum(
        r,
        single("SkipSimplifiedLayerNormalization", inputs, 1, 17, domain=MS, epsilon=float(some(r, 1e-5, 1e-2))),
    )


def rms_norm(r):
    shape = [ints(r, 1, 5) for _ in range(ints(r, 1, 4))]
    axis = int(r.integers(-len(shape), len(shape)))
    inputs = [("x", floats(r, *shape)), ("scale", floats(r, *shape[axis:]))]
    return single("SimplifiedLayerNormalization", inputs, ints(r, 1, 3), 17, axis=axis, epsilon=1e-5)


def angles(r, positions, half):
    a = r.uniform(0, 6, (positions, half)).astype(np.float32)
    return np.cos(a), np.sin(a)


def rotary(r):
    batch, heads, length, half = ints(r, 1, 4), ints(r, 1, 4), ints(r, 1, 5), ints(r, 1, 9)
    extra = int(some(r, 0, 0, 4))
    size, positions = 2 * half + extra, 16
    cos, sin = angles(r, positions, half)
    attrs = {"interleaved": ints(r, 0, 2)}
    if extra:
        attrs |= {"rotary_embedding_dim": 2 * half, "num_heads": heads}
    shape = some(r, [batch, length, heads * size], [batch, heads, length, size])
    where = some(r, np.array([ints(r, 0, 8)]), r.integers(0, positions, (batch, length)))
    return single(
        "RotaryEmbedding",
        [("x", floats(r, *shape)), ("positions", where.astype(np.int64)), ("cos", cos), ("sin", sin)],
        1, 17, domain=MS, **attrs,
    )


def rotary23(r):
    batch, heads, length, half = ints(r, 1, 4), ints(r, 1, 4), ints(r, 1, 5), ints(r, 1, 9)
    extra = int(some(r, 0, 0, 4))
    size, positions = 2 * half + extra, 16
    attrs = {"interleaved": ints(r, 0, 2), "num_heads": heads}
    if extra:
        attrs["rotary_embedding_dim"] = 2 * half
    shape = some(r, [batch, length, heads * size], [batch, heads, length, size])
    cos, sin = angles(r, positions, half)
    inputs = [("x", floats(r, *shape)), ("cos", cos), ("sin", sin)]
    if r.integers(2):
        inputs.append(("positions", r.integers(0, positions, (batch, length))))
    else:
        cos, sin = angles(r, batch * length, half)
        inputs[1:] = [("cos", cos.reshape(batch, length, half)), ("sin", sin.reshape(batch, length, half))]
    return single("RotaryEmbedding", inputs, 1, 23, **attrs)


def matmul_nbits(r):
    bits = int(some(r, 4, 4, 8, 2))
    block = int(some(r, 16, 32, 32, 64, 128, 256))
    k, n = int(some(r, ints(r, 1, 130), ints(r, 1, 600), block * ints(r, 1, 8))), ints(r, 1, 80)
    count = (k + block - 1) // block
    a = floats(r, *some(r, [k], [ints(r, 1, 20), k], [2, ints(r, 1, 7), k]))
    if a.ndim == 1:
        a = a[None]
    inputs = [
        ("a", a),
        ("b", r.integers(0, 256, (n, count, block * bits // 8)).astype(np.uint8)),
        ("scales", (r.uniform(0.01, 0.1, (n, count))).astype(np.float32)),
    ]
    kind = ints(r, 0, 3)
    if kind == 1:
        inputs.append(("zeros", r.integers(0, 256, (n, (count * bits + 7) // 8)).astype(np.uint8)))
    elif kind == 2:
        inputs.append(("zeros", r.uniform(0, 2**bits, (n, count)).astype(np.float32)))
    else:
        inputs.append(None)
    # With groups ONNX Runtime's results are not by its formula where zero points are packed, or for 2 bits.
    groups = ("groups", r.permutation(np.arange(k) // block).astype(np.int32))
    inputs.append(groups if bits == 4 and kind != 1 and r.integers(3) == 0 else None)
    if r.integers(2):
        inputs.append(("bias", floats(r, n)))
    consts = ("b", "scales", "zeros", "bias", "groups")
    level = int(some(r, 0, 1, 4))
    # Level 4 rounds the left operand to 8 bits, of a largest magnitude of about 3 by up to 0.012; sums of
    # 600 products with weights of a deviation of 0.25, or of 4 in 8 bits, then differ by 0.05, or 0.8, and
    # the worst of many by more.
    tolerance = (1e-2, 2 ** (bits - 6)) if level == 4 else (1e-3, 1e-3)
    return narrow(
        r, "MatMulNBits", inputs, 1, 17, tolerance, accuracy_level=level,
        consts=[c for c in consts if any(i and i[0] == c for i in inputs)],
        K=k, N=n, bits=bits, block_size=block,
    )


def matmul_bnb4(r):
    block, n = int(some(r, 16, 32, 64, 128)), ints(r, 1, 40)
    k = int(some(r, ints(r, 1, 130), block * ints(r, 1, 5)))  # blocks of rows, or across them
    return single(
        "MatMulBnb4",
        [
            ("a", floats(r, ints(r, 1, 12), k)),
            ("b", r.integers(0, 256, (n * k + 1) // 2).astype(np.uint8)),
            ("absmax", r.uniform(0.1, 2, (n * k + block - 1) // block).astype(np.float32)),
        ],
        1, 17, domain=MS, consts=["b", "absmax"], tolerance=(1e-3, 1e-4),
        K=k, N=n, block_size=block, quant_type=ints(r, 0, 2),
    )


def gather_blocks(r):
    bits = int(some(r, 2, 4, 8))
    block = int(some(r, 16, 32, 64))
    rows, width = ints(r, 1, 20), int(some(r, 8 // bits * ints(r, 1, 60), block * ints(r, 1, 5)))
    count = (width + block - 1) // block
    if count * bits % 8:  # ONNX Runtime 1.24 leaves no gap between rows of zero points
        return gather_blocks(r)
    inputs = [
        ("data", r.integers(0, 256, (rows, width * bits // 8)).astype(np.uint8)),
        ("index", r.integers(-rows, rows, some(r, [3], [2, 2], [])).astype(np.int64)),
        ("scales", r.uniform(0.01, 0.2, (rows, count)).astype(np.float32)),
    ]
    if r.integers(2):
        inputs.append(("zeros", r.integers(0, 256, (rows, (count * bits + 7) // 8)).astype(np.uint8)))
    names = ["data", "scales"] + (["zeros"] if len(inputs) > 3 else [])
    return narrow(
        r, "GatherBlockQuantized", inputs, 1, 21, consts=names,
        bits=bits, block_size=block, gather_axis=0, quantize_axis=int(some(r, 1, -1)),
    )


def pad_mask(r, batch, queries, keys):
    kind = ints(r, 0, 4)
    if kind == 0:
        return None
    if kind == 1:
        return ("mask", r.integers(1, keys + 1, batch).astype(np.int32))
    shape = [batch, keys] if kind == 2 else [batch, queries, keys]
    mask = r.integers(0, 2, shape).astype(np.int32)
    mask[..., 0] = 1
    return ("mask", mask)


def multi_head(r):
    batch, heads, queries, size = ints(r, 1, 4), ints(r, 1, 4), ints(r, 1, 6), 8 * ints(r, 1, 3)
    width = heads * size
    vwidth = heads * int(some(r, size, size, 8))
    past = int(some(r, 0, 0, 3)) if vwidth == width else 0
    keys = queries if past or r.integers(2) else ints(r, 1, 7)
    total = past + keys
    inputs = [("q", floats(r, batch, queries, width))]
    cross = r.integers(5) == 0
    if cross:
        inputs += [("k", floats(r, batch, heads, keys, size)), ("v", floats(r, batch, heads, keys, size))]
        vwidth, past, total = width, 0, keys
    else:
        inputs += [("k", floats(r, batch, keys, width)), ("v", floats(r, batch, keys, vwidth))]
    inputs.append(some(r, ("bias", floats(r, 2 * width + vwidth)), None))
    inputs.append(pad_mask(r, batch, queries, total))
    inputs.append(
        some(r, ("scores", floats(r, int(some(r, 1, batch)), int(some(r, 1, heads)), queries, total)), None)
    )
    outputs = 1
    if past:
        inputs += [("pk", floats(r, batch, heads, past, size)), ("pv", floats(r, batch, heads, past, size))]
        outputs = 3
    # With more keys than queries and no past, ONNX Runtime counts positions from the first key, or
    # where there is a mask from the last one.
    attrs = {"num_heads": heads, "unidirectional": ints(r, 0, 2) if total == past + queries else 0}
    if r.integers(3) == 0:
        attrs["scale"] = 0.3
    return narrow(r, "MultiHeadAttention", inputs, outputs, 17, **attrs)


def attention(r):
    batch, heads, length, size = ints(r, 1, 4), ints(r, 1, 4), ints(r, 1, 6), 8 * ints(r, 1, 3)
    width, inner = heads * size, ints(r, 1, 12)
    attrs = {"num_heads": heads, "unidirectional": ints(r, 0, 2)}
    vwidth = width
    past = int(some(r, 0, 0, 3))
    if not past and r.integers(3) == 0:
        vwidth = heads * 8
        attrs["qkv_hidden_sizes"] = [width, width, vwidth]
    inputs = [
        ("x", floats(r, batch, length, inner)),
        ("w", floats(r, inner, 2 * width + vwidth)),
        ("bias", floats(r, 2 * width + vwidth)),
        pad_mask(r, batch, length, past + length),
        ("past", floats(r, 2, batch, heads, past, size)) if past else None,
        some(r, ("scores", floats(r, int(some(r, 1, batch)), int(some(r, 1, heads)), length, past + length)), None),
    ]
    return single("Attention", inputs, 2 if past else 1, 17, domain=MS, consts=["w"], **attrs)


def group_query(r):
    batch, kv, groups, size = ints(r, 1, 3), ints(r, 1, 3), ints(r, 1, 4), 16 * ints(r, 1, 3)
    heads = kv * groups
    past = int(some(r, 0, 3, 7))
    length = int(some(r, 1, 1, 4)) if past else ints(r, 1, 6)
    if batch > 1 and past:
        length = 1  # several rows of a batch go on by one token only
    total = past + length
    ends = np.full(batch, total - 1)
    if batch > 1 and not past:
        ends[1:] = r.integers(0, total, batch - 1)
    elif batch > 1:
        ends[1:] = r.integers(1, total, batch - 1)
    packed = r.integers(3) == 0
    if packed:
        inputs = [("q", floats(r, batch, length, (heads + 2 * kv) * size)), None, None]
    else:
        inputs = [
            ("q", floats(r, batch, length, heads * size)),
            ("k", floats(r, batch, length, kv * size)),
            ("v", floats(r, batch, length, kv * size)),
        ]
    inputs += [
        ("pk", floats(r, batch, kv, past, size)),
        ("pv", floats(r, batch, kv, past, size)),
        ("ends", ends.astype(np.int32)),
        ("total", np.array(total, np.int32)),
    ]
    attrs = {"num_heads": heads, "kv_num_heads": kv}
    if r.integers(2):
        attrs |= {"do_rotary": 1, "rotary_interleaved": ints(r, 0, 2)}
        half = size // 2
        cos, sin = angles(r, 32, half)
        inputs += [("cos", cos), ("sin", sin)]
    else:
        inputs += [None, None]
    inputs.append(None)
    inputs.append(("scores", floats(r, 1, int(some(r, 1, heads)), length, total)) if r.integers(4) == 0 else None)
    if r.integers(4) == 0:
        inputs.append(("sinks", floats(r, heads)))
    if r.integers(3) == 0:
        attrs["local_window_size"] = ints(r, 1, 6)
    if r.integers(3) == 0:
        attrs["softcap"] = 2.0
    if r.integers(4) == 0:
        attrs["scale"] = 0.3
    case = narrow(r, "GroupQueryAttention", inputs, 3, 17, **attrs)
    # The results of padding are anything.
    valid = np.arange(length)[None] < (ends + 1 - past)[:, None] if not past else np.ones((batch, length), bool)
    graph, dtype = case.model.graph, case.inputs["q"].dtype
    graph.initializer.append(numpy_helper.from_array(valid[..., None], "valid"))
    graph.initializer.append(numpy_helper.from_array(np.zeros(1, dtype), "zero"))
    graph.node[0].output[0] = "all"
    graph.node.append(helper.make_node("Where", ["valid", "all", "zero"], ["y0"]))
    return case



def bytes_of(r, name, shape, signed, per=None):
    """A quantised tensor with its scale and zero point, as inputs; per: a scale and zero point for each."""
    kind, low = (np.int8, -128) if signed else (np.uint8, 0)
    scale = r.uniform(0.005, 0.05, per or ()).astype(np.float32)
    zero = r.integers(low + 100, low + 156, per or ()).astype(kind)
    return [(name, r.integers(low, low + 256, shape).astype(kind)), (f"{name}_scale", scale), (f"{name}_zero", zero)]


QUANT = (1e-6, 1)  # rounding at a tie


def quant_binary(op):
    def make(r):
        signed, shape = r.integers(2), [ints(r, 1, 5) for _ in range(ints(r, 1, 4))]
        other = [1 if r.integers(3) == 0 else d for d in shape][ints(r, 0, len(shape)):]
        inputs = bytes_of(r, "a", shape, signed) + bytes_of(r, "b", other, signed) + bytes_of(r, "c", [1], signed)[1:]
        return single(op, inputs, 1, 17, [n for n, _ in inputs if "_" in n], QUANT, MS)

    return make


def quant_unary(op, **attrs):
    def make(r):
        pool, signed = "Pool" in op, r.integers(2)
        shape = [ints(r, 1, 3), ints(r, 1, 5), ints(r, 5, 9), ints(r, 5, 9)] if pool else [ints(r, 1, 5) for _ in range(ints(r, 1, 4))]
        more = {k: float(r.uniform(0.05, 0.4)) for k in attrs}
        if op == "QLinearAveragePool":
            more = {"kernel_shape": [ints(r, 1, 4), ints(r, 1, 4)], "strides": [ints(r, 1, 3), ints(r, 1, 3)],
                    "count_include_pad": ints(r, 0, 2)}
        inputs = bytes_of(r, "x", shape, signed) + bytes_of(r, "y", [1], signed)[1:]
        return single(op, inputs, 1, 17, [n for n, _ in inputs if "_" in n], QUANT, MS, **more)

    return make


def quant_softmax(r):
    # ONNX Runtime 1.24.4 gives 0 of what is nearly 1
    inputs = bytes_of(r, "x", [ints(r, 1, 5) for _ in range(ints(r, 0, 3))] + [ints(r, 2, 9)], 0)
    inputs[1] = ("x_scale", inputs[1][1] / 20)
    inputs += [("y_scale", np.float32(1 / 255)), ("y_zero", np.uint8(0))]
    node = helper.make_node("QLinearSoftmax", [n for n, _ in inputs], ["y0"], domain=MS, axis=-1, opset=13)
    return Case([node], dict(inputs), ["y0"], 17, [n for n, _ in inputs if "_" in n], QUANT, (MS, 1))


def quant_concat(r):
    signed, shape, axis = r.integers(2), [ints(r, 1, 5) for _ in range(ints(r, 1, 4))], 0
    axis = ints(r, 0, len(shape))
    inputs = bytes_of(r, "y", [1], signed)[1:]
    for i in range(ints(r, 1, 4)):
        shape[axis] = ints(r, 1, 5)
        inputs += bytes_of(r, f"x{i}", shape, signed)
    return single("QLinearConcat", inputs, 1, 17, [n for n, _ in inputs if "_" in n], QUANT, MS, axis=axis)


def quant_where(r):
    signed, shape = r.integers(2), [ints(r, 1, 5) for _ in range(ints(r, 1, 4))]
    inputs = [("c", r.integers(2, size=shape).astype(bool))] + bytes_of(r, "x", shape, signed) + bytes_of(r, "y", shape[-1:], signed)
    inputs += bytes_of(r, "z", [1], signed)[1:]
    return single("QLinearWhere", inputs, 1, 17, [n for n, _ in inputs if "_" in n], QUANT, MS)


def quant_gemm(r):
    m, k, n, signed = ints(r, 1, 9), ints(r, 4, 30), ints(r, 1, 20), r.integers(2)
    ta, tb, alpha, own = ints(r, 0, 2), ints(r, 0, 2), float(some(r, 1.0, 0.5)), [n] if r.integers(2) else None
    inputs = bytes_of(r, "a", [k, m] if ta else [m, k], signed)
    weights = bytes_of(r, "b", [n, k] if tb else [k, n], 1, own)
    inputs += [(weights[0][0], weights[0][1] // 2), weights[1], (weights[2][0], weights[2][1] * 0)]  # 7 bits: exact everywhere
    inputs.append(("c", r.integers(-500, 500, (n,)).astype(np.int32)) if r.integers(2) else None)
    floating = r.integers(3) == 0
    if not floating:
        inputs += [("y_scale", np.float32(r.uniform(0.02, 0.2))), bytes_of(r, "y", [1], signed)[2]]
    consts = [i[0] for i in inputs if i and (i[0] in ("b", "c") or "_" in i[0])]
    return single("QGemm", inputs, 1, 17, consts, (1e-3, 1e-3) if floating else QUANT, MS, transA=ta, transB=tb, alpha=alpha)


def quant_attention(r):
    batch, length, heads, size, wide = ints(r, 1, 3), ints(r, 1, 7), ints(r, 1, 4), ints(r, 2, 6), ints(r, 3, 12)
    hidden, signed = heads * size, r.integers(2)
    x = bytes_of(r, "x", [batch, length, wide], 0)
    w = bytes_of(r, "w", [wide, 3 * hidden], signed, [3 * hidden] if r.integers(2) else None)
    mask = ("mask", r.integers(1, length + 1, (batch,)).astype(np.int32)) if r.integers(2) else None
    # 7 bits, symmetric: what ONNX Runtime multiplies alike on all processors
    kind = w[0][1].dtype.type
    w = [("w", (w[0][1] // 2).astype(kind)), w[1], ("w_zero", (w[2][1] * 0 + (0 if signed else 64)).astype(kind))]
    inputs = [x[0], w[0], ("bias", floats(r, 3 * hidden) * 0.1), x[1], w[1], mask, x[2], w[2]]
    consts = [i[0] for i in inputs if i and i[0] not in ("x", "mask")]
    return single("QAttention", inputs, 1, 17, consts, (2e-3, 2e-3), MS, num_heads=heads, unidirectional=ints(r, 0, 2))


MAKERS = {
    "BiasGelu": activation("BiasGelu"),
    "FastGelu": activation("FastGelu"),
    "MicrosoftGelu": activation("Gelu"),
    "QuickGelu": activation("QuickGelu", alpha=1),
    "FusedMatMul": fused_matmul,
    "SkipLayerNormalization": skip_norm,
    "SkipSimplifiedLayerNormalization": skip_rms_norm,
    "SimplifiedLayerNormalization": rms_norm,
    "MicrosoftRotaryEmbedding": rotary,
    "RotaryEmbedding": rotary23,
    "MatMulNBits": matmul_nbits,
    "MatMulBnb4": matmul_bnb4,
    "GatherBlockQuantized": gather_blocks,
    "MultiHeadAttention": multi_head,
    "MicrosoftAttention": attention,
    "GroupQueryAttention": group_query,
    "QLinearAdd": quant_binary("QLinearAdd"),
    "QLinearMul": quant_binary("QLinearMul"),
    "QLinearSigmoid": quant_unary("QLinearSigmoid"),
    "QLinearLeakyRelu": quant_unary("QLinearLeakyRelu", alpha=0),
    "QLinearGlobalAveragePool": quant_unary("QLinearGlobalAveragePool"),
    "QLinearAveragePool": quant_unary("QLinearAveragePool"),
    "QLinearSoftmax": quant_softmax,
    "QLinearConcat": quant_concat,
    "QLinearWhere": quant_where,
    "QGemm": quant_gemm,
    "QAttention": quant_attention,
}
