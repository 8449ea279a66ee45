#!/usr/bin/env bash
# The ONNX reference evaluator moves every window of AveragePool when ceil_mode adds two or more.
#
# Expected: ceil_mode adds a last window that may reach past the end; the other windows stay where
# they are. Without padding the first window of [1 .. 7] with kernel 3 and stride 3 is [1, 2, 3].
# What happens: where the last window lacks two or more values the evaluator splits them over both
# ends, so half of the overhang becomes padding at the start and each window begins too early:
# [1, 2], [3, 4, 5], [6]; the last value enters no window at all. If the last window lacks only one
# value nothing moves, and a test on such sizes does not notice. MaxPool does not move either. ONNX
# Runtime keeps the windows in place.
# Versions: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Output seen:
#   n=8 AveragePool reference [2.0, 5.0, 7.5] onnxruntime [2.0, 5.0, 7.5]
#   n=7 AveragePool reference [1.5, 4.0, 6.0] onnxruntime [2.0, 5.0, 7.0]
#   n=7 MaxPool     reference [3.0, 6.0, 7.0] onnxruntime [3.0, 6.0, 7.0]
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
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator


def pool(op, n):
    node = helper.make_node(op, ["x"], ["y"], kernel_shape=[3], strides=[3], ceil_mode=1)
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, n])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 3])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    feeds = {"x": np.arange(1, n + 1, dtype=np.float32).reshape(1, 1, n)}
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [y[0].ravel().round(4).tolist()
            for y in (ReferenceEvaluator(model).run(None, feeds), session.run(None, feeds))]


want = {
    ("AveragePool", 8): [[2, 5, 7.5], [2, 5, 7.5]],
    ("AveragePool", 7): [[1.5, 4, 6], [2, 5, 7]],
    ("MaxPool", 7): [[3, 6, 7], [3, 6, 7]],
}
seen = {key: pool(*key) for key in want}
for (op, n), (reference, runtime) in seen.items():
    print(f"n={n} {op:11} reference {reference} onnxruntime {runtime}")
sys.exit(0 if seen == want else "the behaviour has changed")
EOF
