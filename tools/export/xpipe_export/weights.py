"""How weights are stored in a graph's file: as they are, as float16, or in blocks of 8 and 4 bits.

While an export goes on every graph has its weights in a file beside it, which can be mapped; in the
end `embed` puts small ones into the graph's own file. A graph never holds a second copy of the
weights in memory, whatever their size.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from . import memory, nbits, waves

DTYPES = ("fp32", "fp16", *nbits.BITS)

SMALL = ("int8-fp16", "int4-fp16")
"""Those of blocks whose bundle is as small as can be."""

HALVES = ("fp16", *SMALL)
"""Those that store as float16 what large weights are left, and the scales of blocks."""

EXTERNAL_BYTES = 1 << 30
"""Graphs with more weight bytes than this keep them in a file beside the graph
(one protobuf message stops at 2 GiB)."""

FP16_MIN_ELEMENTS = 1024
"""Smaller weights (biases, norms) stay float32: halving them saves nothing."""

PAGE = 4096
PIECE = 16 << 20
"""Weights are converted and copied so many bytes at a time."""


class ExportError(RuntimeError):
    """The graph cannot be made, or does not do what the module does."""


def plan(graph: onnx.GraphProto, weights: dict[str, torch.Tensor], dtype: str,
         unpack: bool = False) -> dict[str, str | None]:
    """How each weight of a graph is stored: None for as it is, "half", "waves", or how its products
    read it (nbits.layout). Views of one tensor are stored alike."""
    ways: dict[str, str | None] = dict.fromkeys(weights)
    if dtype in nbits.BITS:
        ways = {name: nbits.layout(graph, name, w, unpack) for name, w in weights.items()}
        left = {weights[name].data_ptr() for name, way in ways.items() if way is None}
        ways = {name: None if weights[name].data_ptr() in left else way for name, way in ways.items()}
    if dtype in HALVES:
        ways = {name: way or _left(weights[name], dtype) for name, way in ways.items()}
    return ways


def _left(w: torch.Tensor, dtype: str) -> str | None:
    """How a weight is stored that goes into no blocks, in float16 where it is worth it."""
    if dtype in nbits.BITS and waves.made_of(w):
        return "waves"
    return "half" if _halves(w) else None


def attach(model: onnx.ModelProto, weights: dict[str, torch.Tensor], ways: dict[str, str | None],
           path: Path, dtype: str) -> None:
    """Turn the weight inputs into initializers and write the file at path and its data."""
    graph = model.graph
    user = [i for i in graph.input if i.name not in weights]
    del graph.input[:]
    graph.input.extend(user)
    casts = []
    for name, way in ways.items():
        if way == "half":
            casts += _cast(graph, name, f"{name}.fp16")
        elif way == "waves":
            casts += waves.nodes(name)
        elif way:
            shape, bits = tuple(weights[name].shape), nbits.BITS[dtype]
            if dtype in SMALL:
                casts.append(_widened(f"{name}.scales", f"{name}.scales.fp16"))
            if way == "unpacked":
                casts += nbits.unpacked(graph, name, shape, bits)
            else:
                nbits.rewrite(graph, name, shape, way, bits)
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(casts + nodes)
    if any(n.domain == nbits.DOMAIN for n in graph.node):
        model.opset_import.append(helper.make_opsetid(nbits.DOMAIN, 1))
    model.producer_name, model.producer_version = "xpipe-export", ""
    model.doc_string = graph.doc_string = ""
    data = data_file(path)
    data.unlink(missing_ok=True)
    offset = 0
    with open(data, "wb") as f:
        for name, w in weights.items():
            for stored, value, kind in _stored(name, w, ways[name], dtype):
                offset += f.write(b"\0" * (-offset % PAGE))  # so an engine can map each tensor
                start = offset
                for piece in _pieces(value, kind):
                    offset += f.write(piece)
                t = TensorProto(name=stored, data_type=onnx_type(kind), dims=list(value.shape))
                _point(t, data.name, start, offset - start)
                graph.initializer.append(t)
            memory.release()
    path.write_bytes(model.SerializeToString())


def _stored(name: str, w: torch.Tensor, way: str | None,
            dtype: str) -> list[tuple[str, torch.Tensor, torch.dtype]]:
    """The tensors that a weight is written as."""
    if way is None:
        return [(name, w, w.dtype)]
    if way == "half":
        return [(f"{name}.fp16", w, torch.float16)]
    if way == "waves":
        return [(n, t, torch.float32) for n, t in waves.stored(name, w)]
    small = dtype in SMALL
    q, scales = (torch.from_numpy(np.ascontiguousarray(x)) for x in nbits.stored(w, way, nbits.BITS[dtype], small))
    suffix, kind = ("scales.fp16", torch.float16) if small else ("scales", torch.float32)
    return [(f"{name}.q", q, torch.uint8), (f"{name}.{suffix}", scales, kind)]


@contextmanager
def as_stored(module: torch.nn.Module, weights: dict[str, torch.Tensor], ways: dict[str, str | None],
              dtype: str, keep: bool) -> Iterator[None]:
    """While entered, module has the weights that its graph has; afterwards, too, where keep is
    False. Weights are replaced and never written to: they may be mapped from a file."""
    holders = defaultdict(list)
    for t in (*module.parameters(), *module.buffers()):
        holders[t.data_ptr()].append(t)
    saved = []
    try:
        for name, way in ways.items():
            w = weights[name]
            for t in holders.pop(w.data_ptr(), []) if way else []:
                if keep:
                    saved.append((t, t.data))
                new = torch.empty(t.shape, dtype=t.dtype)
                new.as_strided(w.size(), w.stride()).copy_(_rounded(w, way, dtype))
                t.data = new
        yield
    finally:
        for t, original in saved:
            t.data = original


def _rounded(w: torch.Tensor, way: str, dtype: str) -> torch.Tensor:
    if way == "half":
        return w.half()
    if way == "waves":
        return waves.table(*w.shape)
    turned = way in nbits.TRANSPOSED
    rows = nbits.rounded(w.T if turned else w, nbits.BITS[dtype], dtype in SMALL)
    return rows.T if turned else rows


def data_file(path: Path) -> Path:
    """Where the weights of the graph at path are, when they are not in it."""
    return path.with_name(path.name + "_data")


def _point(t: TensorProto, location: str, offset: int, length: int) -> None:
    t.data_location = TensorProto.EXTERNAL
    for k, v in (("location", location), ("offset", offset), ("length", length)):
        t.external_data.add(key=k, value=str(v))


def reads(path: Path, data: Path) -> bool:
    """Whether the graph at path has weights in the file data, such as a table that two graphs share."""
    model = onnx.load(path, load_external_data=False)
    return any(e.key == "location" and path.with_name(e.value) == data
               for t in model.graph.initializer for e in t.external_data)


def embed(path: Path) -> None:
    """Put the weights of the graph at path into its file, unless they take more than EXTERNAL_BYTES.

    They are copied from file to file: building the message first would hold them three times.
    """
    data = data_file(path)
    if not data.exists():
        return
    model = onnx.load(path, load_external_data=False)
    places = []
    for t in model.graph.initializer:
        where = {e.key: e.value for e in t.external_data}
        places.append((int(where["offset"]), int(where["length"])) if where else None)
    if sum(p[1] for p in places if p) > EXTERNAL_BYTES:
        return
    tensors = list(model.graph.initializer)
    del model.graph.initializer[:]
    graph = model.graph.SerializeToString()
    model.ClearField("graph")
    heads = []
    for t, place in zip(tensors, places):
        t.ClearField("external_data")
        t.ClearField("data_location")
        length = place[1] if place else 0
        head = t.SerializeToString() + (_field(TensorProto.RAW_DATA_FIELD_NUMBER, length) if place else b"")
        heads.append(_field(onnx.GraphProto.INITIALIZER_FIELD_NUMBER, len(head) + length) + head)
    total = len(graph) + sum(len(h) + (p[1] if p else 0) for h, p in zip(heads, places))
    whole = path.with_name(path.name + ".whole")
    with open(whole, "wb") as f, open(data, "rb") as source:
        f.write(model.SerializeToString())
        f.write(_field(onnx.ModelProto.GRAPH_FIELD_NUMBER, total))
        f.write(graph)
        for head, place in zip(heads, places):
            f.write(head)
            offset, left = place or (0, 0)
            source.seek(offset)
            while left:
                piece = source.read(min(left, PIECE))
                if not piece:
                    raise ExportError(f"{data} is shorter than {path.name} says")
                f.write(piece)
                left -= len(piece)
    whole.replace(path)
    data.unlink()


def _field(number: int, length: int) -> bytes:
    """Tag and length of a length-delimited protobuf field."""
    out = bytearray()
    for value in (number << 3 | 2, length):
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        out.append(value)
    return bytes(out)


def _pieces(w: torch.Tensor, dtype: torch.dtype) -> Iterator[memoryview]:
    """The bytes of w as dtype, a few rows at a time: a transposed or converted tensor is copied."""
    if not w.numel():
        return
    w = w.reshape(1) if w.dim() == 0 else w
    rows = max(1, PIECE * len(w) // (w.numel() * dtype.itemsize))
    for part in w.split(rows):
        yield memoryview(part.to(dtype).contiguous().numpy()).cast("B")


def onnx_type(dtype: torch.dtype) -> int:
    return {torch.float32: TensorProto.FLOAT, torch.float16: TensorProto.FLOAT16,
            torch.int64: TensorProto.INT64, torch.int32: TensorProto.INT32,
            torch.uint8: TensorProto.UINT8, torch.bool: TensorProto.BOOL}[dtype]


def _halves(w: torch.Tensor) -> bool:
    return (w.dtype == torch.float32 and w.dim() >= 2 and w.numel() >= FP16_MIN_ELEMENTS
            and bool(w.abs().max() <= torch.finfo(torch.float16).max))


def _cast(graph: onnx.GraphProto, name: str, short: str) -> list[onnx.NodeProto]:
    """Read `short` (float16) where the graph reads `name`.

    A table that is only gathered from is cast after the Gather: a few rows and
    not the whole vocabulary. Returns the node to put before all others.
    """
    readers = [n for n in graph.node if name in n.input]
    if readers and all(n.op_type == "Gather" and n.input[0] == name and name not in n.input[1:] for n in readers):
        nodes = list(graph.node)
        del graph.node[:]
        for n in nodes:
            graph.node.append(n)
            if n in readers:
                added = graph.node[-1]
                added.input[0] = short
                out = added.output[0]
                added.output[0] = f"{out}.fp16"
                graph.node.append(helper.make_node("Cast", [f"{out}.fp16"], [out], to=TensorProto.FLOAT))
        for info in [v for v in graph.value_info if v.name in {n.output[0] for n in readers}]:
            graph.value_info.remove(info)
        return []
    return [_widened(name, short)]


def _widened(name: str, short: str) -> onnx.NodeProto:
    return helper.make_node("Cast", [short], [name], to=TensorProto.FLOAT)
