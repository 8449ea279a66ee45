#!/usr/bin/env bash
# ONNX Runtime's MatMulNBits passes over packed zero points where g_idx is given.
#
# Expected: a weight is (value - zero point) * scale, both of the group that g_idx names. With g_idx in
# order, 0 for the first block and 1 for the second, the product is the one without g_idx.
# What happens: the CPU provider takes 8 for every zero point, as if the input were left out. Zero
# points of floats count with g_idx, too.
# Versions: onnxruntime 1.32.0 (1.24.4 does the same), onnx 1.23.2, numpy 2.4.6 (CPU provider).
# Output seen:
#   packed, without g_idx: -9
#   packed, with g_idx: -24
#   floats, with g_idx: -9
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check \
	onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$dir/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper


def product(zeros, groups):
    """One row of ones times 32 weights of 0 in two blocks of 16, of scale 0.09375."""
    consts = {"b": np.zeros((1, 2, 8), np.uint8), "scales": np.full((1, 2), 0.09375, np.float32), "zeros": zeros}
    inputs = ["a", "b", "scales", "zeros"]
    if groups:
        consts["g_idx"] = np.repeat(np.arange(2, dtype=np.int32), 16)
        inputs.append("g_idx")
    node = helper.make_node("MatMulNBits", inputs, ["y"], domain="com.microsoft", K=32, N=1, bits=4, block_size=16)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("a", TensorProto.FLOAT, [1, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])],
        [numpy_helper.from_array(v, k) for k, v in consts.items()])
    sets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=sets, ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"a": np.ones((1, 32), np.float32)})[0].item()


# Zero points 2 and 4: the sum is -0.09375 * 16 * (2 + 4) = -9.
packed, floats = np.array([[0x42]], np.uint8), np.array([[2, 4]], np.float32)
lines = [
    f"packed, without g_idx: {product(packed, False):g}",
    f"packed, with g_idx: {product(packed, True):g}",
    f"floats, with g_idx: {product(floats, True):g}",
]
print("\n".join(lines))
seen = ["packed, without g_idx: -9", "packed, with g_idx: -24", "floats, with g_idx: -9"]
sys.exit(0 if lines == seen else "the behaviour has changed")
PYTHON
