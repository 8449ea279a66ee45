"""python variants.py MODEL.onnx OUT: the variants of a graph that transformers.js' files come in, as its
conversion script makes them with ONNX Runtime's tools; one line each for what they cannot make."""

import logging
import sys
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_bnb4_quantizer import MatMulBnb4Quantizer
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers.float16 import convert_float_to_float16

logging.disable(logging.INFO)


def half(model):
    """float16 with a float16 cache; other inputs and outputs stay float32."""
    for node in model.graph.node:  # the converter leaves the graph's own casts to float32 behind
        for a in node.attribute:
            if node.op_type == "Cast" and a.i == onnx.TensorProto.FLOAT:
                a.i = onnx.TensorProto.FLOAT16
    kept = [v.name for v in [*model.graph.input, *model.graph.output] if ".key" not in v.name and ".value" not in v.name]
    return convert_float_to_float16(model, keep_io_types=kept, disable_shape_infer=True)


def bits(n: int):
    def make(model):
        quantizer = MatMulNBitsQuantizer(model, bits=n, block_size=32, is_symmetric=True)
        quantizer.process()
        return quantizer.model.model
    return make


def bnb4(model):
    quantizer = MatMulBnb4Quantizer(model, quant_type=MatMulBnb4Quantizer.NF4, block_size=64)
    quantizer.process()
    return quantizer.model.model


def main() -> None:
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    floats = {"fp16": half, "q4": bits(4), "q2": bits(2), "bnb4": bnb4, "q4f16": lambda m: half(bits(4)(m)),
              "q2f16": lambda m: half(bits(2)(m))}
    for name, make in floats.items():
        try:
            onnx.save(make(onnx.load(source)), out / f"{source.stem}_{name}.onnx")
        except Exception as e:
            print(f"{name} is not made: {str(e).splitlines()[0][:120]}")
    for name, kind in (("int8", QuantType.QInt8), ("uint8", QuantType.QUInt8), ("quantized", QuantType.QInt8)):
        quantize_dynamic(source, out / f"{source.stem}_{name}.onnx", weight_type=kind, reduce_range=name == "quantized",
                         extra_options={"EnableSubgraph": True})


if __name__ == "__main__":
    main()
