"""One torch module to one verified ONNX graph.

The way through: trace the module without its weights, fold the weight
transposes, let ONNX Runtime's basic optimiser clean the weightless skeleton up,
write the weights straight from the torch tensors into the file, and compare the
file with the module on shapes other than the traced ones. A graph never holds a
second copy of the weights in memory, whatever their size.
"""

from __future__ import annotations

import copy
import io
import logging
import os
import tempfile
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import helper

from . import memory
from .weights import DTYPES, ExportError, as_stored, attach, data_file, embed, onnx_type, plan

LIMIT = 1e-4
"""Largest accepted difference between torch and the graph; see `difference`."""

MAPPED_BYTES = 64 << 20
"""A graph with more is verified as it is written: what an optimiser makes of weights is a second
copy of them."""

SHAPE_ELEMENTS = 1 << 10
"""Weights with fewer may take part in shapes."""

OPSETS = range(17, 21)
"""17 is the first with LayerNormalization, 20 the last the TorchScript exporter knows."""

Sizes = dict[str, int]
Make = Callable[[Sizes], dict[str, torch.Tensor]]


@dataclass
class GraphSpec:
    """What a module looks like as a graph.

    make(sizes) builds example inputs, in the order of the module's forward.
    axes names the dimensions of each input and output; an int is a fixed one.
    trace must have sizes that are all distinct and at least 2, or the tracer
    may specialise on an accident; checks are the other sizes to verify on.
    unpack: its products have many rows, so weights of few bits are unpacked once.
    """

    module: torch.nn.Module
    make: Make
    outputs: list[str]
    axes: dict[str, list]
    trace: Sizes
    checks: list[Sizes]
    unpack: bool = False


@dataclass
class GraphReport:
    """What was written and how far it is from torch, for xpipe.json."""

    file: str
    dtype: str
    opset: int
    max_abs_diff: float
    max_rel_diff: float
    rounding_abs_diff: float | None = None
    cases: list[Sizes] = field(default_factory=list)
    nodes: int = 0
    parameters: int = 0

    def as_json(self) -> dict:
        out = {k: v for k, v in self.__dict__.items() if v is not None and k != "file"}
        for k in ("max_abs_diff", "max_rel_diff", "rounding_abs_diff"):
            if k in out:
                out[k] = float(f"{out[k]:.3g}")
        return out


def export_graph(spec: GraphSpec, path: Path, *, dtype: str = "fp32", opset: int = 17, seed: int = 0,
                 consume: bool = False, embedded: bool = True, step: Callable[[str], None] = lambda _: None) -> GraphReport:
    """Write spec as an ONNX file at path (and path + "_data" when large), verified.

    dtype "fp32" stores the weights as they are, "fp16" stores large weights as
    float16 behind a Cast (inputs, outputs and arithmetic stay float32), "int8" and
    "int4" store those of large products and tables in blocks of 32.

    The graph must equal torch to LIMIT with the *stored* weights; what storing
    them costs is reported apart as rounding_abs_diff. consume lets fp16 replace
    the module's weights for good, which saves a copy of them. embedded False leaves
    small weights in the file beside the graph, where they can be mapped.
    step is called with the name of each stage as it begins.
    Raises ExportError.
    """
    if opset not in OPSETS:
        raise ExportError(f"opset {opset} is not supported, choose {OPSETS.start} to {OPSETS.stop - 1}")
    if dtype not in DTYPES:
        raise ExportError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    module = spec.module.eval()  # the wrapper itself: the exporter restores its flag, and with it dropout

    step("trace")
    weights, model = _trace(spec, opset, seed)
    memory.release()
    step("optimise")
    model = _fold(model, weights)
    model = _optimise(model)
    model = _fold(model, weights)
    _check_domains(model, path)

    step("write")
    report = GraphReport(path.name, dtype, opset, 0.0, 0.0, nodes=len(model.graph.node),
                         parameters=sum(w.numel() for w in weights.values() if w.is_floating_point()))
    ways = plan(model.graph, weights, dtype, spec.unpack)
    attach(model, weights, ways, path, dtype)

    step("verify")
    cases = [_inputs(spec, sizes, seed + 1 + i) for i, sizes in enumerate([spec.trace, *spec.checks])]
    report.cases = [spec.trace, *spec.checks]
    stored = exact = [_torch(module, c) for c in cases]
    if any(ways.values()):
        with as_stored(module, weights, ways, dtype, keep=dtype != "fp16" or not consume):
            stored = [_torch(module, c) for c in cases]
    if dtype != "fp32":
        report.rounding_abs_diff = max(difference(a, b)[0] for x, y in zip(exact, stored) for a, b in zip(x, y))
    del weights
    _verify(spec, path, cases, stored, report)
    if embedded:
        embed(path)
    return report


def difference(got: np.ndarray, want: np.ndarray) -> tuple[float, float]:
    """The largest |got - want|, and the same over max(1, largest |want|).

    The second is what LIMIT bounds: float32 arithmetic cannot hold 1e-4 on the
    activations of several hundred that large encoders have.
    """
    if got.shape != want.shape:
        raise ExportError(f"shape {list(got.shape)}, torch gives {list(want.shape)}")
    if got.size == 0:
        return 0.0, 0.0
    if not (np.isfinite(got).all() and np.isfinite(want).all()):
        raise ExportError("output is not finite")
    d = float(np.max(np.abs(got.astype(np.float64) - want.astype(np.float64))))
    return d, d / max(1.0, float(np.max(np.abs(want))))


def run_graph(path: Path, outputs: list[str], inputs: dict) -> list[np.ndarray]:
    """Run the file on ONNX Runtime, one thread."""
    opened = session(path)
    known = {i.name for i in opened.get_inputs()}
    return opened.run(outputs, {k: feed(v) for k, v in inputs.items() if k in known})


def feed(value) -> np.ndarray:
    """A tensor or array as ONNX Runtime takes it. Not np.ascontiguousarray, which makes a scalar a
    row of one."""
    return np.asarray(value.numpy() if isinstance(value, torch.Tensor) else value, order="C")


# --- tracing -----------------------------------------------------------------------------------


def _inputs(spec: GraphSpec, sizes: Sizes, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return spec.make(sizes)


def _torch(module: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> list[np.ndarray]:
    with torch.no_grad():
        out = module(*[t.clone() for t in inputs.values()])
    return [t.detach().numpy() for t in (out if isinstance(out, (tuple, list)) else (out,))]


def _trace(spec: GraphSpec, opset: int, seed: int) -> tuple[dict[str, torch.Tensor], onnx.ModelProto]:
    inputs = _inputs(spec, spec.trace, seed)
    missing = [n for n in (*inputs, *spec.outputs) if n not in spec.axes]
    if missing:
        raise ExportError(f"no axes given for {missing}")
    dynamic = {n: {i: a for i, a in enumerate(ax) if isinstance(a, str)} for n, ax in spec.axes.items()
               if n in inputs or n in spec.outputs}
    buffer = io.BytesIO()
    with torch.no_grad(), _quiet(), _weights_unread():
        torch.onnx.export(spec.module, tuple(inputs.values()), buffer, dynamo=False, opset_version=opset,
                          export_params=False, do_constant_folding=False,
                          keep_initializers_as_inputs=True,  # or equal weights are searched for and merged
                          input_names=list(inputs), output_names=spec.outputs, dynamic_axes=dynamic)
    model = onnx.load_from_string(buffer.getvalue())
    state = {k: v.detach() for k, v in torch.jit._unique_state_dict(spec.module).items()}
    unknown = [i.name for i in model.graph.input if i.name not in inputs and i.name not in state]
    if unknown:
        raise ExportError(f"graph inputs {unknown} are neither inputs nor weights")
    weights = {i.name: state[i.name] for i in model.graph.input if i.name not in inputs}
    used = {i.name for i in model.graph.input}
    dropped = [n for n in inputs if n not in used]
    if dropped:
        raise ExportError(f"the module ignores its inputs {dropped}")
    return weights, model


@contextmanager
def _weights_unread():
    """Keep torch's inference of shapes from the weights' values: it would transpose every one of
    them, and hold the copies until the graph is made. Small ones stay, they may be shapes."""
    infer = torch._C._jit_pass_onnx_graph_shape_type_inference
    torch._C._jit_pass_onnx_graph_shape_type_inference = lambda graph, weights, opset: infer(
        graph, {name: w for name, w in weights.items() if w.numel() < SHAPE_ELEMENTS}, opset)
    try:
        yield
    finally:
        torch._C._jit_pass_onnx_graph_shape_type_inference = infer


@contextmanager
def _quiet():
    """The tracer warns of every Python branch on a shape; the checks on other shapes are the real
    guard."""
    loggers = [logging.getLogger(n) for n in (None, "torch.onnx", "transformers")]
    levels = [lg.level for lg in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for lg in loggers:
            lg.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for lg, level in zip(loggers, levels):
                lg.setLevel(level)


# --- the weightless skeleton -------------------------------------------------------------------


def _fold(model: onnx.ModelProto, weights: dict[str, torch.Tensor]) -> onnx.ModelProto:
    """Evaluate Identity and Transpose of weights; drop the weights that nothing reads.

    Transposes are torch views, so nothing is copied before the file is written.
    """
    graph = model.graph
    user = {i.name for i in graph.input} - set(weights)
    alias: dict[str, str] = {}
    outputs = {o.name for o in graph.output}
    made: dict[tuple, str] = {}
    keep = []
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name in alias:
                node.input[i] = alias[name]
        source = node.input[0] if node.input else ""
        out = node.output[0] if node.output else ""
        if node.op_type == "Identity" and source in weights and out not in outputs:
            alias[out] = source
            continue
        if node.op_type == "Transpose" and source in weights and out not in outputs:
            perm = next((list(a.ints) for a in node.attribute if a.name == "perm"), None)
            perm = perm or list(range(weights[source].dim()))[::-1]
            key = (source, *perm)
            if key not in made:
                made[key] = f"{source}.transposed"
                while made[key] in weights:
                    made[key] += "_"
                weights[made[key]] = weights[source].permute(perm)
            alias[out] = made[key]
            continue
        keep.append(node)
    del graph.node[:]
    graph.node.extend(keep)
    read = {name for node in keep for name in node.input} | outputs
    for name in [n for n in weights if n not in read]:
        del weights[name]
    inputs = [i for i in graph.input if i.name in user]
    inputs += [helper.make_tensor_value_info(n, onnx_type(w.dtype), list(w.shape)) for n, w in weights.items()]
    del graph.input[:]
    graph.input.extend(inputs)
    return model


def _optimise(model: onnx.ModelProto) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as tmp:
        target = os.path.join(tmp, "optimised.onnx")
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = target
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(target)


def _check_domains(model: onnx.ModelProto, path: Path) -> None:
    foreign = sorted({f"{n.domain}.{n.op_type}" for n in model.graph.node if n.domain not in ("", "ai.onnx")})
    if foreign:
        raise ExportError(f"{path.name} uses operators outside the ONNX standard: {foreign}")
    for opset in [o for o in model.opset_import if o.domain not in ("", "ai.onnx")]:
        model.opset_import.remove(opset)


def fuse_batchnorm(module: torch.nn.Module, example: torch.Tensor) -> torch.nn.Module:
    """A copy of module in which each BatchNorm2d that follows a Conv2d is part of it.

    The pairs are found by running example: a BatchNorm2d whose input is the very
    tensor that a Conv2d gave. Raises ExportError where the copy computes something
    else (the convolution's output was also read elsewhere).
    """
    fused = copy.deepcopy(module).eval()
    made: dict[int, tuple] = {}
    pairs = []
    hooks = []
    for m in fused.modules():
        if isinstance(m, torch.nn.Conv2d):
            hooks.append(m.register_forward_hook(lambda m, _i, out: made.__setitem__(id(out), (m, out))))
        elif isinstance(m, torch.nn.BatchNorm2d):
            hooks.append(
                m.register_forward_hook(lambda m, i, _o: pairs.append((made[id(i[0])][0], m))
                                        if id(i[0]) in made else None))
    with torch.no_grad():
        want = module.eval()(example)
        fused(example)
        for hook in hooks:
            hook.remove()
        for conv, bn in pairs:
            scale = bn.weight.double() / torch.sqrt(bn.running_var.double() + bn.eps)
            bias = 0 if conv.bias is None else conv.bias.double()
            conv.bias = torch.nn.Parameter(((bias - bn.running_mean.double()) * scale + bn.bias.double()).float())
            conv.weight.copy_((conv.weight.double() * scale[:, None, None, None]).float())
        normed = {id(bn) for _, bn in pairs}
        for parent in list(fused.modules()):
            for name, child in list(parent.named_children()):
                if id(child) in normed:
                    setattr(parent, name, torch.nn.Identity())
        got = fused(example)
    if difference(_tensor_of(got).numpy(), _tensor_of(want).numpy())[1] > LIMIT:
        raise ExportError("fusing the batch normalisation changed what the encoder computes")
    return fused


def _tensor_of(out) -> torch.Tensor:
    return out if isinstance(out, torch.Tensor) else out[0]


# --- verification ------------------------------------------------------------------------------


def session(path: Path) -> ort.InferenceSession:
    """The graph at path on one thread. What has much data beside it is run as it stands, from a
    mapping."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    data = data_file(Path(path))
    if data.exists() and data.stat().st_size > MAPPED_BYTES:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.enable_cpu_mem_arena = False
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _verify(spec: GraphSpec, path: Path, cases: list[dict], want: list[list[np.ndarray]], report: GraphReport) -> None:
    opened = session(path)
    for sizes, case, expected in zip(report.cases, cases, want):
        try:
            with memory.watched([data_file(path)]):
                got = opened.run(spec.outputs, {k: feed(v) for k, v in case.items()})
        except Exception as e:  # the runtime's own error classes differ by kind
            raise ExportError(f"{path.name} fails at sizes {sizes}: {e}") from e
        for name, a, b in zip(spec.outputs, got, expected):
            try:
                absolute, relative = difference(a, b)
            except ExportError as e:
                raise ExportError(f"{path.name}: {name} at sizes {sizes}: {e}") from e
            report.max_abs_diff = max(report.max_abs_diff, absolute)
            report.max_rel_diff = max(report.max_rel_diff, relative)
            if relative > LIMIT:
                raise ExportError(f"{path.name}: {name} differs from torch by {absolute:.3g} "
                                  f"({relative:.3g} of its range, limit {LIMIT:g}) at sizes {sizes}")
