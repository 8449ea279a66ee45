"""Models of full size with random weights for bench.py: vit-gpt2 (ViT-base, GPT-2 small with cross-attention, 1.1 GB) and
Florence-2-base (1 GB, tools/export/fullsize.py), in the layout of transformers.js and optimum. Their tokenizers are those of
testdata with words added up to the vocabulary's size."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
LAYOUTS = ROOT / "testdata" / "layouts"
sys.path.insert(0, str(ROOT / "tools" / "export"))
import fullsize  # noqa: E402

F32, I64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
WIDTH, HEADS, LAYERS, WORDS = 768, 12, 12, 50257


def vit_gpt2(folder: Path) -> None:
    """As optimum exports it: one decoder with a branch for the first step, and no cache of cross-attention, whose keys and
    values both branches make of the encoder's states."""
    (folder / "onnx").mkdir(parents=True)
    vit(folder / "onnx" / "encoder_model.onnx")
    gpt2(folder / "onnx" / "decoder_model_merged.onnx")
    fullsize.change(LAYOUTS / "vit-gpt2-transformersjs", folder, {
        "config.json": {"encoder.hidden_size": WIDTH, "encoder.num_attention_heads": HEADS, "encoder.num_hidden_layers": LAYERS,
                        "encoder.image_size": 224, "encoder.patch_size": 16, "encoder.intermediate_size": 4 * WIDTH,
                        "decoder.n_embd": WIDTH, "decoder.n_head": HEADS, "decoder.n_layer": LAYERS, "decoder.n_inner": 4 * WIDTH,
                        "decoder.n_positions": 1024, "decoder.vocab_size": WORDS},
        "preprocessor_config.json": {"size": {"height": 224, "width": 224}}})
    lengthened(folder / "tokenizer.json", WORDS)


def vit(path: Path) -> None:
    g = fullsize.Graph(path)
    x = g.op("Conv", g.input("pixel_values", F32, "batch", 3, 224, 224), g.weight(WIDTH, 3, 16, 16), g.weight(WIDTH),
             strides=[16, 16])
    x = g.transpose(g.reshape(x, 0, WIDTH, -1), 0, 2, 1)
    first = g.op("Expand", g.weight(1, 1, WIDTH), g.op("Concat", g.size(x, 0), g.const(np.array([1, WIDTH], np.int64)), axis=0))
    x = g.add(g.op("Concat", first, x, axis=1), g.weight(197, WIDTH))
    for _ in range(LAYERS):
        x = g.add(x, g.attention(g.norm(x, WIDTH), WIDTH, HEADS))
        x = g.add(x, g.mlp(g.norm(x, WIDTH), WIDTH, 4 * WIDTH, g.gelu))
    g.op("Identity", g.norm(x, WIDTH), to=g.output("last_hidden_state", F32, "batch", "seen", WIDTH))
    g.save()


def gpt2(path: Path) -> None:
    g, dim = fullsize.Graph(path, seed=1), WIDTH // HEADS
    ids = g.input("input_ids", I64, "batch", "length")
    states = g.input("encoder_hidden_states", F32, "batch", "seen", WIDTH)
    past = {f"{i}.{kv}": g.input(f"past_key_values.{i}.{kv}", F32, "batch", HEADS, "past", dim)
            for i in range(LAYERS) for kv in ("key", "value")}
    use = g.input("use_cache_branch", BOOL, 1)
    weights, given, store = [], None, g.store

    def shared(values):  # both branches read the same weights, in the same order
        if given:
            return next(given)
        weights.append(store(values))
        return weights[-1]

    g.store = shared

    def gelu_new(y):
        cube = g.op("Mul", g.op("Pow", y, g.const(3.0)), g.const(0.044715))
        tanh = g.op("Tanh", g.op("Mul", g.add(y, cube), g.const(math.sqrt(2 / math.pi))))
        return g.op("Mul", g.op("Mul", y, g.const(0.5)), g.add(tanh, g.const(1.0)))

    def split(y, parts):
        y = g.linear(y, WIDTH, parts * WIDTH)
        return [g.heads(g.cut(y, -1, i * WIDTH, (i + 1) * WIDTH), HEADS, dim) for i in range(parts)]

    names, branches = ["logits", *(f"present.{n}" for n in past)], []
    for cached in (False, True):
        given = iter(weights) if cached else None
        nodes, made = [], {}
        with g.branch(nodes):
            length = g.size(ids, 1)
            before = g.size(past["0.key"], 2) if cached else None
            total, at = (g.add(length, before), g.add(g.range(length), before)) if cached else (length, g.range(length))
            table = g.weight(WORDS, WIDTH)
            x = g.add(g.op("Gather", table, ids), g.op("Gather", g.weight(1024, WIDTH), at))
            hidden = g.hidden(g.op("LessOrEqual", g.unsqueeze(g.range(total), 0), g.unsqueeze(at, 1)))
            for i in range(LAYERS):
                q, k, v = split(g.norm(x, WIDTH), 3)
                for kv, new in (("key", k), ("value", v)):
                    made[f"{i}.{kv}"] = g.op("Concat", past[f"{i}.{kv}"], new, axis=2) if cached else new
                y = g.attend(q, g.transpose(made[f"{i}.key"], 0, 1, 3, 2), made[f"{i}.value"], dim, hidden)
                x = g.add(x, g.linear(g.reshape(y, 0, -1, WIDTH), WIDTH, WIDTH))
                q, = split(g.norm(x, WIDTH), 1)
                k, v = split(states, 2)
                y = g.attend(q, g.transpose(k, 0, 1, 3, 2), v, dim)
                x = g.add(x, g.linear(g.reshape(y, 0, -1, WIDTH), WIDTH, WIDTH))
                x = g.add(x, g.mlp(g.norm(x, WIDTH), WIDTH, 4 * WIDTH, gelu_new))
            made["logits"] = g.op("MatMul", g.norm(x, WIDTH), g.weight(WIDTH, WORDS))
        outputs = [helper.make_tensor_value_info(made[n.removeprefix("present.")], F32, [None] * (3 if n == "logits" else 4))
                   for n in names]
        branches.append(helper.make_graph(nodes, f"branch_{cached}", [], outputs))
    g.nodes.append(helper.make_node("If", [use], names, then_branch=branches[1], else_branch=branches[0]))
    g.output("logits", F32, "batch", "length", WORDS)
    for n in past:
        g.output(f"present.{n}", F32, "batch", HEADS, "total", dim)
    g.save()


def florence2(folder: Path) -> None:
    write, base, _, changes = fullsize.FOLDERS["florence2-base"]
    (folder / "onnx").mkdir(parents=True)
    write(folder / "onnx")
    layers = {f"text_config.{side}_{key}": n for side in ("encoder", "decoder")
              for key, n in (("layers", 6), ("attention_heads", 12))}
    fullsize.change(LAYOUTS / base, folder, changes | {"config.json": changes["config.json"] | layers})
    lengthened(folder / "tokenizer.json", 51289)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BartTokenizer"}\n')


def lengthened(path: Path, size: int) -> None:
    """Add words to a tokenizer.json until it has size tokens."""
    made = json.loads(path.read_text())
    used = {t["id"] for t in made["added_tokens"]} | set(made["model"]["vocab"].values())
    made["model"]["vocab"] |= {f"word{i}": i for i in range(size) if i not in used}
    path.write_text(json.dumps(made, ensure_ascii=False))


def photograph(path: Path) -> None:
    """A photograph as large as a screen, from one of testdata."""
    with Image.open(ROOT / "testdata" / "images" / "cat.jpg") as small:
        small.resize((1280, 852), Image.Resampling.BICUBIC).save(path, quality=90)


MODELS = {"vit-gpt2": vit_gpt2, "florence2": florence2}


def make(name: str, out: Path) -> Path:
    """The model's folder, made where it is not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "photo.jpg").exists():
        photograph(out / "photo.jpg")
    folder, half = out / name, out / f"{name}.half"
    if not folder.exists():
        shutil.rmtree(half, ignore_errors=True)
        MODELS[name](half)
        half.rename(folder)
    return folder
