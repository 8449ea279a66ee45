"""python -m xpipe_export.golden.layouts [--out DIR]: CLIP and SigLIP in the layouts of other tools,
with what they should give.

Folders as transformers.js and optimum lay them out, of tiny seeded models of the real classes:
names of files, inputs and outputs are theirs, no xpipe.json. golden.json beside them has
transformers' embeddings and logits.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import onnx
import onnxruntime
import torch
import transformers as tf
from onnx.external_data_helper import set_external_data
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch import nn

from ..graph import GraphSpec, export_graph
from . import core, tokens
from .blip_family import load_images

SIZE = 32
TEXTS = ["a photo of a red cat", "Two boats, near the WATER!", "the dog sleeps under the bridge", "a"]
VISION = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
          "num_attention_heads": 2, "image_size": SIZE, "patch_size": 8}
TEXT = {"hidden_size": 12, "intermediate_size": 24, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 24}


class Outputs(nn.Module):
    """A model whose outputs of the given names come as a tuple."""

    def __init__(self, model: nn.Module, inputs: list[str], names: list[str]):
        super().__init__()
        self.model, self.inputs, self.names = model, inputs, names

    def forward(self, *values):
        out = self.model(**dict(zip(self.inputs, values)))
        return tuple(getattr(out, n) for n in self.names)


AXES = {"input_ids": ["texts", "length"], "attention_mask": ["texts", "length"],
        "pixel_values": ["images", 3, "height", "width"], "logits_per_image": ["images", "texts"],
        "logits_per_text": ["texts", "images"], "text_embeds": ["texts", "width"],
        "image_embeds": ["images", "width"], "pooler_output": ["rows", "width"],
        "last_hidden_state": ["rows", "positions", "width"]}


def export(model: nn.Module, path: Path, inputs: list[str], outputs: list[str], vocabulary: int) -> None:
    """Write one verified graph."""
    def make(s):
        every = {"input_ids": torch.randint(0, vocabulary - 1, (s["texts"], s["length"])),
                 "pixel_values": torch.randn(s["images"], 3, SIZE, SIZE),
                 "attention_mask": torch.ones(s["texts"], s["length"], dtype=torch.int64)}
        every["input_ids"][:, -1] = vocabulary - 1
        return {n: every[n] for n in inputs}

    # of no matter to pictures
    full = getattr(getattr(model.config, "text_config", model.config), "max_position_embeddings", 8)
    lengths = (full, full, full) if "siglip" in model.config.model_type else (5, 7, full)
    sizes = [{"texts": t, "length": n, "images": i} for t, i, n in zip((4, 1, 3), (2, 3, 1), lengths)]
    export_graph(GraphSpec(Outputs(model, inputs, outputs), make, outputs, AXES, sizes[0], sizes[1:]), path)
    graph = onnx.load(path)
    for node in graph.graph.node:  # names are half of so small a graph
        node.ClearField("name")
    onnx.save(graph, path)


def external(path: Path, parts: int) -> None:
    """Move a graph's weights to path_data, path_data_1, ..., as transformers.js splits them."""
    model = onnx.load(path)
    weights = sorted((w for w in model.graph.initializer if len(w.raw_data) >= 64), key=lambda w: w.name)
    for i, w in enumerate(weights):
        part = i % parts
        set_external_data(w, path.name + "_data" + (f"_{part}" if part else ""))
    path.unlink()
    onnx.save(model, path)
    for file in path.parent.glob(path.name + "_data*"):
        file.chmod(0o644)


def fp16(path: Path) -> None:
    """Write path_fp16.onnx: float16 arithmetic, float32 inputs and outputs."""
    model = convert_float_to_float16(onnx.load(path), keep_io_types=True)
    for node in model.graph.node:
        node.ClearField("name")
    onnx.save(model, path.with_name(f"{path.stem}_fp16.onnx"))


def clip(seed: int):
    tokenizer = tokens.clip()
    text = TEXT | {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id,
                   "bos_token_id": tokenizer.bos_token_id, "projection_dim": 12}
    config = tf.CLIPConfig(text, VISION | {"projection_dim": 12}, projection_dim=12)
    model = tf.CLIPModel(config)
    core.randomise(model, seed)
    model.logit_scale.data.fill_(4.6052)  # ln 100, where OpenAI's checkpoints are
    return model, tokenizer, tf.CLIPImageProcessor(size={"shortest_edge": SIZE},
                                                   crop_size={"height": SIZE, "width": SIZE}), True


def siglip(seed: int):
    tokenizer = tokens.t5()
    tokenizer.model_max_length = 48
    text = TEXT | {"vocab_size": len(tokenizer), "projection_size": 16, "eos_token_id": 1,
                   "bos_token_id": 1, "pad_token_id": 0, "max_position_embeddings": 48}
    model = tf.SiglipModel(tf.SiglipConfig(text, VISION))
    core.randomise(model, seed)
    model.logit_scale.data.fill_(4.0)
    model.logit_bias.data.fill_(13.0)
    return model, tokenizer, tf.SiglipImageProcessor(size={"height": SIZE, "width": SIZE}), "max_length"


def save(folder: Path, make, seed: int, images: list[Path], graphs) -> dict:
    """Write one folder and return what transformers computes for it."""
    shutil.rmtree(folder, ignore_errors=True)
    model, tokenizer, processor, padding = make(seed)
    with tempfile.TemporaryDirectory() as tmp:
        core.save_rounded(model, Path(tmp))
        tokenizer.save_pretrained(tmp)
        processor.save_pretrained(tmp)
        (folder / "onnx").mkdir(parents=True)
        for name in ("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(Path(tmp) / name, folder / name)
        load = lambda cls: cls.from_pretrained(tmp, attn_implementation="eager").eval()
        graphs(folder, load, len(tokenizer))
        model = load(type(model))
        if not any((folder / "onnx").iterdir()):
            (folder / "onnx").rmdir()
    encoded = tokenizer(TEXTS, return_tensors="pt", padding=padding, return_attention_mask=padding is True)
    with torch.no_grad():
        out = model(**encoded, pixel_values=processor(load_images(images), return_tensors="pt").pixel_values)
    logits = out.logits_per_image
    return {"seed": seed, "input_ids": encoded.input_ids.tolist(),
            "text_embeds": out.text_embeds.tolist(), "image_embeds": out.image_embeds.tolist(),
            "logits_per_image": logits.tolist(),
            "probabilities": (logits.softmax(-1) if padding is True else logits.sigmoid()).tolist()}


def clip_transformersjs(folder: Path, load, vocabulary: int) -> None:
    text, vision = folder / "onnx" / "text_model.onnx", folder / "onnx" / "vision_model.onnx"
    export(load(tf.CLIPTextModelWithProjection), text, ["input_ids"], ["text_embeds", "last_hidden_state"], vocabulary)
    export(load(tf.CLIPVisionModelWithProjection), vision, ["pixel_values"],
           ["image_embeds", "last_hidden_state"], vocabulary)
    for path, parts in ((text, 1), (vision, 2)):
        fp16(path)
        external(path, parts)


def clip_optimum(folder: Path, load, vocabulary: int) -> None:
    export(load(tf.CLIPModel), folder / "model.onnx", ["input_ids", "pixel_values", "attention_mask"],
           ["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"], vocabulary)


def siglip_transformersjs(folder: Path, load, vocabulary: int) -> None:
    onnx_folder = folder / "onnx"
    export(load(tf.SiglipModel), onnx_folder / "model.onnx", ["input_ids", "pixel_values"],
           ["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"], vocabulary)
    export(load(tf.SiglipTextModel), onnx_folder / "text_model.onnx", ["input_ids"],
           ["last_hidden_state", "pooler_output"], vocabulary)
    export(load(tf.SiglipVisionModel), onnx_folder / "vision_model.onnx", ["pixel_values"],
           ["last_hidden_state", "pooler_output"], vocabulary)


FOLDERS = {"clip-transformersjs": (clip, 1, clip_transformersjs), "clip-optimum": (clip, 2, clip_optimum),
           "siglip-transformersjs": (siglip, 1, siglip_transformersjs)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m xpipe_export.golden.layouts")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[4] / "testdata" / "layouts")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tf.utils.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as tmp:
        images = core.make_images(Path(tmp))  # those of testdata/families/images
        models = {name: save(args.out / name, make, seed, images, graphs)
                  for name, (make, seed, graphs) in FOLDERS.items()}
    versions = core.versions() | {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
    golden = {"script": "python -m xpipe_export.golden.layouts", "versions": versions,
              "texts": TEXTS, "images": [p.name for p in images], "models": models}
    (args.out / "golden.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
