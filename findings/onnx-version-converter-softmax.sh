#!/usr/bin/env bash
# ONNX's version converter takes Softmax from opset 13 to 12 unchanged, although it means another thing.
#
# Expected: a Softmax along one axis in the middle keeps its numbers when a graph is converted from
# opset 13 to 12, or the converter refuses. From opset 13 on the axis is the one that is normalised;
# before, all axes from there on were flattened and normalised together, so a Transpose on either side
# is needed. The other way, from 12 to 13, the converter does rewrite the graph, and is right.
# What happens: from 13 to 12 the node stays as it is, and each sum is 1 over the last two axes
# together. LogSoftmax likewise; so do targets 7, 9 and 11. The checker passes, nothing is said.
# Versions: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Output seen:
#   sums over axis 1: opset 13 [1.0, 1.0] opset 12 [0.5, 0.5]
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check \
	onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$dir/venv/bin/python" - <<'EOF'
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, version_converter

graph = helper.make_graph(
    [helper.make_node("Softmax", ["x"], ["y"], axis=1)], "g",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 2])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 2])])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
older = version_converter.convert_version(model, 12)


def sums(model):
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y = session.run(None, {"x": np.zeros((1, 4, 2), np.float32)})[0]
    return y.sum(axis=1)[0].round(3).tolist()


line = f"sums over axis 1: opset 13 {sums(model)} opset {older.opset_import[0].version} {sums(older)}"
print(line)
seen = line == "sums over axis 1: opset 13 [1.0, 1.0] opset 12 [0.5, 0.5]"
sys.exit(0 if seen else "the behaviour has changed")
EOF
