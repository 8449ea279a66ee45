"""Random graphs that ONNX Runtime's optimiser has rewritten with operators of its own (FusedConv, FusedGemm,
com.microsoft.nchwc, DynamicQuantizeMatMul), for cases.py: each as the optimiser saves it."""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

from cases import Case, floats, some

LEVELS = ort.GraphOptimizationLevel


def ints(r, low, high):
    return int(r.integers(low, high))


def optimised(case, wanted, level):
    """The case with the graph that the optimiser makes of it. Raises ValueError without a node of wanted."""
    with tempfile.TemporaryDirectory() as tmp:
        path = Path(tmp) / "optimised.onnx"
        options = ort.SessionOptions()
        options.graph_optimization_level, options.optimized_model_filepath = level, str(path)
        options.log_severity_level = 4
        ort.InferenceSession(case.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        case.model = onnx.load(path)
    found = {(n.domain, n.op_type) for n in case.model.graph.node}
    if not found & wanted:
        raise ValueError(f"no {sorted(wanted)} in {sorted(found)}")
    return case


class Net:
    def __init__(self, r, shape):
        self.r, self.nodes, self.consts, self.shape, self.at = r, [], {}, shape, "x"

    def add(self, op, *inputs, **attrs):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [i for i in inputs], [name], **attrs))
        return name

    def const(self, *shape, scale=1.0):
        name = f"c{len(self.consts)}"
        self.consts[name] = (floats(self.r, *shape) * scale).astype(np.float32)
        return name

    def conv(self, x, c, m, kernel=None, group=1, stride=1, activation=None):
        k = kernel or ints(self.r, 1, 4)
        inputs = [x, self.const(m, c // group, k, k, scale=1 / (c // group * k * k) ** 0.5)]
        if self.r.integers(3):
            inputs.append(self.const(m))
        y = self.add("Conv", *inputs, kernel_shape=[k, k], pads=[k // 2] * 4, strides=[stride] * 2, group=group)
        return self.activate(y, activation)

    def activate(self, y, activation=None):
        activation = activation or some(self.r, "", "Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", "Clip")
        if activation == "Clip":
            low, high = f"lo{len(self.consts)}", f"hi{len(self.consts)}"
            self.consts[low], self.consts[high] = np.array(0, np.float32), np.array(6, np.float32)
            return self.add("Clip", y, low, high)
        if not activation:
            return y
        attrs = {"LeakyRelu": {"alpha": 0.1}, "HardSigmoid": {"alpha": 0.3, "beta": 0.4}}.get(activation, {})
        return self.add(activation, y, **attrs)

    def case(self, y, inputs, tolerance=(1e-4, 2e-5)):
        names = {y: "y0"}
        for n in self.nodes:
            for part in (n.input, n.output):
                for i, v in enumerate(part):
                    part[i] = names.get(v, v)
        return Case(self.nodes, inputs | self.consts, ["y0"], 17, list(self.consts), tolerance)


def blocked(r):
    """Convolutions of all kinds that are laid out in blocks, with pools, sums and joins between them."""
    c, side = some(r, 3, 1, 4, 8, 12, 16, 20), ints(r, 6, 14)
    net = Net(r, [ints(r, 1, 3), c, side, side])
    m = some(r, 8, 12, 16, 20, 24, 32, 40)
    y = net.conv("x", c, m, stride=some(r, 1, 2))
    for _ in range(ints(r, 0, 4)):
        kind = ints(r, 0, 6)
        if kind == 0:
            y = net.conv(y, m, m, kernel=3, group=m)
        elif kind == 1:
            y = net.activate(net.add("Add", y, net.conv(y, m, m, kernel=some(r, 1, 3))))
        elif kind == 2:
            y = net.add(some(r, "MaxPool", "AveragePool"), y, kernel_shape=[2, 2], strides=[1, 1], pads=[0, 0, 1, 1])
        elif kind == 3:
            before, more = m, some(r, 8, 16, 24)
            y = net.conv(y, before, more)
            m = more
        elif kind == 4:
            y = net.add("Concat", y, net.conv(y, m, m, kernel=some(r, 1, 3)), axis=1)
            m *= 2
        else:
            y = net.add(some(r, "MaxPool", "AveragePool"), y, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    if r.integers(4) == 0:
        y = net.add(some(r, "GlobalAveragePool", "GlobalMaxPool"), y)
    case = net.case(y, {"x": floats(r, *net.shape)})
    return optimised(case, {("com.microsoft.nchwc", "Conv")}, LEVELS.ORT_ENABLE_ALL)


def fused_conv(r):
    """FusedConv, of one to three dimensions, which blocks are not made of."""
    rank = ints(r, 1, 4)
    c, m, group = 3, 5, 1
    if r.integers(3) == 0:
        c, m, group = 4, 6, 2
    net = Net(r, [ints(r, 1, 3), c, *(ints(r, 5, 9) for _ in range(rank))])
    k = [ints(r, 1, 4) for _ in range(rank)]
    inputs = ["x", net.const(m, c // group, *k, scale=0.3)]
    if r.integers(2):
        inputs.append(net.const(m))
    y = net.add("Conv", *inputs, kernel_shape=k, pads=[n // 2 for n in k] * 2, group=group)
    y = net.activate(y, some(r, "Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", "Clip"))
    case = net.case(y, {"x": floats(r, *net.shape)})
    return optimised(case, {("com.microsoft", "FusedConv")}, LEVELS.ORT_ENABLE_EXTENDED)


def fused_gemm(r):
    m, k, n = (ints(r, 1, 9) for _ in range(3))
    ta, tb = ints(r, 0, 2), ints(r, 0, 2)
    net = Net(r, [k, m] if ta else [m, k])
    inputs = ["x", net.const(*([n, k] if tb else [k, n]))]
    if r.integers(2):
        inputs.append(net.const(n))
    y = net.add("Gemm", *inputs, transA=ta, transB=tb, alpha=some(r, 1.0, 0.5))
    y = net.activate(y, some(r, "Relu", "Sigmoid", "Tanh", "LeakyRelu"))
    case = net.case(y, {"x": floats(r, *net.shape)})
    return optimised(case, {("com.microsoft", "FusedGemm")}, LEVELS.ORT_ENABLE_EXTENDED)


def dynamic_matmul(r):
    """Products of 8 bits as quantize_dynamic writes them, and the optimiser joins them."""
    m, k, n = ints(r, 1, 9), ints(r, 4, 40), ints(r, 1, 20)
    net, signed, own = Net(r, [m, k]), r.integers(2), r.integers(2)  # own: a scale for each column
    kind, low = (np.int8, -64) if signed else (np.uint8, 0)
    net.consts |= {"w": r.integers(low, low + 128, (k, n)).astype(kind), "scale": r.uniform(0.01, 0.1, n if own else ()).astype(np.float32),
                   "zero": (np.zeros if signed else np.ones)(n if own else (), kind)}
    net.nodes.append(helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"]))
    y = net.add("Cast", net.add("MatMulInteger", "q", "w", "qz", "zero"), to=onnx.TensorProto.FLOAT)
    y = net.add("Mul", y, net.add("Mul", "qs", "scale"))
    if r.integers(2):
        y = net.add("Add", y, net.const(n))
    case = net.case(y, {"x": floats(r, m, k)}, (1e-3, 1e-3))
    wanted = {("com.microsoft", "DynamicQuantizeMatMul"), ("com.microsoft", "MatMulIntegerToFloat")}
    return optimised(case, wanted, LEVELS.ORT_ENABLE_EXTENDED)


MAKERS = {"BlockedConv": blocked, "FusedConv": fused_conv, "FusedGemm": fused_gemm, "DynamicQuantizeMatMul": dynamic_matmul}
