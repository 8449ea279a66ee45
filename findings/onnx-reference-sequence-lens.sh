#!/usr/bin/env bash
# The ONNX reference evaluator ignores sequence_lens of LSTM and GRU, and clip of LSTM.
#
# Expected: a row of a padded batch gives the answer it has alone: with sequence_lens = [4, 2] the
# final state of the second row is that after two steps, and its outputs after them are 0.
# What happens: the evaluator runs both rows to the end, padding included, and says nothing; clip,
# which bounds the values before the activations, has no effect either. ONNX Runtime does both.
# Recognisers of text lines and speech that batch by length meet the first.
# Versions: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Output seen:
#   LSTM final state of the short row equals that of the row alone: reference no, onnxruntime yes
#   GRU  final state of the short row equals that of the row alone: reference no, onnxruntime yes
#   LSTM changed by clip=0.1: reference no, onnxruntime yes
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
from onnx import helper
from onnx.reference import ReferenceEvaluator

rng = np.random.default_rng(0)
hidden, width = 5, 3
x = rng.standard_normal((4, 2, width)).astype(np.float32)
x[2:, 1] = 7  # padding of the second row


def final_states(op, weights, x, lens=None, **attributes):
    """The final hidden state (batch, hidden) by the reference and by ONNX Runtime."""
    feeds = dict(zip("xwrb", [x, *weights]))
    if lens is not None:
        feeds["lens"] = np.array(lens, np.int32)
    batch = x.shape[1]
    graph = helper.make_graph(
        [helper.make_node(op, list(feeds), ["", "h"], hidden_size=hidden, **attributes)], "g",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
         for n, v in feeds.items()],
        [helper.make_tensor_value_info("h", onnx.TensorProto.FLOAT, [1, batch, hidden])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return ReferenceEvaluator(model).run(None, feeds)[0][0], session.run(None, feeds)[0][0]


def weights(gates):
    shapes = [(1, gates * hidden, width), (1, gates * hidden, hidden), (1, 2 * gates * hidden)]
    return [rng.standard_normal(s).astype(np.float32) for s in shapes]


seen = []
for op, gates in (("LSTM", 4), ("GRU", 3)):
    w = weights(gates)
    padded = final_states(op, w, x, [4, 2])
    alone = final_states(op, w, x[:2, 1:])
    equal = [bool(np.allclose(p[1], a[0], atol=1e-5)) for p, a in zip(padded, alone)]
    agree = np.allclose(*alone, atol=1e-5)  # both know the operator otherwise
    seen.append((*equal, bool(agree)))
    print(f"{op:4} final state of the short row equals that of the row alone: reference",
          "yes," if equal[0] else "no,", "onnxruntime", "yes" if equal[1] else "no")

w = weights(4)
free, bounded = final_states("LSTM", w, x), final_states("LSTM", w, x, clip=0.1)
moved = tuple(not np.allclose(a, b, atol=1e-5) for a, b in zip(free, bounded))
print("LSTM changed by clip=0.1: reference", "yes," if moved[0] else "no,",
      "onnxruntime", "yes" if moved[1] else "no")
ok = seen == [(False, True, True)] * 2 and moved == (False, True)
sys.exit(0 if ok else "the behaviour has changed")
EOF
