#!/usr/bin/env bash
# The ONNX reference evaluator squares float16 in LayerNormalization, whatever stash_type says.
#
# Expected: stash_type is 1 (float32) unless given, and the operator says that mean and variance are
# computed in that type and the result cast back. Activations of some hundreds, common in float16
# exports, are then normalised without trouble.
# What happens: the evaluator computes in float16. A deviation above 256 squares past 65504, the
# variance becomes infinite, and the whole row comes out as 0, with no more than NumPy's warning.
# RMSNormalization does the same. ONNX Runtime gives the float32 answer.
# Versions: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Output seen:
#   LayerNormalization: reference [0.0, 0.0, 0.0, 0.0] onnxruntime [-1.342, -0.447, 0.447, 1.342]
#   RMSNormalization: reference [0.0, 0.0, 0.0, 0.0] onnxruntime [-1.342, -0.447, 0.447, 1.342]
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check \
	onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$dir/venv/bin/python" -W ignore - <<'EOF'
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

feeds = {"x": np.array([[-900, -300, 300, 900]], np.float16), "scale": np.ones(4, np.float16)}


def both(op):
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "scale"], ["y"], stash_type=TensorProto.FLOAT)], "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT16, v.shape) for n, v in feeds.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, [1, 4])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return ReferenceEvaluator(model).run(None, feeds)[0], session.run(None, feeds)[0]


want = np.array([-900, -300, 300, 900]) / np.sqrt(450000)
ok = True
for op in ("LayerNormalization", "RMSNormalization"):
    reference, runtime = both(op)
    print(f"{op}: reference", [round(float(v), 3) + 0.0 for v in reference[0]], "onnxruntime",
          [round(float(v), 3) for v in runtime[0]])
    ok = ok and not reference.any() and np.allclose(runtime, want, atol=2e-3)
sys.exit(0 if ok else "the behaviour has changed")
EOF
