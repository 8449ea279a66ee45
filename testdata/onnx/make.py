"""Writes the .npz files beside it: graphs of one operator, their inputs and what they give.

    build/venv/bin/python3 testdata/onnx/make.py [KIND ...]

Each file holds, for every case, CASE.model (the bytes of a model), CASE.in.NAME and CASE.out.NAME.
The values are those of ONNX Runtime on the CPU and of ONNX's reference implementation where the two
agree or only one has the operator. Where they differ, the case says which follows the
specification; see docs/onnx.md. What nobody vouches for is printed and left out. It needs ml_dtypes
beside the packages of testdata/requirements.txt; kind topk was made with onnxruntime 1.32.0.
"""

import itertools
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

HERE = Path(__file__).parent
BF16 = np.dtype(ml_dtypes.bfloat16)
TYPES = {
    np.dtype(t): n
    for t, n in {
        np.float32: 1, np.uint8: 2, np.int8: 3, np.int32: 6, np.int64: 7, np.bool_: 9,
        np.float16: 10, np.float64: 11, BF16: 16,
    }.items()
}
f4, f8, i8 = np.float32, np.float64, np.int64
onnxruntime.set_default_logger_severity(4)


class Cases:
    """The cases of one kind."""

    def __init__(self, kind):
        self.kind, self.arrays, self.names, self.left = kind, {}, set(), []

    def add(self, name, op, inputs, opset, outs=1, want="both", out_type=None, **attrs):
        """Adds a graph of one node. want names the reference to believe: both, ort or onnx."""
        assert name not in self.names, name
        model, feed = build(op, inputs, opset, outs, out_type, attrs)
        got = {}
        for which, run in (("ort", run_ort), ("onnx", run_reference)):
            if want in ("both", which):
                try:
                    got[which] = run(model, feed)
                except Exception as e:  # the reference lacks the operator, or fails
                    self.error = f"{which}: {e}".split("\n")[0][:150]
        if not got:
            self.left.append(f"{name}: neither has it; {self.error}")
            return
        if len(got) == 2 and not all(map(same, got["ort"], got["onnx"])):
            self.left.append(f"{name} {attrs}: they differ: {brief(got['ort'])} {brief(got['onnx'])}")
            return
        self.put(name, model, feed, got.get("ort") or got["onnx"])

    def put(self, name, model, feed, outputs):
        self.names.add(name)
        self.arrays[name + ".model"] = np.frombuffer(model.SerializeToString(), np.uint8)
        for k, v in feed.items():
            self.arrays[f"{name}.in.{k}"] = v
        for k, v in zip(model.graph.output, outputs):
            v = np.asarray(v)
            if v.dtype.names == ("bfloat16",):  # as onnx 1.17 has it
                v = v.view(np.uint16).view(BF16)
            self.arrays[f"{name}.out.{k.name}"] = v

    def save(self):
        np.savez_compressed(HERE / f"{self.kind}.npz", **self.arrays)
        print(f"{self.kind}: {len(self.names)} cases; {len(self.left)} left out")
        for line in self.left:
            print("   ", line)


def brief(outputs):
    return [(a.shape, a.dtype.name, a.ravel()[:8].tolist()) for a in map(np.asarray, outputs)]


def same(a, b):
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind == "f":
        return np.allclose(a, b, 1e-2 if a.dtype == np.float16 else 1e-5, 1e-6, equal_nan=True)
    return np.array_equal(a, b)


def build(op, inputs, opset, outs, out_type, attrs):
    names, infos, feed = [], [], {}
    for i, x in enumerate(inputs):
        names.append("" if x is None else f"x{i}")
        if x is not None:
            x = np.asarray(x)
            feed[f"x{i}"] = x
            infos.append(helper.make_tensor_value_info(f"x{i}", TYPES[x.dtype], x.shape))
    outputs = []
    for i in range(outs):
        o = onnx.ValueInfoProto(name=f"y{i}")
        if out_type is not None:
            o.type.tensor_type.elem_type = out_type[i]
        outputs.append(o)
    node = helper.make_node(op, names, [o.name for o in outputs], **attrs)
    graph = helper.make_graph([node], "g", infos, outputs)
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    if out_type is None:
        try:
            inferred = onnx.shape_inference.infer_shapes(model)
            for o, to in zip(inferred.graph.output, outputs):
                to.type.tensor_type.elem_type = o.type.tensor_type.elem_type
            del model.graph.output[:]
            model.graph.output.extend(outputs)
        except Exception:
            pass
    return model, feed


def run_ort(model, feed):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, feed)


def run_reference(model, feed):
    with np.errstate(all="ignore"):
        return ReferenceEvaluator(model).run(None, feed)


def pools():
    c, rng = Cases("pools"), np.random.default_rng(1)
    done = 0
    while done < 260:
        op = rng.choice(["MaxPool", "AveragePool", "LpPool"])
        rank = int(rng.integers(1, 3))
        pick = lambda *of: [int(rng.choice(of)) for _ in range(rank)]
        shape, kernel, strides = pick(1, 2, 3, 5, 7), pick(1, 2, 3, 4), pick(1, 2, 3)
        attrs = dict(kernel_shape=kernel, strides=strides)
        opset = int(rng.choice([12, 22] if op == "MaxPool" else [11, 19, 22] if op[0] == "A" else [18, 22]))
        if opset > 11:
            attrs["dilations"] = pick(1, 1, 2)
        attrs["ceil_mode"] = int(rng.integers(2))
        auto = str(rng.choice(["NOTSET"] * 4 + ["VALID", "SAME_UPPER", "SAME_LOWER"]))
        if auto == "NOTSET":
            attrs["pads"] = [int(rng.integers(k)) for k in kernel * 2]
        else:
            attrs["auto_pad"] = auto
        if op[0] == "A":
            attrs["count_include_pad"] = int(rng.integers(2))
        if op[0] == "L":
            attrs["p"] = int(rng.integers(1, 4))
        # What docs/onnx.md lists: the references differ from the specification or from each other.
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, attrs.get("dilations", [1] * rank))]
        pads = attrs.get("pads", [0] * 2 * rank)
        if auto[:4] == "SAME" and (reach != kernel or any(r < s for r, s in zip(reach, strides))):
            continue
        if auto[:4] != "SAME" and any(
                n + p - r < -s for n, p, r, s in
                zip(shape, np.add(pads[:rank], pads[rank:]), reach, strides)):
            continue
        if attrs["ceil_mode"] and attrs.get("count_include_pad"):
            continue
        x = rng.normal(size=[1, 2] + shape).astype(f8 if op[0] == "M" and done % 3 == 0 else f4)
        done += 1
        c.add(f"{done}-{op}-{opset}", op, [x], opset, **attrs)
    c.save()


def transposed():
    c, rng = Cases("transposed"), np.random.default_rng(2)
    for i in range(200):
        rank = int(rng.integers(1, 3))
        pick = lambda *of: [int(rng.choice(of)) for _ in range(rank)]
        shape, kernel, strides, dil = pick(1, 2, 3, 4), pick(1, 2, 3, 4), pick(1, 2, 3), pick(1, 1, 2)
        group = int(rng.integers(1, 3))
        opset = int(rng.choice([7, 11, 11, 22]))
        attrs = dict(kernel_shape=kernel, strides=strides, dilations=dil, group=group)
        extra = [int(rng.integers(s)) for s in strides]
        if rng.random() < 0.5:
            attrs["output_padding"] = extra
        else:
            extra = [0] * rank
        full = [s * (n - 1) + e + (k - 1) * d + 1
                for s, n, e, k, d in zip(strides, shape, extra, kernel, dil)]
        auto = str(rng.choice(["NOTSET"] * 3 + ["VALID", "SAME_UPPER", "SAME_LOWER"]))
        if auto != "NOTSET":
            attrs["auto_pad"] = auto
        if auto != "VALID" and rng.random() < 0.6:
            attrs["output_shape"] = [max(1, n - int(rng.integers(-1, 4))) for n in full]
        elif auto == "NOTSET":
            attrs["pads"] = [int(rng.integers(0, k)) for k in kernel * 2]
        if opset < 11 and "output_shape" in attrs:
            opset = 11  # both references have the rule of version 11 for all versions
        larger = (auto[:4] == "SAME" or "output_shape" in attrs) and any(
            n > m for n, m in zip(attrs.get("output_shape", np.multiply(shape, strides)), full))
        x = rng.normal(size=[1 if larger else 2, 2 * group] + shape).astype(f4)
        w = rng.normal(size=[2 * group, 2] + kernel).astype(f4)
        b = [rng.normal(size=2 * group).astype(f4)] if rng.random() < 0.5 else []
        c.add(f"{i}-{opset}", "ConvTranspose", [x, w] + b, opset,
              want="onnx" if larger else "both", **attrs)
    c.save()


def reductions():
    c, rng = Cases("reductions"), np.random.default_rng(3)
    names = "Sum Mean Max Min Prod L1 L2 SumSquare LogSum LogSumExp".split()
    for name, dtype, keep in itertools.product(names, (f4, f8, np.int32, np.float16), (0, 1)):
        x = (np.abs(rng.normal(size=(2, 3, 4))) * 5 + 1).astype(dtype)
        for opset in 11, 13, 18:
            if dtype not in (f4, f8) and (opset < 18 or not keep):
                continue
            as_input = opset >= (13 if name == "Sum" else 18)
            for axes in None, [1], [-1, 0], []:
                if axes == [] and not as_input:
                    continue
                for noop in (0, 1) if as_input else (0,):
                    attrs = dict(keepdims=keep)
                    if noop:
                        attrs["noop_with_empty_axes"] = 1
                    ins = [x]
                    if axes is not None and as_input:
                        ins.append(np.array(axes, i8))
                    elif axes is not None:
                        attrs["axes"] = axes
                    case = f"{name}-{np.dtype(dtype).name}-{keep}-{opset}-{axes}-{noop}"
                    if noop and not axes:
                        # Every element is reduced alone. Up to 1.26, ONNX Runtime returns the input.
                        model, feed = build("Reduce" + name, ins, opset, 1, None, attrs)
                        try:
                            alone = build("Reduce" + name, [x[..., None], np.array([-1])], opset, 1,
                                          None, dict(keepdims=0))
                            c.put(case, model, feed, run_ort(*alone))
                        except Exception as e:
                            c.left.append(f"{case}: {e}"[:150])
                        continue
                    c.add(case, "Reduce" + name, ins, opset,
                          want="ort" if dtype == np.int32 else "both", **attrs)
    for name in "Sum Max Min Prod L2 LogSumExp SumSquare L1".split():
        for dtype in f4, f8:
            c.add(f"{name}-{np.dtype(dtype).name}-empty", "Reduce" + name,
                  [np.zeros((2, 0, 3), dtype), np.array([1])], 18)
    c.save()


def order():
    """TopK: ties, what is not sorted, and NaN. Made with ONNX Runtime 1.32."""
    c, rng = Cases("topk"), np.random.default_rng(4)
    for n, dtype in itertools.product((1, 2, 3, 5, 8, 10, 16, 50, 300), (f4, i8)):
        for k in sorted({1, 2, 3, 4, 5, n // 3, n // 2, n - 1, n}):
            if not 1 <= k <= n:
                continue
            for largest, is_sorted in itertools.product((0, 1), (0, 1)):
                x = rng.integers(0, max(2, n), (2, n)).astype(dtype)
                c.add(f"{n}-{k}-{np.dtype(dtype).name}-{largest}-{is_sorted}", "TopK",
                      [x, np.array([k])], 11, 2, want="ort", largest=largest, sorted=is_sorted)
    for n, k, largest, is_sorted in itertools.product((3, 8, 50), (1, 2, 3, 5), (0, 1), (0, 1)):
        if k <= n and n != 5:
            x = rng.permutation(n).astype(rng.choice([f4, f8]))
            x[rng.random(n) < 0.3] = np.nan
            if k <= n:
                c.add(f"nan-{n}-{k}-{largest}-{is_sorted}", "TopK", [x, np.array([k])], 11, 2,
                      want="ort", largest=largest, sorted=is_sorted)
    x = rng.permutation(24).reshape(2, 3, 4).astype(f4)
    for axis in 0, 1, 2, -1, -2:
        for largest in 0, 1:
            c.add(f"axis-{axis}-{largest}", "TopK", [x, np.array([2])], 11, 2, want="ort",
                  axis=axis, largest=largest)
        if axis >= 0:
            c.add(f"10-{axis}", "TopK", [x, np.array([2])], 10, 2, want="ort", axis=axis)
            c.add(f"7-{axis}", "TopK", [x], 7, 2, want="ort", axis=axis, k=2)
    c.save()


def nans():
    c = Cases("nan")
    n = np.nan
    for dtype in f4, f8, np.float16:
        t = np.dtype(dtype).name
        # Rows of three: ONNX Runtime's vector instructions lose neighbours of NaN in longer ones.
        for i, row in enumerate(([1, n, 3], [n, 1, 3], [1, 3, n], [n, n, n])):
            x = np.array([row], dtype)
            for op in "ReduceMax", "ReduceMin":
                c.add(f"{op}-{t}-{i}", op, [x], 13, want="ort", axes=[1])
            for op, last in itertools.product(("ArgMax", "ArgMin"), (0, 1)):
                c.add(f"{op}-{t}-{i}-{last}", op, [x], 13, want="ort", axis=1,
                      select_last_index=last)
            for op in "Max", "Min":
                c.add(f"{op}-{t}-{i}", op, [x, np.array([2], dtype)], 13)
                c.add(f"{op}-{t}-{i}-three", op, [np.array([2], dtype), x, np.array([1], dtype)], 13)
            for low, high in itertools.product((1.5, n, None), (2.5, n, None)):
                ins = [x] + [None if b is None else np.array(b, dtype) for b in (low, high)]
                c.add(f"Clip-{t}-{i}-{low}-{high}", "Clip", ins, 13, want="ort")
            c.add(f"Relu-{t}-{i}", "Relu", [x], 14)
            c.add(f"Clip6-{t}-{i}", "Clip", [x], 7, want="ort", min=1.5, max=2.5)
    c.save()


def samples(rng):
    """Yields op, since, until, inputs, outputs, attributes: what operators take at versions."""
    last = 99
    v = lambda *s: (rng.random(s) * 2 + 0.5).astype(f4)
    s = lambda *s: rng.normal(size=s).astype(f4)
    ints = lambda *x: np.array(x, i8)
    for op in "Add Sub Mul Div".split():
        yield op, 7, last, [v(2, 3, 4), v(3, 1)], 1, {}
    yield "Pow", 7, last, [v(2, 3), v(3)], 1, {}
    for op in "Max Min Sum Mean".split():
        yield op, 6, last, [s(2, 3), s(2, 3), s(2, 3)], 1, {}
        yield op, 8, last, [s(2, 3), s(1), s(2, 1)], 1, {}
        yield op, 6, last, [s(2, 3)], 1, {}
    for op in "Less Greater".split():
        yield op, 7, last, [s(2, 3), s(3)], 1, {}
    for op in "LessOrEqual GreaterOrEqual".split():
        yield op, 12, last, [s(2, 3), s(3)], 1, {}
    yield "Equal", 11, last, [np.round(s(2, 3)), np.round(s(3))], 1, {}
    yield "Where", 9, last, [s(2, 3) > 0, s(2, 1), s(3)], 1, {}
    for op, since in {"Abs": 6, "Neg": 6, "Sign": 9, "Relu": 6, "Reciprocal": 6, "Exp": 6, "Erf": 9,
                      "Sigmoid": 6, "Tanh": 6, "Sin": 7, "Cos": 7, "Tan": 7, "Atan": 7, "Sinh": 9,
                      "Cosh": 9, "Asinh": 9, "Floor": 6, "Ceil": 6, "Round": 11, "Softplus": 1,
                      "Softsign": 1, "Mish": 18, "HardSwish": 14, "HardSigmoid": 6, "LeakyRelu": 6,
                      "ThresholdedRelu": 10, "Elu": 6, "Celu": 12, "Selu": 6, "Shrink": 9,
                      "Identity": 1, "Gelu": 20, "IsNaN": 9, "IsInf": 10, "Size": 1, "Shape": 1,
                      "GlobalAveragePool": 1, "GlobalMaxPool": 1, "NonZero": 9}.items():
        yield op, since, last, [s(2, 3, 4)], 1, {}
    yield "Gelu", 20, last, [s(2, 3)], 1, dict(approximate="tanh")
    for op in "Sqrt", "Log":
        yield op, 6, last, [v(2, 3)], 1, {}
    for op in "Asin", "Acos":
        yield op, 7, last, [v(2, 3) / 3], 1, {}
    yield "Acosh", 9, last, [v(2, 3) + 1], 1, {}
    yield "Atanh", 9, last, [v(2, 3) / 3], 1, {}
    yield "LeakyRelu", 6, last, [s(2, 3)], 1, dict(alpha=0.3)
    yield "HardSigmoid", 6, last, [s(2, 3)], 1, dict(alpha=0.3, beta=0.4)
    yield "Elu", 6, last, [s(2, 3)], 1, dict(alpha=0.3)
    yield "Selu", 6, last, [s(2, 3)], 1, dict(alpha=2.0, gamma=0.5)
    yield "Shrink", 9, last, [s(2, 3)], 1, dict(lambd=0.2, bias=0.1)
    yield "PRelu", 7, last, [s(2, 3, 4), s(3, 1)], 1, {}
    yield "Mod", 10, last, [s(2, 3), v(3)], 1, dict(fmod=1)
    yield "Clip", 6, 10, [s(2, 3)], 1, dict(min=-0.5, max=0.5)
    yield "Clip", 6, 10, [s(2, 3)], 1, dict(max=0.5)
    yield "Clip", 6, last, [s(2, 3)], 1, {}
    yield "Clip", 11, last, [s(2, 3), f4(-0.5), f4(0.5)], 1, {}
    yield "Clip", 11, last, [s(2, 3), None, f4(0.5)], 1, {}
    yield "Dropout", 7, 11, [s(2, 3)], 1, dict(ratio=0.3)
    yield "Dropout", 10, 11, [s(2, 3)], 2, {}
    yield "Dropout", 12, last, [s(2, 3)], 2, {}
    yield "Dropout", 12, last, [s(2, 3), f4(0.3)], 2, {}
    yield "Dropout", 12, last, [s(2, 3), f4(0.3), np.array(False)], 1, {}
    yield "Reshape", 5, last, [s(2, 3, 4), ints(0, -1)], 1, {}
    yield "Flatten", 1, last, [s(2, 3, 4)], 1, {}
    yield "Flatten", 1, last, [s(2, 3, 4)], 1, dict(axis=2)
    yield "Flatten", 11, last, [s(2, 3, 4)], 1, dict(axis=-1)
    yield "Squeeze", 1, 12, [s(1, 3, 1)], 1, {}
    yield "Squeeze", 1, 12, [s(1, 3, 1)], 1, dict(axes=[0])
    yield "Squeeze", 11, 12, [s(1, 3, 1)], 1, dict(axes=[-1])
    yield "Squeeze", 13, last, [s(1, 3, 1), ints(-1)], 1, {}
    yield "Squeeze", 13, last, [s(1, 3, 1)], 1, {}
    yield "Unsqueeze", 1, 12, [s(3)], 1, dict(axes=[0, 2])
    yield "Unsqueeze", 13, last, [s(3), ints(0, -1)], 1, {}
    yield "Expand", 8, last, [s(3, 1), ints(2, 1, 4)], 1, {}
    yield "Transpose", 1, last, [s(2, 3, 4)], 1, {}
    yield "Transpose", 1, last, [s(2, 3, 4)], 1, dict(perm=[1, 2, 0])
    yield "Slice", 1, 9, [s(4, 5)], 1, dict(starts=[1, -3], ends=[3, 1000])
    yield "Slice", 1, 9, [s(4, 5)], 1, dict(starts=[1], ends=[-1], axes=[1])
    yield "Slice", 10, last, [s(4, 5), ints(1, -3), ints(3, 1000)], 1, {}
    yield "Slice", 10, last, [s(4, 5), ints(1), ints(-1), ints(1), ints(2)], 1, {}
    yield "Slice", 10, last, [s(4, 5), ints(-1), ints(-100), ints(1), ints(-2)], 1, {}
    yield "Slice", 11, last, [s(4, 5), ints(1), ints(3), ints(-1)], 1, {}
    yield "Concat", 4, last, [s(2, 3), s(2, 1)], 1, dict(axis=1)
    yield "Concat", 11, last, [s(2, 3), s(2, 1)], 1, dict(axis=-1)
    yield "Split", 2, 17, [s(4, 6)], 2, dict(axis=1)
    yield "Split", 2, 12, [s(4, 6)], 2, dict(axis=1, split=[1, 5])
    yield "Split", 13, last, [s(4, 6), ints(1, 5)], 2, dict(axis=1)
    yield "Split", 18, last, [s(4, 7)], 3, dict(axis=-1, num_outputs=3)
    yield "Tile", 6, last, [s(2, 3), ints(2, 1)], 1, {}
    yield "Pad", 2, 10, [s(2, 3)], 1, dict(pads=[1, 0, 0, 2], value=0.5)
    for mode in "reflect", "edge":
        yield "Pad", 2, 10, [s(4, 3)], 1, dict(pads=[1, 0, 2, 2], mode=mode)
        yield "Pad", 11, last, [s(4, 3), ints(1, 0, 2, 2)], 1, dict(mode=mode)
    yield "Pad", 19, last, [s(4, 3), ints(1, 0, 2, 2)], 1, dict(mode="wrap")
    yield "Pad", 11, last, [s(2, 3), ints(1, 0, -1, 2), f4(0.5)], 1, {}
    yield "Pad", 18, last, [s(2, 3), ints(1, 2), f4(0.5), ints(-1)], 1, {}
    yield "Trilu", 14, last, [s(3, 4)], 1, {}
    yield "Trilu", 14, last, [s(3, 4), np.array(1)], 1, dict(upper=0)
    yield "DepthToSpace", 1, last, [s(1, 8, 2, 3)], 1, dict(blocksize=2)
    yield "DepthToSpace", 11, last, [s(1, 8, 2, 3)], 1, dict(blocksize=2, mode="CRD")
    yield "SpaceToDepth", 1, last, [s(1, 2, 4, 6)], 1, dict(blocksize=2)
    yield "Range", 11, last, [f4(1), f4(3), f4(0.4)], 1, {}
    yield "EyeLike", 9, last, [s(3, 4)], 1, dict(k=1)
    yield "Gather", 1, last, [s(4, 3), np.array([[0, 2]])], 1, {}
    yield "Gather", 11, last, [s(4, 3), np.array([[0, -1]])], 1, dict(axis=-1)
    yield "GatherElements", 11, last, [s(4, 3), np.array([[0, 1, -1]])], 1, {}
    yield "GatherND", 11, last, [s(4, 3), np.array([[0, 1], [2, -1]])], 1, {}
    yield "GatherND", 12, last, [s(2, 4, 3), np.array([[1], [2]])], 1, dict(batch_dims=1)
    yield "Scatter", 9, 10, [s(4, 3), np.array([[0, 1, 2]]), s(1, 3)], 1, {}
    yield "Scatter", 9, 10, [s(4, 3), np.array([[2], [0]]), s(2, 1)], 1, dict(axis=1)
    yield "ScatterElements", 11, last, [s(4, 3), np.array([[0, 1, -1]]), s(1, 3)], 1, {}
    yield "ScatterND", 11, last, [s(4, 3), np.array([[0], [2]]), s(2, 3)], 1, {}
    for how, since in ("add", 16), ("mul", 16), ("max", 18), ("min", 18):
        yield ("ScatterElements", since, last, [s(4, 3), np.array([[0, 1, 1], [0, 1, 1]]), s(2, 3)],
               1, dict(reduction=how))
        yield "ScatterND", since, last, [s(4, 3), np.array([[0], [0]]), s(2, 3)], 1, dict(reduction=how)
    yield "Compress", 9, last, [s(4, 3), np.array([True, False, True])], 1, dict(axis=0)
    yield "Compress", 9, last, [s(4, 3), np.array([True, False, True])], 1, {}
    yield "OneHot", 9, last, [ints(0, 2, 1), np.array(3), s(2)], 1, {}
    yield "OneHot", 11, last, [ints(0, -2, 9), np.array(3), s(2)], 1, dict(axis=0)
    for op in "ArgMax", "ArgMin":
        yield op, 1, last, [s(3, 4)], 1, {}
        yield op, 1, last, [s(3, 4)], 1, dict(axis=1, keepdims=0)
        yield op, 12, last, [np.round(s(3, 9))], 1, dict(axis=-1, select_last_index=1)
    yield "TopK", 1, 9, [s(3, 4)], 2, dict(k=2)
    yield "TopK", 10, last, [s(3, 4), ints(2)], 2, dict(axis=0)
    yield "CumSum", 11, last, [s(3, 4), np.array(1)], 1, dict(reverse=1)
    yield "CumSum", 11, last, [s(3, 4), np.array(-2)], 1, dict(exclusive=1)
    for op in "Sum Mean Max Min Prod L1 L2 SumSquare LogSum LogSumExp".split():
        till = 12 if op == "Sum" else 17
        yield "Reduce" + op, 1, till, [v(2, 3, 4)], 1, {}
        yield "Reduce" + op, 1, till, [v(2, 3, 4)], 1, dict(axes=[1], keepdims=0)
        yield "Reduce" + op, till + 1, last, [v(2, 3, 4), ints(0, -1)], 1, {}
        yield "Reduce" + op, till + 1, last, [v(2, 3, 4)], 1, {}
    yield "MatMul", 1, last, [s(2, 3, 4), s(4, 5)], 1, {}
    yield "MatMul", 1, last, [s(4), s(2, 4, 5)], 1, {}
    yield "Gemm", 7, last, [s(3, 4), s(4, 5), s(5)], 1, {}
    yield "Gemm", 11, last, [s(4, 3), s(5, 4)], 1, dict(transA=1, transB=1, alpha=0.5)
    yield "Gemm", 7, last, [s(4, 3), s(5, 4), s(3, 1)], 1, dict(transA=1, transB=1, beta=0.5)
    yield "Einsum", 12, last, [s(2, 3, 4), s(2, 4, 5)], 1, dict(equation="bij,bjk->bik")
    yield "Einsum", 12, last, [s(3, 3)], 1, dict(equation="ii->i")
    for op in "Softmax", "LogSoftmax", "Hardmax":
        yield op, 1, last, [s(2, 3, 4)], 1, {}
        yield op, 1, last, [s(2, 3, 4)], 1, dict(axis=1)
        yield op, 11, last, [s(2, 3, 4)], 1, dict(axis=-2)
    yield "LayerNormalization", 17, last, [s(2, 3, 4), s(4), s(4)], 1, {}
    yield "LayerNormalization", 17, last, [s(2, 3, 4), s(3, 4)], 3, dict(axis=1)
    yield "RMSNormalization", 23, last, [s(2, 3, 4), s(4)], 1, {}
    bn = lambda *shape: [s(*shape), s(shape[1]), s(shape[1]), s(shape[1]), v(shape[1])]
    yield "BatchNormalization", 7, last, bn(2, 3, 4, 2), 1, {}
    yield "BatchNormalization", 7, last, bn(2, 3), 1, dict(epsilon=0.1, momentum=0.5)
    yield "BatchNormalization", 7, 8, bn(2, 3, 4), 1, dict(spatial=1)
    yield "BatchNormalization", 7, 8, [s(2, 3, 4), s(3, 4), s(3, 4), s(3, 4), v(3, 4)], 1, dict(spatial=0)
    yield "InstanceNormalization", 6, last, [s(2, 3, 4), s(3), s(3)], 1, {}
    yield "GroupNormalization", 18, 20, [s(2, 4, 3), s(2), s(2)], 1, dict(num_groups=2)
    yield "GroupNormalization", 21, last, [s(2, 4, 3), s(4), s(4)], 1, dict(num_groups=2)
    yield "LRN", 1, last, [s(1, 5, 2, 2)], 1, dict(size=3)
    yield "Conv", 1, last, [s(1, 4, 5, 6), s(6, 2, 3, 2), s(6)], 1, dict(group=2, pads=[1, 0, 1, 1])
    yield "Conv", 1, last, [s(1, 2, 9), s(3, 2, 3)], 1, dict(auto_pad="SAME_LOWER", strides=[2])
    yield "Conv", 1, last, [s(1, 2, 4, 4), s(2, 1, 2, 2)], 1, dict(group=2, dilations=[2, 1])
    yield "ConvTranspose", 1, last, [s(1, 2, 3, 3), s(2, 2, 3, 3), s(2)], 1, dict(strides=[2, 2])
    yield "MaxPool", 1, last, [s(1, 2, 5, 6)], 1, dict(kernel_shape=[3, 2], pads=[1, 0, 1, 1])
    yield "MaxPool", 8, last, [s(1, 2, 5, 6)], 2, dict(kernel_shape=[2, 2])
    yield "MaxPool", 10, last, [s(1, 2, 7)], 1, dict(kernel_shape=[2], dilations=[2], ceil_mode=1, strides=[2])
    yield "AveragePool", 1, last, [s(1, 2, 5, 6)], 1, dict(kernel_shape=[3, 2], pads=[1, 0, 1, 1])
    yield "AveragePool", 7, last, [s(1, 2, 5)], 1, dict(kernel_shape=[3], pads=[1, 1], count_include_pad=1)
    yield "LpPool", 2, last, [s(1, 2, 5, 6)], 1, dict(kernel_shape=[3, 2], p=3)
    yield "Cast", 6, last, [s(2, 3) * 9], 1, dict(to=7)
    yield "Cast", 6, last, [s(2, 3) * 9], 1, dict(to=11)
    yield "Cast", 6, last, [s(2, 3) * 9], 1, dict(to=10)
    yield "Cast", 6, last, [np.arange(-3, 3)], 1, dict(to=11)
    yield "Cast", 6, last, [np.array([True, False])], 1, dict(to=11)
    yield "Cast", 13, last, [np.arange(-3, 3)], 1, dict(to=16)
    yield "CastLike", 15, last, [s(2, 3) * 9, ints(1)], 1, {}
    yield "ConstantOfShape", 9, last, [ints(2, 3)], 1, {}
    for op in "And", "Or", "Xor":
        yield op, 7, last, [s(2, 3) > 0, s(3) > 0], 1, {}
    yield "Not", 1, last, [s(2, 3) > 0], 1, {}
    u1 = lambda *shape: rng.integers(0, 255, shape).astype(np.uint8)
    yield "QuantizeLinear", 10, last, [s(2, 3) * 9, f4(0.1), np.uint8(100)], 1, {}
    yield "QuantizeLinear", 13, last, [s(2, 3) * 9, v(3), u1(3)], 1, {}
    yield "DequantizeLinear", 10, last, [u1(2, 3), f4(0.1), np.uint8(100)], 1, {}
    yield "DequantizeLinear", 13, last, [u1(2, 3), v(2), u1(2)], 1, dict(axis=0)
    yield "DynamicQuantizeLinear", 11, last, [s(2, 3) * 9], 3, {}
    yield "MatMulInteger", 10, last, [u1(2, 3), u1(3, 4), np.uint8(9), np.uint8(7)], 1, {}
    yield "ConvInteger", 10, last, [u1(1, 2, 4, 4), u1(3, 2, 2, 2), np.uint8(9)], 1, {}


# Opsets at which some operator changes.
VERSIONS = [7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]


def versions():
    """Every operator at every version from 7 on."""
    c = Cases("versions")
    seen = set()
    for i, (op, since, until, ins, outs, attrs) in enumerate(samples(np.random.default_rng(5))):
        for v in VERSIONS:
            if not since <= v <= until:
                continue
            try:
                changed = onnx.defs.get_schema(op, v, "").since_version
            except Exception:
                continue  # no longer, or not yet, an operator
            if (i, changed) in seen:
                continue
            seen.add((i, changed))
            # The reference has only the newest version of these, or is wrong about them.
            new = op in ("Softmax", "LogSoftmax", "Hardmax", "LRN", "OneHot", "GlobalMaxPool",
                         "MaxPool", "ScatterElements", "BatchNormalization", "Dropout")
            c.add(f"{i}-{op}-{v}", op, ins, v, outs, want="ort" if new else "both", **attrs)
    c.save()


def doubles():
    """Every operator that takes float64, in it."""
    c = Cases("float64")
    for i, (op, since, until, ins, outs, attrs) in enumerate(samples(np.random.default_rng(6))):
        v = min(until, 23)
        if not any(x is not None and np.asarray(x).dtype == f4 for x in ins):
            continue
        try:
            schema = onnx.defs.get_schema(op, v, "")
        except Exception:
            continue  # of a newer version than the reference has
        if "tensor(double)" not in {t for k in schema.type_constraints for t in k.allowed_type_strs}:
            continue
        wide = [np.asarray(x, f8) if x is not None and np.asarray(x).dtype == f4 else x for x in ins]
        if op == "Dropout":
            wide[1:2] = ins[1:2]
        if op == "Shrink" or attrs.get("approximate"):
            continue  # float32 inside in both
        # The reference computes these in float32, or from the attributes as Python writes them.
        single = op in ("GroupNormalization", "LRN", "HardSwish", "Gelu", "Shrink", "OneHot",
                        "GlobalMaxPool", "MaxPool", "LpPool", "AveragePool")
        c.add(f"{i}-{op}", op, wide, v, outs, want="ort" if single else "both", **attrs)
    c.save()


def brains():
    """Every operator that takes bfloat16: the float32 result of the rounded inputs, rounded."""
    c = Cases("bfloat16")
    for i, (op, since, until, ins, outs, attrs) in enumerate(samples(np.random.default_rng(7))):
        v = min(until, 23)
        if v < 13 or not any(x is not None and np.asarray(x).dtype == f4 for x in ins):
            continue
        try:
            schema = onnx.defs.get_schema(op, v, "")
        except Exception:
            continue  # of a newer version than the reference has
        if "tensor(bfloat16)" not in {t for k in schema.type_constraints for t in k.allowed_type_strs}:
            continue
        is_float = [x is not None and np.asarray(x).dtype == f4 for x in ins]
        if op in ("QuantizeLinear", "DynamicQuantizeLinear", "Dropout", "IsInf", "EyeLike"):
            continue
        rounded = [np.asarray(x).astype(BF16) if f else x for x, f in zip(ins, is_float)]
        widened = [x.astype(f4) if f else x for x, f in zip(rounded, is_float)]
        model, feed = build(op, widened, v, outs, None, attrs)
        try:
            results = run_ort(model, feed)
        except Exception:
            try:
                results = run_reference(model, feed)
            except Exception as e:
                c.left.append(f"{i}-{op}: {e}"[:150])
                continue
        first = 1 if op == "LayerNormalization" else outs
        to16 = lambda j, r: r.astype(BF16) if r.dtype == f4 and j < first and op != "Cast" else r
        results = [to16(j, r) for j, r in enumerate(results)]
        types = [TYPES[np.asarray(r).dtype] for r in results]
        model, feed = build(op, rounded, v, outs, types, attrs)
        c.put(f"{i}-{op}", model, feed, results)
    c.save()


FUNCTIONS = {
    "plain": (
        "y = my.F(x)",
        'F (a) => (b) { t = Exp(a) b = Neg(t) }',
    ),
    "attribute": (
        "y = my.F <slope = 0.3> (x)",
        'F <slope> (a) => (b) { b = LeakyRelu <alpha: float = @slope> (a) }',
    ),
    "default": (
        "t = my.F(x) u = my.F <slope = 0.7> (x) y = Add(t, u)",
        'F <slope: float = 0.2> (a) => (b) { b = LeakyRelu <alpha: float = @slope> (a) }',
    ),
    "left-out": (
        "y = my.F(x)",
        'F <slope> (a) => (b) { b = LeakyRelu <alpha: float = @slope> (a) }',
    ),
    "nested": (
        "y = my.F <slope = 0.3> (x)",
        'F <slope> (a) => (b) { t = my.G <s: float = @slope> (a) b = my.G <s = 0.9> (t) }',
        'G <s: float = 0.1, k: int = 1> (a) => (b) '
        '{ t = LeakyRelu <alpha: float = @s> (a) b = Softmax <axis: int = @k> (t) }',
    ),
    "two-calls": (
        "t = my.F(x) a = my.F(t) b = Neg(a) y = my.F(b)",
        'F (a) => (b) { t = Tanh(a) b = Mul(t, a) }',
    ),
    "clash": (
        "t = Neg(x) b = my.F(t, x) y = Sub(b, t)",
        'F (x, t) => (y) { b = Exp(x) y = Sub(b, t) }',
    ),
    "optional": (
        'h = Constant <value_float = 0.4> () t = my.F(x, , h) y = my.F(t)',
        'F (a, low, high) => (b) { b = Clip(a, low, high) }',
    ),
    "outputs": (
        'a, unused, c = my.F(x) y = Sub(a, c)',
        'F (a) => (p, q, r) { p = Exp(a) q = Log(p) r = Neg(q) }',
    ),
    "own-relu": ("y = my.Relu(x)", 'Relu (a) => (b) { t = Neg(a) b = Relu(t) }'),
    "constants": (
        "y = my.F <c = 2.5, l = [1, 0]> (x)",
        'F <c, l> (a) => (b) { k = Constant <value_float: float = @c> () '
        't = Transpose <perm: ints = @l> (a) u = Transpose <perm: ints = @l> (t) b = Mul(u, k) }',
    ),
    "strings": (
        'y = my.F <how = "tanh"> (x)',
        'F <how> (a) => (b) { b = Gelu <approximate: string = @how> (a) }',
    ),
    "tensor": (
        "y = my.F <c = float[3] {1, 2, 3}> (x)",
        'F <c> (a) => (b) { k = Constant <value: tensor = @c> () b = Mul(a, k) }',
    ),
    "no-inputs": ("k = my.F() y = Mul(x, k)", 'F () => (b) { b = Constant <value_float = 3.0> () }'),
    "deep": (
        "y = my.A(x)",
        'A (a) => (b) { t = my.B(a) b = my.C(t) }',
        'B (a) => (b) { t = my.C(a) b = my.C(t) }',
        'C (a) => (b) { t = Abs(a) o = Constant <value_float = 1.0> () u = Add(t, o) b = Log(u) }',
    ),
    "twice-the-same": (
        "y = my.F(x, x)",
        'F (a, c) => (b) { t = Add(a, c) b = Mul(t, a) }',
    ),
    "unused": (
        "t = my.F(x) y = Neg(x)",
        'F (a) => (b) { b = Exp(a) }',
        'Never (a) => (b) { b = my.F(a) }',
    ),
    "old-softmax": ("y = my.F(x)", '11!F (a) => (b) { b = Softmax(a) }'),
}


def functions():
    """Functions of a model's own."""
    c = Cases("functions")
    x = np.random.default_rng(8).normal(size=(2, 3)).astype(f4)
    for name, (main, *bodies) in FUNCTIONS.items():
        text = '<ir_version: 10, opset_import: ["" : 20, "my" : 1]> '
        text += f"g (float[2, 3] x) => (float[2, 3] y) {{ {main} }} "
        for b in bodies:
            version, _, b = b.rpartition("!")
            text += f'<domain: "my", opset_import: ["" : {version or 20}, "my" : 1]> {b} '
        try:
            model = onnx.parser.parse_model(text)
        except onnx.parser.ParseError as e:
            c.left.append(f"{name}: {e}"[:300])
            continue
        try:
            results = run_ort(model, {"x": x})
        except Exception as e:
            c.left.append(f"{name}: {e}"[:200])
            results = run_reference(model, {"x": x})
        c.put(name, model, {"x": x}, results)
    c.save()


KINDS = dict(functions=functions, pools=pools, transposed=transposed, reductions=reductions, topk=order, nan=nans,
             versions=versions, float64=doubles, bfloat16=brains)

if __name__ == "__main__":
    for kind in sys.argv[1:] or KINDS:
        KINDS[kind]()
