"""OpenVINO on one graph, for benchopenvino to compare with.

    python peer.py GRAPH.onnx THREADS PRECISION SHAPES

SHAPES is a JSON object of the inputs' shapes. For each line on stdin the graph runs once; the answer on
stdout is the milliseconds that it took.
"""

import json
import sys
import time

import numpy as np
import openvino as ov

graph, threads, precision, shapes = sys.argv[1:]
core = ov.Core()
model = core.read_model(graph)
model.reshape(json.loads(shapes))
compiled = core.compile_model(
    model,
    "CPU",
    {
        "INFERENCE_PRECISION_HINT": {"float32": "f32"}.get(precision, precision),
        "INFERENCE_NUM_THREADS": int(threads),
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    },
)
request = compiled.create_infer_request()
random = np.random.default_rng(1)
for port in compiled.inputs:
    shape, kind = tuple(port.shape), port.element_type.to_dtype()
    if "mask" in port.any_name:
        data = np.zeros(shape, kind) if kind == np.float32 else np.ones(shape, kind)
    elif kind == np.float32:
        data = random.standard_normal(shape, np.float32)
    else:
        data = random.integers(0, 2, shape).astype(kind)
    request.set_tensor(port, ov.Tensor(data))
for _ in sys.stdin:
    start = time.perf_counter()
    request.infer()
    print((time.perf_counter() - start) * 1e3, flush=True)
