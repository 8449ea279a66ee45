#!/usr/bin/env bash
# One model's embeddings differ between versions of ONNX Runtime: GatherBlockQuantized of 1.24 reads
# the zero points of rows with an odd number of blocks from the wrong place.
#
# Expected: zero points of 4 bits are packed in bytes along the last axis, so that with one block a
# row each row has a byte of its own, of which the lower half counts. The operator takes zero points
# of that shape, [rows, 1], and MatMulNBits reads them so.
# What happens: 1.24.4 takes the zero points as one run of halves without gaps, so row 1 gets the
# upper half of row 0's byte; 1.32.0 reads them as expected. With an even number of blocks the two
# are the same.
# Versions: onnxruntime 1.24.4 and 1.32.0, onnx 1.23.2, numpy 2.4.6.
# Output seen:
#   onnxruntime 1.24.4: rows give -1.0 -7.0 by MatMulNBits -1.0 -2.0
#   onnxruntime 1.32.0: rows give -1.0 -2.0 by MatMulNBits -1.0 -2.0
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
for version in 1.24.4 1.32.0; do
	"$dir/venv/bin/pip" install -q --disable-pip-version-check \
		onnxruntime==$version onnx==1.23.2 numpy==2.4.6
	"$dir/venv/bin/python" - <<'PY'
import sys

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

# Two rows of one block of 16 zeros; their zero points are 1 and 2, in the lower halves of two bytes.
data, zeros = np.zeros((2, 8), np.uint8), np.array([[0x71], [0x02]], np.uint8)
scales = np.ones((2, 1), np.float32)


def run(node, inputs, constants):
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
         for k, v in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, k) for k, v in constants.items()])
    sets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=sets, ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


gathered = run(
    helper.make_node("GatherBlockQuantized", ["data", "index", "scales", "zeros"], ["y"],
                     domain="com.microsoft", bits=4, block_size=16, gather_axis=0, quantize_axis=1),
    {"index": np.array([0, 1])}, {"data": data, "scales": scales, "zeros": zeros})[:, 0]
multiplied = run(
    helper.make_node("MatMulNBits", ["a", "b", "scales", "zeros"], ["y"],
                     domain="com.microsoft", K=16, N=2, bits=4, block_size=16),
    {"a": np.eye(1, 16, dtype=np.float32)},
    {"b": data.reshape(2, 1, 8), "scales": scales, "zeros": zeros})[0]
print(f"onnxruntime {ort.__version__}: rows give", *gathered, "by MatMulNBits", *multiplied)
second = -7 if ort.__version__ == "1.24.4" else -2
sys.exit(0 if list(gathered) == [-1, second] and list(multiplied) == [-1, -2] else "the behaviour has changed")
PY
done
