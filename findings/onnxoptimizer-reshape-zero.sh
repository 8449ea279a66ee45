#!/usr/bin/env bash
# onnxoptimizer's default passes join two Reshapes although the second copies a dimension by 0.
#
# Expected: Reshape to [2, 12] and then to [0, 2, -1] gives [2, 2, 6]: a 0 in a shape copies the
# dimension of that Reshape's own input, [2, 12]. A pass may drop the first Reshape only if it writes
# the 2 in place of the 0.
# What happens: the pass eliminate_consecutive_idempotent_ops drops the first Reshape and leaves the
# shape as it is, so that the 0 copies from [1, 4, 6]: the result is [1, 2, 12]. Nothing is said.
# ONNX's own function body of GroupNormalization has such a pair, and gives other numbers afterwards.
# onnxsim 0.8.1 leaves the pair alone.
# Versions: onnxoptimizer 0.4.2, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Output seen:
#   before (2, 2, 6) after (1, 2, 12)
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check \
	onnxoptimizer==0.4.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$dir/venv/bin/python" - <<'EOF'
import sys

import numpy as np
import onnx
import onnxoptimizer
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

graph = helper.make_graph(
    [helper.make_node("Reshape", ["x", "first"], ["h"]),
     helper.make_node("Reshape", ["h", "second"], ["y"])], "g",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 6])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None, None])],
    [numpy_helper.from_array(np.array([2, 12], np.int64), "first"),
     numpy_helper.from_array(np.array([0, 2, -1], np.int64), "second")])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
onnx.checker.check_model(model, full_check=True)


def run(model):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.zeros((1, 4, 6), np.float32)})[0].shape


line = f"before {run(model)} after {run(onnxoptimizer.optimize(model))}"
print(line)
sys.exit(0 if line == "before (2, 2, 6) after (1, 2, 12)" else "the behaviour has changed")
EOF
