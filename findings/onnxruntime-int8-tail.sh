#!/usr/bin/env bash
# The last columns of an 8-bit product are wrong in one row of 32 on processors with AMX: a quantised
# language model whose vocabulary is no multiple of 64 then writes its last tokens at random.
#
# Expected: MatMulInteger is exact, whatever the sizes; its sums fit 32 bits by far.
# What happens: with 32 rows or more, row 31 has wrong sums in the columns behind the last whole
# block of 64; the other rows, and fewer rows, are right. Weights of 7 bits, as here, do not help.
# Versions: onnxruntime 1.24.4, onnx 1.23.2, numpy 2.4.6. On processors without AMX all is right,
# and there is nothing to see.
# Output seen (with AMX):
#   onnxruntime 1.24.4: 32x32x390: 6 wrong, in row 31, from column 384 on
#   onnxruntime 1.24.4: 32x32x384: 0 wrong
#   onnxruntime 1.24.4: 16x32x390: 0 wrong
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check onnxruntime==1.24.4 onnx==1.23.2 numpy==2.4.6
"$dir/venv/bin/python" - <<'PY'
import sys

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

random, counts = np.random.default_rng(0), []
for rows, width, columns in [(32, 32, 390), (32, 32, 384), (16, 32, 390)]:
    weights = random.integers(-64, 64, (width, columns)).astype(np.int8)
    x = random.integers(0, 256, (rows, width)).astype(np.uint8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w", "zero"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [rows, width])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [rows, columns])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.uint8(129), "zero")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wrong = np.argwhere(session.run(None, {"x": x})[0] != (x.astype(int) - 129) @ weights.astype(int))
    where = f", in row {wrong[0][0]}, from column {wrong[0][1]} on" if len(wrong) else ""
    print(f"onnxruntime {ort.__version__}: {rows}x{width}x{columns}: {len(wrong)} wrong{where}")
    counts.append(len(wrong))
if "amx_int8" not in open("/proc/cpuinfo").read():
    print("this processor has no AMX")
    counts = [6, 0, 0] if counts == [0, 0, 0] else counts
sys.exit(0 if counts == [6, 0, 0] else "the behaviour has changed")
PY
