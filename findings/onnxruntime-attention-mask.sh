#!/usr/bin/env bash
# ONNX Runtime's Attention refuses a padding mask that broadcasts over the queries.
#
# Expected: the operator (opset 23) accepts any mask that broadcasts to (batch, heads, queries,
# keys). The usual padding mask of a batch has the shape (batch, 1, 1, keys); the checker passes the
# model and the ONNX reference evaluator runs it.
# What happens: the CPU provider raises an error for each mask with 1 for several queries, also one
# of two dimensions, while a 1 for the batch or the heads broadcasts. Expanding the mask to
# (batch, 1, queries, keys) beforehand gives the reference's answer.
# Versions: onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (CPU provider).
# Output seen:
#   (2, 1, 1, 5) refused
#   (1, 2, 1, 5) refused
#   (1, 5) refused
#   (2, 1, 3, 5) equal
#   (1, 2, 3, 5) equal
#   (3, 5) equal
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

ort.set_default_logger_severity(4)
rng = np.random.default_rng(0)
feeds = {name: rng.standard_normal((2, 2, n, 4)).astype(np.float32)
         for name, n in (("q", 3), ("k", 5), ("v", 5))}


def attend(shape):
    graph = helper.make_graph(
        [helper.make_node("Attention", ["q", "k", "v", "mask"], ["y"])], "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, x.shape) for n, x in feeds.items()]
        + [helper.make_tensor_value_info("mask", TensorProto.BOOL, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 2, 3, 4])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    mask = np.ones(shape, bool)
    mask[..., -2:] = False
    run = {**feeds, "mask": mask}
    want = ReferenceEvaluator(model).run(None, run)[0]
    try:
        session = ort.InferenceSession(model.SerializeToString(),
                                       providers=["CPUExecutionProvider"])
        got = session.run(None, run)[0]
    except Exception as error:
        return "refused" if "mask" in str(error) else str(error)
    return "equal" if np.allclose(got, want, atol=1e-5) else "different"


narrow = [(2, 1, 1, 5), (1, 2, 1, 5), (1, 5)]
full = [(2, 1, 3, 5), (1, 2, 3, 5), (3, 5)]
seen = {shape: attend(shape) for shape in narrow + full}
for shape, result in seen.items():
    print(shape, result)
ok = all(seen[s] == "refused" for s in narrow) and all(seen[s] == "equal" for s in full)
sys.exit(0 if ok else "the behaviour has changed")
EOF
