"""Writes graphs of one operator with random attributes, and what ONNX Runtime computes from them.

    python cases.py FOLDER [COUNT [OPERATOR...]]

FOLDER gets NAME.onnx, NAME.in.npz and NAME.out.npz for each case, and cases.json with the name and
the tolerances of each. ONNX Runtime runs the graphs as they are written, without optimisation; what
it refuses is left out, and counted on standard output. Seeds are fixed.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


class Case:
    """A graph of nodes with its inputs. Arrays named in consts become initializers."""

    def __init__(
        self, nodes, inputs, outputs, opset, consts=(), tolerance=(1e-4, 2e-5), custom=None
    ):
        self.inputs = {k: v for k, v in inputs.items() if k not in consts}
        kind = lambda a: helper.np_dtype_to_tensor_dtype(a.dtype)
        graph = helper.make_graph(
            nodes,
            "case",
            [
                helper.make_tensor_value_info(k, kind(v), [None] * v.ndim)
                for k, v in self.inputs.items()
            ],
            [helper.make_empty_tensor_value_info(k) for k in outputs],
            [numpy_helper.from_array(inputs[k], k) for k in consts],
        )
        sets = [helper.make_opsetid("", opset)]
        if custom:
            sets.append(helper.make_opsetid(*custom))
        self.model = helper.make_model(graph, opset_imports=sets, ir_version=8)
        self.tolerance = tolerance


def single(
    op, inputs, outputs, opset, consts=(), tolerance=(1e-4, 2e-5), domain="", version=1, **attrs
):
    """A case of one node. Inputs are (name, array), None for one that is left out. version is that
    of the domain's operator set."""
    names = [i[0] if i else "" for i in inputs]
    while names and not names[-1]:
        names.pop()
    outs = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, outs, domain=domain, **attrs)
    return Case([node], dict(i for i in inputs if i), outs, opset, consts, tolerance, domain and (domain, version))


def some(r, *choices):
    return choices[r.integers(len(choices))]


def floats(r, *shape):
    return r.standard_normal(shape).astype(np.float32)


def resize(r):
    opset = int(some(r, 10, 11, 13, 18, 19))
    mode = some(r, "nearest", "linear", "linear", "cubic" if opset > 10 else "nearest")
    rank = int(some(r, 4, 4, 4, 3 if mode == "nearest" else 2, 5 if mode != "cubic" else 4))
    spatial = rank if rank < 4 else rank - 2
    shape = [int(v) for v in r.integers(1, 9, rank)]
    dtype = some(r, np.float32, np.float32, np.float32, np.uint8, np.int8, np.int32)
    if mode == "cubic" or opset == 10:
        dtype = np.float32
    x = (floats(r, *shape) * 50 + 60).astype(dtype)
    axes = list(range(rank - spatial, rank))
    inputs, attrs = [("x", x)], {"mode": mode}
    if opset > 10:
        modes = [
            "half_pixel",
            "pytorch_half_pixel",
            "align_corners",
            "asymmetric",
            "tf_crop_and_resize",
        ]
        if opset >= 19:
            modes.append("half_pixel_symmetric")
        if opset < 13 and mode == "nearest":
            modes.append("tf_half_pixel_for_nn")
        attrs["coordinate_transformation_mode"] = some(r, *modes)
        if mode == "nearest":
            attrs["nearest_mode"] = some(
                r, "round_prefer_floor", "round_prefer_ceil", "floor", "ceil"
            )
        if mode == "cubic":
            attrs["cubic_coeff_a"] = float(some(r, -0.75, -0.5))
            attrs["exclude_outside"] = int(r.integers(2))
    scales = [some(r, 0.5, 2.0, 3.0, 1.5, 0.6, 1.0, r.uniform(0.4, 3)) for _ in axes]
    sizes = [
        int(max(1, np.floor(np.float32(s) * np.float32(shape[a])))) for s, a in zip(scales, axes)
    ]
    by_size = opset > 10 and r.integers(2) == 0
    if not by_size:  # a result of no element tells nothing
        scales = [
            s if np.float32(s) * np.float32(shape[a]) >= 1 else 1.0 for s, a in zip(scales, axes)
        ]
    full = opset < 18 or r.integers(2) == 0
    named = list(range(rank)) if full else axes
    # ONNX Runtime leaves an axis as it is where its scale is 1, whatever the region, and a tensor
    # where its shape does not change, whatever the scales; the specification does neither.
    kept = [
        int(np.floor(np.float32(s) * np.float32(shape[a]))) == shape[a]
        for s, a in zip(scales, axes)
    ]
    crops = attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    if all(kept) and any(s != 1 for s in scales) and not by_size or crops and any(kept):
        return resize(r)
    roi = None
    if crops:
        start = {a: r.uniform(-0.2, 0.5) for a in axes}
        end = {a: r.uniform(0.5, 1.2) for a in axes}
        values = [start.get(a, 0) for a in named] + [end.get(a, 1) for a in named]
        roi = ("roi", np.array(values, np.float32))
        attrs["extrapolation_value"] = 7.0
    if not full:
        attrs["axes"] = named
    # It clips int8 as if it were uint8 there.
    if (
        opset >= 18
        and mode != "nearest"
        and rank == 4
        and dtype in (np.float32, np.uint8)
        and not crops
    ):
        attrs["antialias"] = int(r.integers(2))
    place = dict(zip(axes, scales))
    s = ("scales", np.array([place.get(a, 1) for a in named], np.float32))
    if opset == 10:
        inputs.append(s)
    elif by_size:
        place = dict(zip(axes, sizes))
        inputs += [
            roi,
            None,
            ("sizes", np.array([place.get(a, shape[a]) for a in named], np.int64)),
        ]
        if opset < 13:
            inputs[1] = inputs[1] or ("roi", np.zeros(0, np.float32))
            inputs[2] = ("scales", np.zeros(0, np.float32))
        if opset >= 18 and not full and not crops:
            attrs["keep_aspect_ratio_policy"] = some(r, "stretch", "not_larger", "not_smaller")
    else:
        inputs += [roi or ("roi", np.zeros(0, np.float32)), s]
    tolerance = (1e-4, 2e-4) if dtype == np.float32 else (0, 1)
    consts = [i[0] for i in inputs[1:] if i]
    return single("Resize", inputs, 1, opset, consts, tolerance, **attrs)


def resize_reference(r):
    """Axes of scale 1 in a region, and shapes that do not change: ONNX Runtime leaves them as they
    are. onnx's reference implementation computes these."""
    mode = some(r, "nearest", "linear", "cubic")
    shape = [1, 1, *(int(v) for v in r.integers(2, 6, 2))]
    attrs = {"mode": mode, "axes": [3, 2] if r.integers(2) else [2, 3]}
    attrs["coordinate_transformation_mode"] = some(
        r,
        "half_pixel",
        "half_pixel_symmetric",
        "asymmetric",
        "tf_crop_and_resize",
        "tf_crop_and_resize",
    )
    if mode == "nearest":
        attrs["nearest_mode"] = some(r, "round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    else:
        attrs["antialias"] = int(r.integers(2))
        attrs["exclude_outside"] = int(r.integers(2))
    inputs = [("x", floats(r, *shape)), None]
    if attrs["coordinate_transformation_mode"] == "tf_crop_and_resize":
        inputs[1] = ("roi", np.float32([*r.uniform(-0.1, 0.4, 2), *r.uniform(0.6, 1.1, 2)]))
        attrs["extrapolation_value"] = 7.0
    if r.integers(2):
        sizes = [shape[a] if r.integers(2) else int(r.integers(2, 9)) for a in attrs["axes"]]
        inputs += [None, ("sizes", np.array(sizes, np.int64))]
        if not inputs[1]:
            attrs["keep_aspect_ratio_policy"] = some(r, "stretch", "not_larger", "not_smaller")
    else:
        scales = [1.0 if r.integers(2) else r.uniform(0.6, 1.4) for _ in range(2)]
        inputs.append(("scales", np.array(scales, np.float32)))
        # A fractional length counts there, where the specification has the length of the result.
        if any(float(np.float32(s) * shape[a]) % 1 for s, a in zip(scales, attrs["axes"])):
            if attrs["coordinate_transformation_mode"] == "tf_crop_and_resize":
                return resize_reference(r)
    consts = [i[0] for i in inputs[1:] if i]
    return single("Resize", inputs, 1, 19, consts, (1e-3, 1e-4), **attrs)


def upsample(r):
    opset = int(some(r, 7, 9))
    x, mode = floats(r, *r.integers(1, 7, 4)), some(r, "nearest", "linear")
    scales = np.array([1, 1, 2, r.uniform(1, 3)], np.float32)
    if opset == 7:
        return single("Upsample", [("x", x)], 1, 7, mode=mode, scales=[float(s) for s in scales])
    return single("Upsample", [("x", x), ("s", scales)], 1, 9, ["s"], mode=mode)


ACTIVATIONS = {
    "Relu": 0,
    "Tanh": 0,
    "Sigmoid": 0,
    "Affine": 3,
    "LeakyRelu": 1,
    "ThresholdedRelu": 1,
    "ScaledTanh": 3,
    "HardSigmoid": 3,
    "Elu": 1,
    "Softsign": 0,
    "Softplus": 0,
}


def recurrent(op, gates, functions):
    def make(r):
        t, b, i, h = [int(some(r, 1, r.integers(1, 6), r.integers(1, n))) for n in (8, 5, 24, 40)]
        direction = some(r, "forward", "reverse", "bidirectional")
        d = 1 + (direction == "bidirectional")
        attrs = {"direction": direction, "hidden_size": h}
        if r.integers(3) == 0:
            attrs["clip"] = float(r.uniform(0.2, 1))
        if r.integers(3) == 0:
            names = [some(r, *ACTIVATIONS) for _ in range(d * functions)]
            if op == "RNN":  # whose lists of parameters ONNX Runtime reads by direction
                names = names[:1] * d
            attrs["activations"] = names
            # ONNX Runtime takes 0 for these, not the defaults of the operators of their names.
            odd = {"Affine", "ScaledTanh", "ThresholdedRelu"} & set(names)
            given = odd or op == "RNN" or r.integers(2)
            for bit, parameter in (1, "activation_alpha"), (2, "activation_beta"):
                values = [float(r.uniform(0.1, 1)) for n in names if ACTIVATIONS[n] & bit]
                if given and values:
                    attrs[parameter] = values
        # ONNX Runtime's RNN leaves memory unset after a sequence of no steps.
        lengths = r.integers(0 if op != "RNN" and r.integers(4) == 0 else 1, t + 1, b).astype(
            np.int32
        )
        if r.integers(2):
            lengths[r.integers(b)] = t
        maybe = lambda name, a: (name, a) if r.integers(2) else None
        inputs = [
            ("x", floats(r, t, b, i)),
            ("w", floats(r, d, gates * h, i) * 0.4),
            ("r", floats(r, d, gates * h, h) * 0.4),
            maybe("b", floats(r, d, 2 * gates * h) * 0.4),
            maybe("lengths", lengths),
            maybe("h", floats(r, d, b, h)),
        ]
        if op == "LSTM":
            inputs += [maybe("c", floats(r, d, b, h)), maybe("p", floats(r, d, 3 * h) * 0.5)]
            if r.integers(6) == 0:
                attrs["input_forget"] = 1
        if op == "GRU":
            attrs["linear_before_reset"] = int(r.integers(2))
        consts = ["w", "r"] if r.integers(2) else []
        return single(
            op, inputs, 3 if op == "LSTM" else 2, int(some(r, 7, 14)), consts, (1e-3, 1e-4), **attrs
        )

    return make


def dynamic_lstm(r):
    t, b, i, h = int(r.integers(1, 6)), 1, int(r.integers(1, 24)), int(r.integers(1, 40))
    direction = some(r, "forward", "reverse", "bidirectional")
    d = 1 + (direction == "bidirectional")
    inputs = [("x", floats(r, t, b, i))]
    scales = []
    # int8 weights of seven bits: on processors without VNNI ONNX Runtime adds pairs of products
    # with uint8 in 16 bits, which larger ones saturate.
    dtype, low, high = some(r, (np.int8, -64, 64), (np.uint8, 0, 255))
    for name, k in (("w", i), ("r", h)):
        v = r.integers(low, high, (d, k, 4 * h)).astype(dtype)
        inputs.append((name, v))
        shape = some(r, (d,), (d, 4 * h))
        zero = np.full(shape, 0 if dtype == np.int8 else 128, dtype)
        scales += [
            (name + "s", r.uniform(0.002, 0.006, shape).astype(np.float32)),
            (name + "z", zero),
        ]
    inputs += [("b", floats(r, d, 8 * h) * 0.3), None, None, None, None, *scales]
    if r.integers(2):
        inputs[5], inputs[6] = ("h", floats(r, d, b, h)), ("c", floats(r, d, b, h))
    consts = [x[0] for x in inputs[1:] if x and x[0] not in ("h", "c")]
    return single(
        "DynamicQuantizeLSTM",
        inputs,
        3,
        13,
        consts,
        (1e-2, 1e-3),
        "com.microsoft",
        direction=direction,
        hidden_size=h,
    )


def grid_sample(r):
    opset = int(some(r, 16, 20))
    dims = 2 if opset == 16 else int(some(r, 2, 3))
    names = ("bilinear", "nearest", "bicubic") if opset == 16 else ("linear", "nearest", "cubic")
    mode = some(r, *(names if dims == 2 else names[:2]))
    padding = some(r, "zeros", "border", "reflection")
    if mode.endswith("cubic") and padding == "border":
        padding = "zeros"  # ONNX Runtime clamps coordinates that lie inside, too
    n, c = r.integers(1, 4, 2)
    x = floats(r, n, c, *r.integers(1, 7, dims))
    grid = r.uniform(-1.6, 1.6, (n, *r.integers(1, 6, dims), dims)).astype(np.float32)
    return single(
        "GridSample",
        [("x", x), ("grid", grid)],
        1,
        opset,
        (),
        (1e-3, 1e-4),
        mode=mode,
        padding_mode=padding,
        align_corners=int(r.integers(2)),
    )


def reverse_sequence(r):
    shape, time = r.integers(1, 6, int(some(r, 2, 3, 4))), int(r.integers(2))
    x = (floats(r, *shape) * 9).astype(some(r, np.float32, np.int64, np.uint8))
    lengths = r.integers(1, shape[time] + 1, shape[1 - time])
    return single(
        "ReverseSequence", [("x", x), ("n", lengths)], 1, 10, time_axis=time, batch_axis=1 - time
    )


def lp_normalization(r):
    rank = int(r.integers(1, 5))
    x = floats(r, *r.integers(1, 6, rank)) * np.float32(r.integers(0, 4) > 0)
    return single(
        "LpNormalization",
        [("x", x)],
        1,
        12,
        axis=int(r.integers(-rank, rank)),
        p=int(some(r, 1, 2)),
    )


def unique(r):
    rank = int(r.integers(1, 4))
    x = r.integers(0, 3, r.integers(1, 5, rank)).astype(some(r, np.float32, np.int64, np.int8))
    attrs = {"sorted": int(r.integers(2))}
    if r.integers(2):
        attrs["axis"] = int(r.integers(-rank, rank))
    return single("Unique", [("x", x)], 4, 11, **attrs)


def dft(r):
    opset = int(some(r, 17, 20))
    parts, inverse = int(some(r, 1, 2)), int(r.integers(2))
    one = int(parts == 1 and not inverse and r.integers(2))
    rank = int(some(r, 3, 4))
    shape = [int(v) for v in r.integers(1, 20, rank - 1)] + [parts]
    axis = int(r.integers(1, rank - 1))
    inputs = [("x", floats(r, *shape)), None]
    if r.integers(2):
        inputs[1] = ("n", np.array(r.integers(1, 24), np.int64))
    attrs = {"inverse": inverse, "onesided": one}
    if opset == 17:
        attrs["axis"] = axis
    else:
        inputs.append(("axis", np.array(axis, np.int64)))
    return single("DFT", inputs, 1, opset, (), (1e-3, 1e-3), **attrs)


def stft(r):
    length = int(r.integers(20, 60))
    frame = int(some(r, 8, 16, 5, 12))
    inputs = [
        ("x", floats(r, r.integers(1, 3), length, 1)),
        ("step", np.array(r.integers(1, 9), np.int64)),
        None,
        None,
    ]
    which = r.integers(3)
    if which != 1:
        inputs[2] = ("w", r.uniform(0, 1, frame).astype(np.float32))
    if which != 0:
        inputs[3] = ("n", np.array(frame, np.int64))
    return single("STFT", inputs, 1, 17, (), (1e-3, 1e-3), onesided=int(r.integers(2)))


def node(op, inputs, outputs, **attrs):
    return helper.make_node(op, inputs.split(), outputs.split(), **attrs)


def value(name, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, None if kind == FLOAT else [])


def graph(nodes, inputs, outputs):
    return helper.make_graph(nodes, "sub", inputs, outputs)


def branches(r):
    """If in If, whose branches take names from around and give other shapes."""
    inner = node(
        "If",
        "second",
        "b",
        then_branch=graph([node("Concat", "x h", "t", axis=0)], [], [value("t")]),
        else_branch=graph([node("Mul", "h h", "e")], [], [value("e")]),
    )
    outer = node(
        "If",
        "first",
        "y0 y1",
        then_branch=graph([node("Add", "x c", "h"), inner], [], [value("b"), value("h")]),
        else_branch=graph(
            [node("Neg", "x", "n"), node("Exp", "n", "m")], [], [value("n"), value("m")]
        ),
    )
    n, m = (int(v) for v in r.integers(1, 5, 2))
    inputs = {
        "x": floats(r, n, m),
        "c": floats(r, m),
        "first": np.array(bool(r.integers(2))),
        "second": np.array(bool(r.integers(2))),
    }
    return Case([outer], inputs, ["y0", "y1"], 16, ["c"])


def loop(r):
    """A loop with a carried value, a name from around, an early end, and collected values."""
    body = graph(
        [
            node("Mul", "v w", "p"),
            node("Cast", "i", "f", to=FLOAT),
            node("Add", "p f", "next"),
            node("ReduceMax", "next", "top", keepdims=0),
            node("Less", "top bound", "on"),
            node("Sub", "next v", "seen"),
        ],
        [value("i", INT64), value("go", BOOL), value("v")],
        [value("on", BOOL), value("next"), value("seen")],
    )
    nodes = [
        node("Abs", "around", "w"),
        helper.make_node("Loop", ["count", "start", "x"], ["y0", "y1"], body=body),
    ]
    n = int(r.integers(1, 5))
    inputs = {
        "x": floats(r, n),
        "around": floats(r, n),
        "bound": np.array(r.uniform(1, 9), np.float32),
        "count": np.array(r.integers(1, 12), np.int64),
        "start": np.array(True),
    }
    return Case(nodes, inputs, ["y0", "y1"], int(some(r, 11, 13, 16)))


def scan(r):
    body = graph(
        [node("Add", "s a", "t"), node("Mul", "t b", "u"), node("Sub", "u w", "v")],
        [value("s"), value("a"), value("b")],
        [value("t"), value("v"), value("u")],
    )
    axes = [int(v) for v in r.integers(0, 2, 2)]
    n, length = (int(v) for v in r.integers(1, 6, 2))
    shape = lambda a: (length, n) if a == 0 else (n, length)
    op = node(
        "Scan",
        "s0 x0 x1",
        "y0 y1 y2",
        body=body,
        num_scan_inputs=2,
        scan_input_axes=axes,
        scan_input_directions=[int(v) for v in r.integers(0, 2, 2)],
        scan_output_axes=[int(v) for v in r.integers(0, 2, 2)],
        scan_output_directions=[int(v) for v in r.integers(0, 2, 2)],
    )
    inputs = {
        "s0": floats(r, n),
        "x0": floats(r, *shape(axes[0])),
        "x1": floats(r, *shape(axes[1])),
        "w": floats(r, n),
    }
    return Case([op], inputs, ["y0", "y1", "y2"], int(some(r, 9, 11, 16)))


def scan8(r):
    body = graph(
        [node("Add", "s a", "t"), node("Mul", "t a", "u")],
        [value("s"), value("a")],
        [value("t"), value("u")],
    )
    batch, length, n = (int(v) for v in r.integers(1, 5, 3))
    op = helper.make_node(
        "Scan",
        ["", "s0", "x0"],
        ["y0", "y1"],
        body=body,
        num_scan_inputs=1,
        directions=[int(r.integers(2))],
    )
    return Case(
        [op], {"s0": floats(r, batch, n), "x0": floats(r, batch, length, n)}, ["y0", "y1"], 8
    )


def sequences(r):
    """A sequence that is split, extended, shortened, carried through a loop and joined."""
    n = int(r.integers(2, 6))
    axis = int(r.integers(2))
    body = graph(
        [node("SequenceInsert", "q x", "grown"), node("Identity", "go", "on")],
        [
            value("i", INT64),
            value("go", BOOL),
            helper.make_tensor_sequence_value_info("q", FLOAT, None),
        ],
        [value("on", BOOL), helper.make_tensor_sequence_value_info("grown", FLOAT, None)],
    )
    nodes = [
        node("SplitToSequence", "x", "s", axis=axis, keepdims=1),
        node("SequenceInsert", "s first at", "s1"),
        node("SequenceErase", "s1", "s2"),
        node("SequenceAt", "s2 at", "y0"),
        node("SequenceLength", "s2", "y1"),
        node("ConcatFromSequence", "s2", "y2", axis=axis),
        node("SequenceConstruct", "x x", "s3"),
        helper.make_node("Loop", ["count", "", "s3"], ["s4"], body=body),
        node("ConcatFromSequence", "s4", "y3", axis=int(r.integers(-1, 3)), new_axis=1),
        node("SplitToSequence", "x sizes", "s5", axis=axis),
        node("SequenceAt", "s5 last", "y4"),
    ]
    shape = [n, 3] if axis == 0 else [3, n]
    one = [1, 3] if axis == 0 else [3, 1]
    sizes = (
        np.array([1, n - 1], np.int64)
        if r.integers(2)
        else np.array(r.integers(1, n + 1), np.int64)
    )
    inputs = {
        "x": floats(r, *shape),
        "first": floats(r, *one),
        "at": np.array(r.integers(-n, n), np.int64),
        "count": np.array(r.integers(0, 4), np.int64),
        "sizes": sizes,
        "last": np.array(-1, np.int64),
    }
    return Case(nodes, inputs, [f"y{i}" for i in range(5)], 13)


def scaler(r):
    f = int(r.integers(1, 9))
    shape = some(r, (f,), (int(r.integers(0, 5)), f))
    dtype = some(r, np.float32, np.float64, np.int32, np.int64)
    x = (r.standard_normal(shape) * 9).astype(dtype)
    each = some(r, 1, f)
    return single(
        "Scaler",
        [("x", x)],
        1,
        17,
        domain="ai.onnx.ml",
        offset=floats(r, each).tolist(),
        scale=floats(r, each).tolist(),
    )


def tree_ensemble(r):
    """Random trees of branches that each have two, one or no branches below."""
    dtype = some(r, np.float32, np.float64)
    features, targets = int(r.integers(1, 6)), int(r.integers(1, 4))
    feature, split, mode, roots, weights = [], [], [], [], []
    nodes, leaves = ([], []), ([], [])
    for _ in range(int(r.integers(1, 5))):
        roots.append(len(feature))
        open_branches = [None]
        while open_branches:
            parent = open_branches.pop()
            if parent is not None:
                leaf = r.random() < 0.3 + 0.05 * len(feature)
                side, i = parent
                nodes[side][i] = len(weights) if leaf else len(feature)
                leaves[side][i] = int(leaf)
                if leaf:
                    weights.append(r.standard_normal())
                    continue
            at = len(feature)
            feature.append(int(r.integers(features)))
            split.append(r.integers(-3, 4) / 2)
            mode.append(int(r.integers(6)))
            for side in range(2):
                nodes[side].append(0)
                leaves[side].append(0)
                open_branches.append((side, at))
    rows = int(r.integers(1, 9))
    x = (r.integers(-4, 5, (rows, features)) / 2).astype(dtype)
    missing = {}
    if r.integers(2):
        x[r.random(x.shape) < 0.2] = np.nan
        missing["nodes_missing_value_tracks_true"] = r.integers(0, 2, len(feature)).tolist()
    tensor = lambda v, t: numpy_helper.from_array(np.array(v, t))
    return single(
        "TreeEnsemble",
        [("x", x)],
        1,
        17,
        domain="ai.onnx.ml",
        version=5,
        n_targets=targets,
        aggregate_function=int(r.integers(4)),
        post_transform=0,  # ONNX Runtime takes 1 and 2 the other way round
        tree_roots=roots,
        nodes_featureids=feature,
        nodes_splits=tensor(split, dtype),
        nodes_modes=tensor(mode, np.uint8),
        nodes_truenodeids=nodes[0],
        nodes_trueleafs=leaves[0],
        nodes_falsenodeids=nodes[1],
        nodes_falseleafs=leaves[1],
        leaf_targetids=r.integers(0, targets, len(weights)).tolist(),
        leaf_weights=tensor(weights, dtype),
        **missing,
    )


MAKERS = {
    "Resize": resize,
    "ResizeReference": resize_reference,
    "Upsample": upsample,
    "LSTM": recurrent("LSTM", 4, 3),
    "GRU": recurrent("GRU", 3, 2),
    "RNN": recurrent("RNN", 1, 1),
    "DynamicQuantizeLSTM": dynamic_lstm,
    "GridSample": grid_sample,
    "ReverseSequence": reverse_sequence,
    "LpNormalization": lp_normalization,
    "Unique": unique,
    "DFT": dft,
    "STFT": stft,
    "If": branches,
    "Loop": loop,
    "Scan": scan,
    "Scan8": scan8,
    "Sequence": sequences,
    "Scaler": scaler,
    "TreeEnsemble": tree_ensemble,
}


def main():
    import microsoft  # they import this module
    import optimised

    MAKERS.update(microsoft.MAKERS | optimised.MAKERS)
    folder, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 40
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    cases = []
    for name in sys.argv[3:] or MAKERS:
        refused = []
        share = 4 if name == "Resize" else 0.5 if name in microsoft.MAKERS else 1
        for i in range(int(count * share)):
            r = np.random.default_rng([list(MAKERS).index(name), i])
            try:
                case = MAKERS[name](r)
                model = case.model.SerializeToString()
                if name == "ResizeReference":
                    outputs = ReferenceEvaluator(case.model).run(None, case.inputs)
                else:
                    session = ort.InferenceSession(
                        model, options, providers=["CPUExecutionProvider"]
                    )
                    outputs = session.run(None, case.inputs)
            except Exception as e:  # ONNX Runtime has no exception of its own for all
                refused.append(str(e))
                continue
            if any(
                v.dtype == np.float32 and v.size and not np.abs(v).max() < 1e4
                for v in outputs
                if isinstance(v, np.ndarray)
            ):
                continue  # activations without bounds can grow until nothing but rounding is left
            at = f"{name}-{i}"
            (folder / f"{at}.onnx").write_bytes(model)
            np.savez(folder / f"{at}.in.npz", **case.inputs)
            np.savez(
                folder / f"{at}.out.npz",
                **{
                    o.name: np.asarray(v, order="C")
                    for o, v in zip(case.model.graph.output, outputs)
                },
            )
            cases.append({"name": at, "relative": case.tolerance[0], "absolute": case.tolerance[1]})
        print(
            f"{name}: {len(refused)} refused", *sorted({e[:400] for e in refused})[:3], sep="\n  "
        )
    (folder / "cases.json").write_text(json.dumps(cases))


if __name__ == "__main__":
    sys.modules["cases"] = sys.modules["__main__"]
    main()
