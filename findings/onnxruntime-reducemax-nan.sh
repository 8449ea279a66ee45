#!/usr/bin/env bash
# ONNX Runtime's ReduceMax, ReduceMin and ArgMax see a NaN only where it comes first.
#
# Expected: the maximum of values with a NaN among them is NaN wherever it stands, as for NumPy, the
# ONNX reference evaluator and ONNX Runtime's own Max and TopK; or NaN is skipped everywhere.
# What happens: ReduceMax and ReduceMin give NaN if the first value of the reduced axis is NaN, and
# the maximum or minimum of the other values if the NaN stands elsewhere. ArgMax skips it likewise.
# A check such as "is the greatest logit NaN" built with ReduceMax passes for nearly every broken
# row, and its answer depends on the order of the classes.
# Versions: onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (CPU provider).
# Output seen:
#   [nan, 1.0, 3.0] ReduceMax nan ReduceMin nan ArgMax 0 TopK nan
#   [1.0, nan, 3.0] ReduceMax 3.0 ReduceMin 1.0 ArgMax 2 TopK nan
#   [1.0, 3.0, nan] ReduceMax 3.0 ReduceMin 1.0 ArgMax 1 TopK nan
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check \
	onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$dir/venv/bin/python" - <<'EOF'
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

graph = helper.make_graph(
    [
        helper.make_node("ReduceMax", ["x", "one"], ["max"]),
        helper.make_node("ReduceMin", ["x", "one"], ["min"]),
        helper.make_node("ArgMax", ["x"], ["arg"], axis=1),
        helper.make_node("TopK", ["x", "one"], ["top", "place"], axis=1),
    ],
    "g",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
    [
        helper.make_tensor_value_info("max", TensorProto.FLOAT, [1, 1]),
        helper.make_tensor_value_info("min", TensorProto.FLOAT, [1, 1]),
        helper.make_tensor_value_info("arg", TensorProto.INT64, [1, 1]),
        helper.make_tensor_value_info("top", TensorProto.FLOAT, [1, 1]),
    ],
    [numpy_helper.from_array(np.array([1], np.int64), "one")])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
onnx.checker.check_model(model, full_check=True)
session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

lines = []
for row in ([np.nan, 1, 3], [1, np.nan, 3], [1, 3, np.nan]):
    x = np.array([row], np.float32)
    most, least, arg, top = (v.item() for v in session.run(None, {"x": x}))
    lines.append(f"{x[0].tolist()} ReduceMax {most} ReduceMin {least} ArgMax {arg} TopK {top}")
print("\n".join(lines))
seen = lines == [
    "[nan, 1.0, 3.0] ReduceMax nan ReduceMin nan ArgMax 0 TopK nan",
    "[1.0, nan, 3.0] ReduceMax 3.0 ReduceMin 1.0 ArgMax 2 TopK nan",
    "[1.0, 3.0, nan] ReduceMax 3.0 ReduceMin 1.0 ArgMax 1 TopK nan",
]
sys.exit(0 if seen else "the behaviour has changed")
EOF
