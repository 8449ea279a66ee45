"""One table for the embeddings of tokens and the head of a language model, where both are the same
weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, external_data_helper, helper

from ..graph import ExportError

PIECE = 1 << 26
"""Elements that are compared at once."""


def share(embed: Path, decoder: Path) -> bool:
    """Have the graph of embeddings read the table of the decoder's head, [D,V] in the data file beside
    it, in place of its own [V,D]. False, and nothing is changed, where the two are stored in
    different types. Raises ExportError where the new graph gives other rows."""
    model = onnx.load(embed, load_external_data=False)
    cast, gather = _gather(model)
    table = next(t for t in model.graph.initializer if t.name == (cast or gather).input[0])
    whole = onnx.load(decoder, load_external_data=False)
    head = next((t for t in whole.graph.initializer if list(t.dims) == list(table.dims)[::-1]
                 and t.data_type == table.data_type and _same(_values(t, decoder), _values(table, embed).T)),
                None)
    if head is None:
        return False
    ids = np.arange(min(7, table.dims[0]), dtype=np.int64)[None]
    before = _run(embed, ids)
    if head.data_location != TensorProto.EXTERNAL:
        _move_out(whole, head, decoder)
    made = f"{table.name}.rows"
    graph = model.graph
    nodes = [n for n in graph.node if n not in (cast, gather)]
    del graph.node[:]
    graph.node.extend([
        helper.make_node("Gather", [head.name, gather.input[1]], [f"{made}.columns"], axis=1),
        helper.make_node("Transpose", [f"{made}.columns"], [made if cast else gather.output[0]],
                         perm=[1, 2, 0])])
    if cast:
        graph.node.append(helper.make_node("Cast", [made], [gather.output[0]], to=TensorProto.FLOAT))
    graph.node.extend(nodes)
    graph.initializer.remove(table)
    graph.initializer.append(head)
    onnx.save(model, embed)
    embed.with_name(embed.name + "_data").unlink(missing_ok=True)
    if not np.array_equal(before, _run(embed, ids)):
        raise ExportError(f"{embed.name} reads other rows from the table of {decoder.name}")
    return True


def _gather(model: onnx.ModelProto):
    """The node that gathers from the table, and the one that casts the table before it, or None."""
    gather = next(n for n in model.graph.node if n.op_type == "Gather")
    cast = next((n for n in model.graph.node if n.op_type == "Cast" and n.output[0] == gather.input[0]), None)
    return cast, gather


def _values(t: TensorProto, file: Path) -> np.ndarray:
    """A tensor's values, of a file beside the graph without reading it as a whole."""
    kind = helper.tensor_dtype_to_np_dtype(t.data_type)
    if t.data_location != TensorProto.EXTERNAL:
        return np.frombuffer(t.raw_data, kind).reshape(t.dims)
    info = external_data_helper.ExternalDataInfo(t)
    return np.memmap(file.with_name(info.location), kind, "r", info.offset or 0, tuple(t.dims))


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    rows = max(1, PIECE // a.shape[1])
    return all(np.array_equal(a[i:i + rows], b[i:i + rows]) for i in range(0, len(a), rows))


def _move_out(model: onnx.ModelProto, t: TensorProto, file: Path) -> None:
    """Keep a tensor in the data file beside the graph."""
    data = file.with_name(file.name + "_data")
    with open(data, "ab") as f:
        offset = f.tell()
        offset += f.write(b"\0" * (-offset % 4096))
        length = f.write(t.raw_data)
    t.ClearField("raw_data")
    t.data_location = TensorProto.EXTERNAL
    for k, v in (("location", data.name), ("offset", offset), ("length", length)):
        t.external_data.add(key=k, value=str(v))
    file.write_bytes(model.SerializeToString())


def _run(file: Path, ids: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: ids})[0]
