#!/usr/bin/env bash
# onnxconverter-common's float16 converter, asked to keep input types, breaks graphs of unnamed nodes
# whose input has two readers.
#
# Expected: keep_io_types=True puts a Cast behind each input and gives a graph that opens, also where
# two nodes read the input, as in every residual connection. Names of nodes are optional in ONNX.
# What happens: each reader gets a Cast of its own, called after input and reader; if the readers have
# no names, both are called x_cast_to_, and ONNX Runtime refuses the graph: "two nodes with same node
# name". The converter of onnxruntime.transformers makes one Cast, and its graph opens.
# Versions: onnxconverter-common 1.16.0, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6.
# Output seen:
#   onnxconverter_common.float16 refused
#   onnxruntime.transformers.float16 opens
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check \
	onnxconverter-common==1.16.0 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$dir/venv/bin/python" - 2>"$dir/err" <<'EOF' || { cat "$dir/err" >&2; exit 1; }
import sys

import onnx
import onnxconverter_common.float16
import onnxruntime as ort
import onnxruntime.transformers.float16
from onnx import TensorProto, helper

ort.set_default_logger_severity(4)


def build():
    graph = helper.make_graph(
        [helper.make_node("Tanh", ["x"], ["h"]),
         helper.make_node("Add", ["x", "h"], ["y"])], "g",
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


lines = [
    f"{module.__name__} {opens(module.convert_float_to_float16(build(), keep_io_types=True))}"
    for module in (onnxconverter_common.float16, onnxruntime.transformers.float16)
]
print("\n".join(lines))
seen = lines == ["onnxconverter_common.float16 refused", "onnxruntime.transformers.float16 opens"]
sys.exit(0 if seen else "the behaviour has changed")
EOF
