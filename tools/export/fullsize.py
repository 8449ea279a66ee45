"""python fullsize.py --xpipe XPIPE [--ort LIBRARY] [--out build/fullsize] [--only NAME ...]: folders of
other tools' layouts at their real size, with random weights, and the memory that one question takes.

    florence2-base   float32, 1.0 GB: vision_encoder, embed_tokens, encoder_model, decoder_model_merged (If)
    smolvlm-256m     float32, 1.0 GB: vision_encoder, embed_tokens, decoder_model_merged (GroupQueryAttention)
    qwen2-vl-2b      float16 with float32 inputs and outputs and a float16 cache, 4.9 GB

Widths, layers and vocabularies are those of the checkpoints' config.json; graphs are written straight
with onnx, weights to external data. Tokenizers and preprocessor configurations are those of the tiny
folders in testdata/layouts with the real sizes of pictures. Each folder is made, asked one question on
each engine under /usr/bin/time -v, and removed again (--keep keeps it).
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]
F32, F16, I64, I32, BOOL = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.INT32,
                            TensorProto.BOOL)
MS = "com.microsoft"


class Graph:
    """A graph whose weights go to PATH_data as they are made. dtype is that of weights and arithmetic."""

    def __init__(self, path: Path, dtype=F32, seed: int = 0):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.dtype = path, dtype
        self.float = np.float16 if dtype == F16 else np.float32
        self.data = open(f"{path}_data", "wb")
        self.random = np.random.default_rng(seed).standard_normal(1 << 20, dtype=np.float32)
        self.nodes, self.initializers, self.inputs, self.outputs = [], [], [], []
        self.count = 0

    def name(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def store(self, values: np.ndarray) -> str:
        t = TensorProto(name=self.name(), dims=values.shape, data_location=TensorProto.EXTERNAL,
                        data_type=helper.np_dtype_to_tensor_dtype(values.dtype))
        at = self.data.tell()
        self.data.write(values.tobytes())
        for key, v in (("location", f"{self.path.name}_data"), ("offset", at), ("length", values.nbytes)):
            t.external_data.add(key=key, value=str(v))
        self.initializers.append(t)
        return t.name

    def weight(self, *shape: int, std: float = 0.02) -> str:
        return self.store(np.resize((self.random * std).astype(self.float), shape))

    def const(self, values) -> str:
        values = np.asarray(values)
        if values.dtype == np.float64:
            values = values.astype(self.float)
        self.initializers.append(numpy_helper.from_array(values, self.name()))
        return self.initializers[-1].name

    def op(self, kind: str, *inputs: str, n: int = 1, domain: str = "", to: str = "", **attrs):
        outputs = [to] if to else [self.name() for _ in range(n)]
        self.nodes.append(helper.make_node(kind, inputs, outputs, domain=domain, **attrs))
        return outputs[0] if n == 1 else outputs

    @contextmanager
    def branch(self, nodes: list):
        """Add to nodes, those of a branch, meanwhile."""
        outer, self.nodes = self.nodes, nodes
        yield
        self.nodes = outer

    def input(self, name: str, dtype: int, *dims) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, dims))
        return name

    def output(self, name: str, dtype: int, *dims) -> str:
        self.outputs.append(helper.make_tensor_value_info(name, dtype, dims))
        return name

    def save(self) -> None:
        self.data.close()
        graph = helper.make_graph(self.nodes, "g", self.inputs, self.outputs, self.initializers)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MS, 1)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), self.path)

    # layers

    def reshape(self, x, *dims):
        return self.op("Reshape", x, self.const(np.array(dims, np.int64)))

    def transpose(self, x, *perm):
        return self.op("Transpose", x, perm=perm)

    def linear(self, x, width, out, bias=True):
        y = self.op("MatMul", x, self.weight(width, out))
        return self.op("Add", y, self.weight(out)) if bias else y

    def norm(self, x, width):
        ones, zeros = self.store(np.ones(width, self.float)), self.store(np.zeros(width, self.float))
        return self.op("LayerNormalization", x, ones, zeros, epsilon=1e-5)

    def rms(self, x, width):
        return self.op("SimplifiedLayerNormalization", x, self.store(np.ones(width, self.float)), axis=-1,
                       epsilon=1e-6, stash_type=1)

    def gelu(self, x):
        erf = self.op("Erf", self.op("Div", x, self.const(math.sqrt(2))))
        return self.op("Mul", self.op("Mul", x, self.op("Add", erf, self.const(1.0))), self.const(0.5))

    def silu(self, x, scale: float | None = None):
        return self.op("Mul", x, self.op("Sigmoid", self.op("Mul", x, self.const(scale)) if scale else x))

    def mlp(self, x, width, inner, act):
        return self.linear(act(self.linear(x, width, inner)), inner, width)

    def heads(self, x, count, dim, keys=False):
        return self.transpose(self.reshape(x, 0, -1, count, dim), 0, 2, *((3, 1) if keys else (1, 3)))

    def attend(self, q, k, v, dim, mask="") -> str:
        """q [B,H,T,D], k [B,H,D,S], v [B,H,S,D] -> [B,T,H*D]"""
        scores = self.op("Mul", self.op("MatMul", q, k), self.const(dim ** -0.5))
        weights = self.op("Softmax", self.op("Add", scores, mask) if mask else scores, axis=-1)
        return self.op("Transpose", self.op("MatMul", weights, v), perm=[0, 2, 1, 3])

    def attention(self, x, width, count, mask="") -> str:
        dim = width // count
        q, k, v = (self.linear(x, width, width) for _ in range(3))
        out = self.attend(self.heads(q, count, dim), self.heads(k, count, dim, True), self.heads(v, count, dim), dim, mask)
        return self.linear(self.reshape(out, 0, -1, width), width, width)

    def add(self, x, y):
        return self.op("Add", x, y)

    def size(self, x, axis) -> str:
        """A dimension, int64 [1]."""
        return self.op("Shape", x, start=axis, end=axis + 1)

    def scalar(self, x):
        return self.op("Squeeze", x)

    def range(self, limit):
        """0 to limit [1], int64."""
        zero, one = self.const(np.array(0, np.int64)), self.const(np.array(1, np.int64))
        return self.op("Range", zero, self.scalar(limit), one)

    def unsqueeze(self, x, *axes):
        return self.op("Unsqueeze", x, self.const(np.array(axes, np.int64)))

    def cast(self, x, dtype):
        out = self.name()
        self.nodes.append(helper.make_node("Cast", [x], [out], to=dtype))
        return out

    def cut(self, x, axis, lo, hi):
        one = lambda v: self.const(np.array([v], np.int64))  # noqa: E731
        return self.op("Slice", x, one(lo), one(hi), one(axis))

    def rotate(self, x, cos, sin, dim):
        """x [...,D] turned as transformers does it."""
        half = self.op("Concat", self.op("Neg", self.cut(x, -1, dim // 2, dim)), self.cut(x, -1, 0, dim // 2), axis=-1)
        return self.add(self.op("Mul", x, cos), self.op("Mul", half, sin))

    def hidden(self, seen):
        """0 where a boolean is true, the lowest number elsewhere."""
        return self.op("Where", seen, self.const(0.0), self.const(float(np.finfo(self.float).min)))

    def causal(self, tokens, mask):
        """attention_mask [B,total] -> [B,1,T,total]"""
        total, new = self.size(mask, 1), self.size(tokens, 1)
        rows = self.add(self.range(new), self.op("Sub", total, new))
        seen = self.op("LessOrEqual", self.unsqueeze(self.range(total), 0), self.unsqueeze(rows, 1))
        padded = self.unsqueeze(self.cast(mask, BOOL), 1, 2)
        return self.hidden(self.op("And", self.unsqueeze(seen, 0, 1), padded))


def embed_tokens(path: Path, vocabulary: int, width: int, dtype) -> None:
    g = Graph(path, dtype, 1)
    x = g.op("Gather", g.weight(vocabulary, width), g.input("input_ids", I64, "batch", "length"))
    g.nodes.append(helper.make_node("Cast", [x], [g.output("inputs_embeds", F32, "batch", "length", width)], to=F32))
    g.save()


def logits(g: Graph, x: str, width: int, vocabulary: int) -> None:
    x = g.op("MatMul", x, g.weight(width, vocabulary))
    g.nodes.append(helper.make_node("Cast", [x], [g.output("logits", F32, "batch", "length", vocabulary)], to=F32))


def smolvlm(folder: Path) -> None:
    """SmolVLM-256M: SigLIP at 512 pixels, 12 layers of 768; 64 tokens a tile; Llama, 30 layers of 576."""
    width, layers, tile, patch = 768, 12, 512, 16
    g = Graph(folder / "vision_encoder.onnx")
    pixels = g.reshape(g.input("pixel_values", F32, "batch", "tiles", 3, tile, tile), -1, 3, tile, tile)
    mask = g.input("pixel_attention_mask", BOOL, "batch", "tiles", tile, tile)
    pixels = g.op("Mul", pixels, g.reshape(g.cast(mask, F32), -1, 1, tile, tile))
    x = g.op("Conv", pixels, g.weight(width, 3, patch, patch), g.weight(width), strides=[patch, patch])
    x = g.transpose(g.reshape(x, 0, width, -1), 0, 2, 1)
    x = g.add(x, g.weight(1024, width))
    for _ in range(layers):
        x = g.add(x, g.attention(g.norm(x, width), width, 12))
        x = g.add(x, g.mlp(g.norm(x, width), width, 3072, g.gelu))
    x = g.norm(x, width)
    x = g.transpose(g.reshape(x, -1, 32, 8, 4 * width), 0, 2, 1, 3)
    x = g.transpose(g.reshape(x, -1, 8, 8, 16 * width), 0, 2, 1, 3)
    x = g.op("MatMul", g.reshape(x, -1, 64, 16 * width), g.weight(16 * width, 576))
    g.op("Identity", x, to=g.output("image_features", F32, "all", 64, 576))
    g.save()
    embed_tokens(folder / "embed_tokens.onnx", 49280, 576, F32)

    width, inner, heads, groups, dim = 576, 1536, 9, 3, 64
    g = Graph(folder / "decoder_model_merged.onnx")
    x = g.input("inputs_embeds", F32, "batch", "length", width)
    mask = g.input("attention_mask", I64, "batch", "total")
    ends = g.op("Sub", g.op("ReduceSum", mask, g.const(np.array([1], np.int64)), keepdims=0), g.const(np.array(1, np.int64)))
    ends, total = g.cast(ends, I32), g.scalar(g.cast(g.size(mask, 1), I32))
    angles = np.arange(8192)[:, None] / 1e5 ** (np.arange(0, dim, 2) / dim)
    cos, sin = g.store(np.cos(angles).astype(np.float32)), g.store(np.sin(angles).astype(np.float32))
    for i in range(30):
        h = g.rms(x, width)
        q, k, v = (g.linear(h, width, n * dim, False) for n in (heads, groups, groups))
        cache = [g.input(f"past_key_values.{i}.{kv}", F32, "batch", groups, "past", dim) for kv in ("key", "value")]
        out = [g.name(), *(g.output(f"present.{i}.{kv}", F32, "batch", groups, "total", dim) for kv in ("key", "value"))]
        g.nodes.append(helper.make_node("GroupQueryAttention", [q, k, v, *cache, ends, total, cos, sin], out, domain=MS,
                                        num_heads=heads, kv_num_heads=groups, do_rotary=1))
        x = g.add(x, g.linear(out[0], heads * dim, width, False))
        h = g.rms(x, width)
        h = g.op("Mul", g.silu(g.linear(h, width, inner, False)), g.linear(h, width, inner, False))
        x = g.add(x, g.linear(h, inner, width, False))
    logits(g, g.rms(x, width), width, 49280)
    g.save()


def qwen2vl(folder: Path) -> None:
    """Qwen2-VL-2B: a vision model of 32 layers of 1280 at any size; Qwen2, 28 layers of 1536."""
    width, heads = 1280, 16
    dim = width // heads
    g = Graph(folder / "vision_encoder.onnx", F16)
    pixels = g.input("pixel_values", F32, "patches", 1176)
    grid = g.input("grid_thw", I64, "pictures", 3)
    columns = g.op("Div", g.scalar(g.cut(g.cut(grid, 0, 0, 1), 1, 2, 3)), two := g.const(np.array(2, np.int64)))
    at = g.range(g.size(pixels, 0))
    four = g.const(np.array(4, np.int64))
    block, within = g.op("Div", at, four), g.op("Mod", at, four)

    def place(big, small):
        p = g.add(g.op("Mul", g.op(big, block, columns), two), g.op(small, within, two))
        inverse = g.const((1 / 1e4 ** (np.arange(0, dim // 2, 2) / (dim // 2))).astype(np.float32))
        return g.op("Mul", g.unsqueeze(g.cast(p, F32), 1), inverse)

    angles = [place("Div", "Div"), place("Mod", "Mod")]
    angles = g.op("Concat", *angles, *angles, axis=-1)
    cos, sin = (g.cast(g.op(f, angles), F16) for f in ("Cos", "Sin"))
    x = g.op("MatMul", g.cast(pixels, F16), g.weight(1176, width))
    for _ in range(32):
        h = g.norm(x, width)
        q, k, v = (g.transpose(g.reshape(g.linear(h, width, width), -1, heads, dim), 1, 0, 2) for _ in range(3))
        q, k = g.rotate(q, cos, sin, dim), g.rotate(k, cos, sin, dim)
        weights = g.op("Softmax", g.op("Mul", g.op("MatMul", q, g.transpose(k, 0, 2, 1)), g.const(dim ** -0.5)), axis=-1)
        out = g.reshape(g.transpose(g.op("MatMul", weights, v), 1, 0, 2), -1, width)
        x = g.add(x, g.linear(out, width, width))
        x = g.add(x, g.mlp(g.norm(x, width), width, 4 * width, lambda y: g.silu(y, 1.702)))
    x = g.reshape(g.norm(x, width), -1, 4 * width)
    x = g.linear(g.gelu(g.linear(x, 4 * width, 4 * width)), 4 * width, 1536)
    g.nodes.append(helper.make_node("Cast", [x], [g.output("image_features", F32, "rows", 1536)], to=F32))
    g.save()
    embed_tokens(folder / "embed_tokens.onnx", 151936, 1536, F16)

    width, inner, heads, groups, dim = 1536, 8960, 12, 2, 128
    g = Graph(folder / "decoder_model_merged.onnx", F16)
    tokens = g.input("inputs_embeds", F32, "batch", "length", width)
    mask = g.input("attention_mask", I64, "batch", "total")
    hidden = g.causal(tokens, mask)
    positions = g.unsqueeze(g.cast(g.input("position_ids", I64, 3, "batch", "length"), F32), 3)
    angles = g.op("Mul", positions, g.const((1 / 1e6 ** (np.arange(0, dim, 2) / dim)).astype(np.float32)))
    parts = [g.cut(g.cut(angles, 0, i, i + 1), -1, lo, hi) for i, (lo, hi) in enumerate(((0, 16), (16, 40), (40, 64)))]
    angles = g.transpose(g.op("Concat", *parts, *parts, axis=-1), 1, 0, 2, 3)  # [B,1,T,dim]
    cos, sin = (g.cast(g.op(f, angles), F16) for f in ("Cos", "Sin"))
    x = g.cast(tokens, F16)
    for i in range(28):
        h = g.rms(x, width)
        q, k, v = (g.heads(g.linear(h, width, n * dim), n, dim) for n in (heads, groups, groups))
        q, k = g.rotate(q, cos, sin, dim), g.rotate(k, cos, sin, dim)
        every = []
        for kv, new in (("key", k), ("value", v)):
            past = g.input(f"past_key_values.{i}.{kv}", F16, "batch", groups, "past", dim)
            present = g.op("Concat", past, new, axis=2, to=g.output(f"present.{i}.{kv}", F16, "batch", groups, "total", dim))
            many = g.op("Expand", g.unsqueeze(present, 2), g.const(np.array([1, 1, heads // groups, 1, 1], np.int64)))
            every.append(g.reshape(many, 0, heads, -1, dim))
        out = g.attend(q, g.transpose(every[0], 0, 1, 3, 2), every[1], dim, hidden)
        x = g.add(x, g.linear(g.reshape(out, 0, -1, width), width, width, False))
        h = g.rms(x, width)
        h = g.op("Mul", g.silu(g.linear(h, width, inner, False)), g.linear(h, width, inner, False))
        x = g.add(x, g.linear(h, inner, width, False))
    logits(g, g.rms(x, width), width, 151936)
    g.save()


def davit(path: Path) -> None:
    """The vision model of Florence-2-base: DaViT, windows of 12, at 768 pixels; 577 rows of 768."""
    g = Graph(path)
    x, side = g.input("pixel_values", F32, "batch", 3, 768, 768), 768
    before = 3
    for stage, (width, depth, heads) in enumerate(((128, 1, 4), (256, 1, 8), (512, 9, 16), (1024, 1, 32))):
        dim = width // heads

        def picture(y, w):
            return g.reshape(g.transpose(y, 0, 2, 1), 0, w, side, side)

        def rows(y, w):
            return g.transpose(g.reshape(y, 0, w, -1), 0, 2, 1)

        if stage:
            x = picture(g.norm(x, before), before)
        kernel, stride, pad = (7, 4, 3) if stage == 0 else (3, 2, 1)
        side //= stride
        x = g.op("Conv", x, g.weight(width, before, kernel, kernel), g.weight(width), strides=[stride] * 2, pads=[pad] * 4)
        x = rows(x, width)
        if not stage:
            x = g.norm(x, width)
        before = width

        def local(y):
            z = g.op("Conv", picture(y, width), g.weight(width, 1, 3, 3), g.weight(width), group=width, pads=[1] * 4)
            return g.add(y, rows(z, width))

        def split(y, *dims):
            """Queries, keys and values of one product."""
            y = g.reshape(g.linear(y, width, 3 * width), *dims, 3 * width)
            return [g.cut(y, -1, i * width, (i + 1) * width) for i in range(3)]

        def windows(y):
            n = side // 12
            y = g.transpose(g.reshape(y, -1, n, 12, n, 12, width), 0, 1, 3, 2, 4, 5)
            q, k, v = split(g.reshape(y, -1, 144, width), -1, 144)
            y = g.attend(g.heads(q, heads, dim), g.heads(k, heads, dim, True), g.heads(v, heads, dim), dim)
            y = g.linear(g.reshape(y, -1, 144, width), width, width)
            y = g.transpose(g.reshape(y, -1, n, n, 12, 12, width), 0, 1, 3, 2, 4, 5)
            return g.reshape(y, -1, side * side, width)

        def channels(y):
            q, k, v = (g.transpose(g.reshape(z, 0, -1, heads, dim), 0, 2, 3, 1) for z in split(y, 0, -1))
            scores = g.op("MatMul", g.op("Mul", q, g.const(float(side * side) ** -0.5)), g.transpose(k, 0, 1, 3, 2))
            y = g.op("MatMul", g.op("Softmax", scores, axis=-1), v)
            return g.linear(g.reshape(g.transpose(y, 0, 3, 1, 2), 0, -1, width), width, width)

        for _ in range(depth):
            for mix in (windows, channels):
                x = local(x)
                x = g.add(x, mix(g.norm(x, width)))
                x = local(x)
                x = g.add(x, g.mlp(g.norm(x, width), width, 4 * width, g.gelu))
    x = g.add(g.add(x, g.weight(576, 1024)), g.weight(1024))
    x = g.op("Concat", g.op("ReduceMean", x, axes=[1], keepdims=1), x, axis=1)
    x = g.norm(g.op("MatMul", x, g.weight(1024, 768)), 768)
    g.op("Identity", x, to=g.output("image_features", F32, "batch", 577, 768))
    g.save()


def florence2(folder: Path) -> None:
    """Florence-2-base: DaViT, then BART-base."""
    width, heads, inner, dim, vocabulary, layers = 768, 12, 3072, 64, 51289, 6
    davit(folder / "vision_encoder.onnx")
    embed_tokens(folder / "embed_tokens.onnx", vocabulary, width, F32)

    def placed(g, x, first=""):
        """Embeddings with those of their positions."""
        at = g.add(g.range(g.size(x, 1)), g.const(np.array([2], np.int64)))
        at = g.add(at, first) if first else at
        return g.norm(g.add(x, g.op("Gather", g.tables, at)), width)

    g = Graph(folder / "encoder_model.onnx")
    g.tables = g.weight(1026, width)
    x = placed(g, g.input("inputs_embeds", F32, "batch", "length", width))
    mask = g.hidden(g.unsqueeze(g.cast(g.input("attention_mask", I64, "batch", "length"), BOOL), 1, 2))
    for _ in range(layers):
        x = g.norm(g.add(x, g.attention(x, width, heads, mask)), width)
        x = g.norm(g.add(x, g.mlp(x, width, inner, g.gelu)), width)
    g.op("Identity", x, to=g.output("last_hidden_state", F32, "batch", "length", width))
    g.save()

    g = Graph(folder / "decoder_model_merged.onnx")
    tokens = g.input("inputs_embeds", F32, "batch", "length", width)
    encoder_mask = g.input("encoder_attention_mask", I64, "batch", "encoded")
    states = g.input("encoder_hidden_states", F32, "batch", "encoded", width)
    past = {}
    for i in range(layers):
        for side in ("decoder", "encoder"):
            for kv in ("key", "value"):
                name = f"{i}.{side}.{kv}"
                past[name] = g.input(f"past_key_values.{name}", F32, "batch", heads, f"past_{side}", dim)
    use = g.input("use_cache_branch", BOOL, 1)
    g.tables = g.weight(1026, width)
    # Both branches read the same weights, in the same order.
    weights, given, store = [], None, g.store

    def shared(values):
        if given:
            return next(given)
        weights.append(store(values))
        return weights[-1]

    g.store = shared
    names = ["logits", *(f"present.{n}" for n in past)]
    branches = []
    for cached in (False, True):
        given = iter(weights) if cached else None
        nodes, made = [], {}
        with g.branch(nodes):
            first = g.size(past["0.decoder.key"], 2) if cached else ""
            x = placed(g, tokens, first)
            length = g.size(tokens, 1)
            total = g.add(length, first) if cached else length
            rows = g.add(g.range(length), first) if cached else g.range(length)
            hidden = g.hidden(g.op("LessOrEqual", g.unsqueeze(g.range(total), 0), g.unsqueeze(rows, 1)))
            seen = g.hidden(g.unsqueeze(g.cast(encoder_mask, BOOL), 1, 2))
            for i in range(layers):
                q, k, v = (g.heads(g.linear(x, width, width), heads, dim) for _ in range(3))
                for kv, new in (("key", k), ("value", v)):
                    name = f"{i}.decoder.{kv}"
                    made[name] = g.op("Concat", past[name], new, axis=2) if cached else new
                out = g.attend(q, g.transpose(made[f"{i}.decoder.key"], 0, 1, 3, 2), made[f"{i}.decoder.value"], dim, hidden)
                x = g.norm(g.add(x, g.linear(g.reshape(out, 0, -1, width), width, width)), width)
                q = g.heads(g.linear(x, width, width), heads, dim)
                for kv in ("key", "value"):
                    name = f"{i}.encoder.{kv}"
                    if cached:
                        next(given), next(given)  # the weights of a product that is not needed again
                        made[name] = g.op("Identity", past[name])
                    else:
                        made[name] = g.heads(g.linear(states, width, width), heads, dim)
                out = g.attend(q, g.transpose(made[f"{i}.encoder.key"], 0, 1, 3, 2), made[f"{i}.encoder.value"], dim, seen)
                x = g.norm(g.add(x, g.linear(g.reshape(out, 0, -1, width), width, width)), width)
                x = g.norm(g.add(x, g.mlp(x, width, inner, g.gelu)), width)
            made["logits"] = g.op("MatMul", x, g.weight(width, vocabulary))
        outputs = [helper.make_tensor_value_info(made[n.removeprefix("present.")], F32, [None] * (3 if n == "logits" else 4))
                   for n in names]
        branches.append(helper.make_graph(nodes, f"branch_{cached}", [], outputs))
    g.nodes.append(helper.make_node("If", [use], names, then_branch=branches[1], else_branch=branches[0]))
    g.output("logits", F32, "batch", "length", vocabulary)
    for n in past:
        g.output(f"present.{n}", F32, "batch", heads, "total_" + n.split(".")[1], dim)
    g.save()


def change(base: Path, folder: Path, changes: dict[str, dict]) -> None:
    """Copy the small files of a tiny folder, with changes by file."""
    for file in base.iterdir():
        if file.is_file() and file.name != "golden.json":
            shutil.copyfile(file, folder / file.name)
    for name, keys in changes.items():
        values = json.loads((folder / name).read_text())
        for key, value in keys.items():
            section = values
            *sections, last = key.split(".")
            for s in sections:
                section = section[s]
            section[last] = value
        (folder / name).write_text(json.dumps(values, indent=1) + "\n")


FOLDERS = {
    "florence2-base": (florence2, "florence2-transformersjs", "<CAPTION>", {
        "config.json": {"text_config.max_position_embeddings": 1024, "text_config.d_model": 768,
                        "text_config.decoder_attention_heads": 12},
        "preprocessor_config.json": {"size": {"height": 768, "width": 768}, "image_seq_length": 577,
                                     "crop_size": {"height": 768, "width": 768}}}),
    "smolvlm-256m": (smolvlm, "idefics3-transformersjs", "", {
        "config.json": {"vision_config.image_size": 512, "vision_config.patch_size": 16, "scale_factor": 4,
                        "text_config.max_position_embeddings": 8192},
        "preprocessor_config.json": {"size": {"longest_edge": 512}, "max_image_size": {"longest_edge": 512}},
        "processor_config.json": {"image_seq_len": 64}}),
    "qwen2-vl-2b": (qwen2vl, "qwen2vl-transformersjs", "", {
        "config.json": {"vision_config.patch_size": 14, "text_config.max_position_embeddings": 32768,
                        "text_config.rope_scaling.mrope_section": [16, 24, 24]},
        "preprocessor_config.json": {"patch_size": 14, "min_pixels": 3136, "max_pixels": 1003520,
                                     "size": {"shortest_edge": 3136, "longest_edge": 1003520}}}),
}


def measure(args, name: str, folder: Path, prompt: str) -> None:
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    question = ["--raw-prompt", prompt] if prompt else ["what color is the cat?"]
    for engine in ("go", "ort"):
        if engine == "ort" and not args.ort:
            continue
        library = ["--ort-lib", args.ort] if engine == "ort" else []
        run = subprocess.run(
            ["/usr/bin/time", "-v", args.xpipe, "ask", args.image, *question, "--model", folder, "--engine", engine, *library,
             "--max-new-tokens", "4", "--json"], capture_output=True, text=True)
        wall = re.search(r"Elapsed.*: ([\d:.]+)$", run.stderr, re.M)
        most = re.search(r"Maximum resident set size \(kbytes\): (\d+)", run.stderr)
        if run.returncode or not most:
            print(f"{name} on {engine}: failed\n{run.stderr[-1500:]}", flush=True)
            continue
        resident = int(most[1]) * 1024
        print(f"{name} on {engine}: {size / 1e9:.2f} GB of files, {resident / 1e9:.2f} GB resident at most, "
              f"{resident / size:.2f} times; {wall[1]}; {run.stdout[:120].strip()}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--xpipe", required=True)
    parser.add_argument("--ort", default="", help="ONNX Runtime's library")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "fullsize")
    parser.add_argument("--image", default=str(ROOT / "testdata" / "families" / "images" / "figure0.png"))
    parser.add_argument("--only", nargs="*", choices=FOLDERS)
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    for name in args.only or FOLDERS:
        build, base, prompt, changes = FOLDERS[name]
        folder = args.out / name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "onnx").mkdir(parents=True)
        change(ROOT / "testdata" / "layouts" / base, folder, changes)
        build(folder / "onnx")
        measure(args, name, folder, prompt)
        if not args.keep:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
