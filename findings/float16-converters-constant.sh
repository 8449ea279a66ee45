#!/usr/bin/env bash
# The float16 converters of onnxconverter-common and of ONNX Runtime leave some Constants in float32.
#
# Expected: a graph that multiplies by a Constant node is converted to float16 whichever attribute
# holds the number: value, value_float or value_floats, all of ONNX since opset 12.
# What happens: only a Constant with the attribute value is converted. One with value_float or
# value_floats stays float32 beside float16 inputs; the converters return without a word, and ONNX
# Runtime refuses the graph: "Type parameter (T) of Optype (Mul) bound to different types".
# Versions: onnxconverter-common 1.16.0, onnxruntime 1.32.0 (onnxruntime.transformers.float16),
# onnx 1.23.2, numpy 2.4.6.
# Output seen:
#   onnxconverter_common.float16 value opens value_float refused value_floats refused
#   onnxruntime.transformers.float16 value opens value_float refused value_floats refused
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check \
	onnxconverter-common==1.16.0 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$dir/venv/bin/python" - 2>"$dir/err" <<'EOF' || { cat "$dir/err" >&2; exit 1; }
import sys

import numpy as np
import onnx
import onnxconverter_common.float16
import onnxruntime as ort
import onnxruntime.transformers.float16
from onnx import TensorProto, helper, numpy_helper

ort.set_default_logger_severity(4)
attributes = {
    "value": numpy_helper.from_array(np.full(4, 2.5, np.float32)),
    "value_float": 2.5,
    "value_floats": [2.5] * 4,
}


def build(name):
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["k"], **{name: attributes[name]}),
         helper.make_node("Mul", ["x", "k"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def opens(model):
    try:
        ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return "opens"
    except Exception:
        return "refused"


lines = []
for module in (onnxconverter_common.float16, onnxruntime.transformers.float16):
    row = [f"{name} {opens(module.convert_float_to_float16(build(name)))}" for name in attributes]
    lines.append(f"{module.__name__} {' '.join(row)}")
print("\n".join(lines))
seen = all(line.endswith("value opens value_float refused value_floats refused") for line in lines)
sys.exit(0 if seen else "the behaviour has changed")
EOF
