#!/usr/bin/env bash
# The ONNX reference evaluator misses the corners in Resize with align_corners and scales.
#
# Expected: align_corners maps the first pixel to the first and the last to the last; the operator
# divides by one less than the resized tensor's length. Enlarging 4 values by 2.4 gives
# floor(9.6) = 9 values, the last of which is the last of the input.
# What happens: the evaluator divides by 9.6 - 1, the length before it is rounded down, so the last
# value falls short and all but the first are off. With whole lengths (scale 2.5, or sizes) it is
# right. ONNX Runtime uses the true length and keeps the corners.
# Versions: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Output seen:
#   scale 2.5: 10 values, last: reference 30.0 onnxruntime 30.0
#   scale 2.4: 9 values, last: reference 27.907 onnxruntime 30.0
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
from onnx.reference import ReferenceEvaluator


def last(scale, length):
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="linear",
                            coordinate_transformation_mode="align_corners")
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, length])],
        [numpy_helper.from_array(np.array([1, 1, scale], np.float32), "scales")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    feeds = {"x": np.array([[[0, 10, 20, 30]]], np.float32)}
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [round(float(y[0][0, 0, -1]), 3)
            for y in (ReferenceEvaluator(model).run(None, feeds), session.run(None, feeds))]


seen = [last(2.5, 10), last(2.4, 9)]
print("scale 2.5: 10 values, last: reference", seen[0][0], "onnxruntime", seen[0][1])
print("scale 2.4: 9 values, last: reference", seen[1][0], "onnxruntime", seen[1][1])
ok = np.allclose(seen, [[30, 30], [27.907, 30]], atol=2e-3)
sys.exit(0 if ok else "the behaviour has changed")
EOF
