"""Lists the element types that the ONNX specification allows each operator of the Go engine.

    python element_types.py > element_types.json

For each operator: the type parameters of its inputs and outputs, the types that package tensor has
of those that the newest version allows each parameter, and a few of the official node tests, which
TestElementTypes of package fallback runs with each of the types. Rerun this for a new operator. The
package onnx says which operators there are; those of newer operator sets are left out.
"""

import json
import pathlib
import re

import onnx
from onnx import defs

ROOT = pathlib.Path(__file__).parents[2]
TYPES = {
    "float": "float32",
    "double": "float64",
    **{t: t for t in ("float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool")},
}
CODES = {onnx.TensorProto.DataType.Value(t.upper()) for t in TYPES}
MOST = 6  # tests of an operator, of different attributes


def parameters(schema):
    types = {}
    for c in schema.type_constraints:
        # In a sequence or an optional value the same types are allowed.
        inner = {re.sub(r".*tensor\((\w+)\).*", r"\1", t) for t in c.allowed_type_strs}
        if known := sorted(TYPES[t] for t in inner if t in TYPES):
            types[c.type_param_str] = known
    return types


def plain(graph, node):
    """Whether all inputs and outputs of a graph are tensors of known types that its node takes."""
    names = {*node.input, *node.output}
    return all(
        v.type.HasField("tensor_type")
        and v.type.tensor_type.elem_type in CODES
        and v.name in names
        for v in [*graph.input, *graph.output]
    )


def node_tests():
    """Names of tests, the smallest first, by operator and by its mode and attributes."""
    data = pathlib.Path(onnx.__file__).parent / "backend/test/data/node"
    tests = {}
    for folder in sorted(data.iterdir()):
        graph = onnx.load(folder / "model.onnx").graph
        if len(graph.node) != 1 or not plain(graph, graph.node[0]) or "training" in folder.name:
            continue
        node = graph.node[0]
        modes = [a.s for a in node.attribute if a.name in ("mode", "reduction", "direction")]
        words = str((modes, sorted(a.name for a in node.attribute)))
        size = sum(f.stat().st_size for f in folder.rglob("*.pb"))
        kinds = tests.setdefault(node.op_type, {})
        kinds[words] = min(kinds.get(words, (size, folder.name)), (size, folder.name))
    return {op: [name for _, name in sorted(kinds.values())[:MOST]] for op, kinds in tests.items()}


def main():
    registry = (ROOT / "fallback/internal/ops/registry.go").read_text().split("var microsoft")[0]
    tests, table = node_tests(), {}
    for name in sorted(re.findall(r'^\t"(\w+)":\s+(?:row|activating)\(', registry, re.M)):
        try:
            schema = defs.get_schema(name)
        except defs.SchemaError:
            continue
        table[name] = {
            "inputs": [i.type_str for i in schema.inputs],
            "outputs": [o.type_str for o in schema.outputs],
            "types": parameters(schema),
            "tests": tests.get(name, []),
        }
    print("{\n" + ",\n".join(f'"{k}": {json.dumps(v)}' for k, v in table.items()) + "\n}")


if __name__ == "__main__":
    main()
