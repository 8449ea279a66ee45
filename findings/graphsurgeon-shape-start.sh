#!/usr/bin/env bash
# ONNX GraphSurgeon's fold_constants takes Shape(start, end) for the whole shape.
#
# Expected: Shape with start=2 of a tensor [1, 3, 8, 6] is folded to [8, 6], as ONNX (opset 15 and
# later) says and as ONNX Runtime computes it.
# What happens: it is folded to [1, 3, 8, 6]. The attributes start and end are not looked at, nothing
# is said, and the folded graph passes the checker. A graph that sizes a Resize or a Reshape by such a
# Shape gives other results, or no longer opens.
# Versions: onnx-graphsurgeon 0.6.1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Output seen:
#   before [8, 6] after [1, 3, 8, 6]
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check \
	onnx-graphsurgeon==0.6.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$dir/venv/bin/python" - <<'EOF'
import sys

import numpy as np
import onnx
import onnx_graphsurgeon as surgeon
import onnxruntime as ort
from onnx import TensorProto, helper

shape = helper.make_node("Shape", ["x"], ["s"], start=2)
double = helper.make_node("Add", ["s", "zero"], ["y"])
graph = helper.make_graph(
    [shape, double], "g",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 6]),
     helper.make_tensor_value_info("zero", TensorProto.INT64, [1])],
    [helper.make_tensor_value_info("y", TensorProto.INT64, [None])])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
onnx.checker.check_model(model, full_check=True)


def run(model):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values = {"x": np.zeros((1, 3, 8, 6), np.float32), "zero": np.zeros(1, np.int64)}
    return session.run(None, {i.name: values[i.name] for i in session.get_inputs()})[0].tolist()


folded = surgeon.import_onnx(model)
folded.fold_constants().cleanup()
folded = surgeon.export_onnx(folded)
onnx.checker.check_model(folded, full_check=True)
line = f"before {run(model)} after {run(folded)}"
print(line)
sys.exit(0 if line == "before [8, 6] after [1, 3, 8, 6]" else "the behaviour has changed")
EOF
