"""python -m xpipe_export.golden.clap_layout [--out DIR]: CLAP as transformers.js lays it out, with what
transformers gives for sounds and texts.

The tiny model of clap_family without fusion, which alone transformers.js takes. The sounds are those of
testdata/families/clap.
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

from ..graph import GraphSpec, export_graph
from . import clap_family, core
from .layouts import Outputs, fp16

AXES = {"input_ids": ["texts", "length"], "attention_mask": ["texts", "length"], "text_embeds": ["texts", "width"],
        "audio_embeds": ["sounds", "width"], "logits_per_audio": ["sounds", "texts"], "logits_per_text": ["texts", "sounds"]}
WRITTEN = ["input_ids", "attention_mask"]


def export(model: torch.nn.Module, path: Path, inputs: list[str], outputs: list[str], frames: int) -> None:
    """Write one verified graph."""
    def make(s):
        every = {"input_ids": torch.randint(5, 60, (s["texts"], s["length"])),
                 "attention_mask": torch.ones(s["texts"], s["length"], dtype=torch.int64),
                 "input_features": torch.randn(s["sounds"], 1, frames, clap_family.MELS) * 20 - 30}
        return {n: every[n] for n in inputs}

    axes = AXES | {"input_features": ["sounds", 1, frames, clap_family.MELS]}
    sizes = [{"texts": t, "length": n, "sounds": i} for t, i, n in ((4, 2, 5), (1, 3, 7), (3, 1, 16))]
    export_graph(GraphSpec(Outputs(model, inputs, outputs), make, outputs, {n: axes[n] for n in (*inputs, *outputs)},
                           sizes[0], sizes[1:]), path)
    graph = onnx.load(path)
    for node in graph.graph.node:  # names are half of so small a graph
        node.ClearField("name")
    onnx.save(graph, path)


def build(folder: Path, seed: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "onnx").mkdir(parents=True)
    with tempfile.TemporaryDirectory() as tmp:
        model, tokenizer, extractor = clap_family.tiny(False, "repeatpad", seed, Path(tmp))
        for name in ("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(Path(tmp) / name, folder / name)
        load = lambda cls: cls.from_pretrained(tmp, attn_implementation="eager").eval()
        read = tokenizer(clap_family.TEXTS, padding=True, return_tensors="pt")
        features = torch.cat([clap_family.heard(extractor, s)["input_features"].float() for s in clap_family.sounds()])
        frames = features.shape[2]
        export(load(tf.ClapTextModelWithProjection), folder / "onnx" / "text_model.onnx", WRITTEN, ["text_embeds"], frames)
        export(load(tf.ClapAudioModelWithProjection), folder / "onnx" / "audio_model.onnx", ["input_features"], ["audio_embeds"], frames)
        export(load(tf.ClapModel), folder / "onnx" / "model.onnx", ["input_ids", "input_features", "attention_mask"],
               ["logits_per_audio", "logits_per_text", "text_embeds", "audio_embeds"], frames)
    for name in ("text", "audio"):
        fp16(folder / "onnx" / f"{name}_model.onnx")
    with torch.no_grad():
        out = model(input_ids=read.input_ids, attention_mask=read.attention_mask, input_features=features)
    versions = core.versions() | {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
    (folder / "golden.json").write_text(json.dumps({
        "script": "python -m xpipe_export.golden.clap_layout", "versions": versions, "seed": seed, "texts": clap_family.TEXTS,
        "text_embeds": out.text_embeds.tolist(), "audio_embeds": out.audio_embeds.tolist(),
        "probabilities": out.logits_per_audio.softmax(-1).tolist()}, ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m xpipe_export.golden.clap_layout")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[4] / "testdata" / "layouts")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tf.utils.logging.set_verbosity_error()
    build(args.out / "clap-transformersjs", 1)


if __name__ == "__main__":
    main()
