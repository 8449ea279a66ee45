#!/usr/bin/env bash
# ONNX Runtime's linear Resize of uint8 drops the fraction, unless antialias is set.
#
# Expected: enlarging a picture, where antialias has nothing to do by the operator's definition,
# gives the same uint8 picture with antialias=0 and antialias=1 (as float32 does), and both are the
# float32 result rounded to the nearest level.
# What happens: with antialias=1 values are rounded after each pass, with antialias=0 they are
# truncated. The plain way is darker by half a level on average and never brighter. A picture
# resized as uint8 inside a graph therefore differs from one resized as float32 and then rounded.
# Versions: onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (CPU provider).
# Output seen:
#   float32     [0.0, 91.07, 236.79, 127.5, 0.5, 4.5, 7.0]
#   antialias=0 [0, 91, 236, 127, 0, 4, 7]
#   antialias=1 [0, 91, 237, 128, 0, 4, 7]
#   noise, mean of uint8 - float32: antialias=0 -0.49, antialias=1 0.01
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
from onnx import helper, numpy_helper


def resize(x, height, width, antialias):
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear",
                            antialias=antialias)
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info("y", kind, [1, 1, height, width])],
        [numpy_helper.from_array(np.array([1, 1, height, width], np.int64), "sizes")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


row = np.array([0, 255, 0, 7], np.uint8).reshape(1, 1, 1, 4).repeat(4, axis=2)
exact = resize(row.astype(np.float32), 4, 7, 0)[0, 0, 0]
plain = resize(row, 4, 7, 0)[0, 0, 0]
smooth = resize(row, 4, 7, 1)[0, 0, 0]
print("float32    ", [round(float(v), 2) for v in exact])
print("antialias=0", plain.tolist())
print("antialias=1", smooth.tolist())

noise = np.random.default_rng(0).integers(0, 256, (1, 1, 40, 40)).astype(np.uint8)
want = [resize(noise.astype(np.float32), 61, 61, a) for a in (0, 1)]
levels = [resize(noise, 61, 61, a) for a in (0, 1)]
bias = [float((got - float32).mean()) for got, float32 in zip(levels, want)]
print(f"noise, mean of uint8 - float32: antialias=0 {bias[0]:.2f}, antialias=1 {bias[1]:.2f}")

seen = (plain.tolist() == [0, 91, 236, 127, 0, 4, 7]
        and smooth.tolist() == [0, 91, 237, 128, 0, 4, 7]
        and np.allclose(*want) and (levels[0] == np.floor(want[0])).all()
        and bias[0] < -0.4 and abs(bias[1]) < 0.05)
sys.exit(0 if seen else "the behaviour has changed")
EOF
