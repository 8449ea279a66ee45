#!/usr/bin/env bash
# The ONNX reference evaluator runs Softmax 11 and RoiAlign 10 by the rules of later opsets.
#
# Expected: a model is evaluated by the operator's definition at the opset it imports. Softmax
# before opset 13 flattens the input to two dimensions at `axis` and normalises over all of the
# rest. RoiAlign before opset 16 has no half-pixel shift; from 16 on one asks for that with
# coordinate_transformation_mode="output_half_pixel".
# What happens: the evaluator has one implementation of each of the two for all opsets and gives no
# warning. Softmax 11 normalises along one axis only (sums over axes 1 and 2 are 4 rather than 1),
# and RoiAlign 10 samples half a pixel too early. ONNX Runtime follows the opset. Exports of older
# detectors and classifiers therefore look wrong when compared with the evaluator.
# Versions: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Output seen:
#   Softmax 11, axis=1, sums over axes 1 and 2: reference [4.0, 4.0] onnxruntime [1.0, 1.0]
#   RoiAlign 10: reference [13.5, 15.5, 29.5, 31.5] onnxruntime [18.0, 20.0, 34.0, 36.0]
#   RoiAlign 16, output_half_pixel: reference [18.0, 20.0, 34.0, 36.0] onnxruntime the same
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


def both(op, opset, feeds, shape, **attributes):
    graph = helper.make_graph(
        [helper.make_node(op, list(feeds), ["y"], **attributes)], "g",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
         for n, x in feeds.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return ReferenceEvaluator(model).run(None, feeds)[0], session.run(None, feeds)[0]


x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
sums = [y.sum(axis=(1, 2)).round(4).tolist() for y in both("Softmax", 11, {"x": x}, [2, 3, 4],
                                                         axis=1)]
# Softmax along axis 1 alone has 4 columns that each sum to 1.
print("Softmax 11, axis=1, sums over axes 1 and 2: reference", sums[0], "onnxruntime", sums[1])

feeds = {
    "x": np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8),
    "rois": np.array([[1, 1, 5, 5]], np.float32),
    "batch": np.array([0], np.int64),
}
size = dict(output_height=2, output_width=2, sampling_ratio=2)
old = [y.ravel().tolist() for y in both("RoiAlign", 10, feeds, [1, 1, 2, 2], **size)]
new = [y.ravel().tolist() for y in both("RoiAlign", 16, feeds, [1, 1, 2, 2], **size,
                                        coordinate_transformation_mode="output_half_pixel")]
print("RoiAlign 10: reference", old[0], "onnxruntime", old[1])
print("RoiAlign 16, output_half_pixel: reference", new[0], "onnxruntime",
      "the same" if new[1] == new[0] else new[1])

unshifted, shifted = [18.0, 20.0, 34.0, 36.0], [13.5, 15.5, 29.5, 31.5]
seen = (np.allclose(sums, [[4, 4], [1, 1]], atol=1e-3) and old == [shifted, unshifted]
        and new == [unshifted, unshifted])
sys.exit(0 if seen else "the behaviour has changed")
EOF
