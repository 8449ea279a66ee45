"""python -m xpipe_export.golden.genai_layouts [--out DIR] [--only NAME ...]: packages of
onnxruntime-genai whose models see, with the ids that ONNX Runtime gives for the pixels that
onnxruntime-extensions 0.15.2 makes by the package's own list of operations.

Gemma 3 and Qwen2.5-VL are those of seeing_layouts, packed anew. Phi-3-vision's encoder is written
here after image_embedding_phi3_v_for_onnx.py of its checkpoints, which transformers does not have.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
import transformers as tf
from onnxruntime_extensions.pp_api import create_processor, image_pre_process, load_images, tensor_result_get_at
from torch import nn

from ..families import causal
from ..graph import GraphSpec, export_graph
from . import core, decoders, seeing_layouts, tokens
from .decoders import clean, llama
from .seeing_layouts import Graphs, TextDecoder, finished, picture, whole

NEW = decoders.NEW


def op(kind: str, **attrs) -> dict:
    return {"operation": {"name": kind.lower(), "type": kind} | ({"attrs": attrs} if attrs else {})}


def listed(*ops: dict) -> dict:
    return {"processor": {"name": "image_processing", "transforms": list(ops)}}


class Embedding(nn.Module):
    """input_ids [B,T], image_features [N,D] -> inputs_embeds [B,T,D], the features in the places of the token, or of
    negative ids."""

    def __init__(self, table: nn.Module, token: int):
        super().__init__()
        self.table, self.token = table, token

    def forward(self, input_ids, image_features):
        places = input_ids < 0 if self.token < 0 else input_ids == self.token
        embeds = self.table(torch.where(places, 0, input_ids))
        return embeds.masked_scatter(places.unsqueeze(-1).expand_as(embeds), image_features)


def embedding_spec(table: nn.Module, token: int, width: int) -> GraphSpec:
    def make(s):
        ids = torch.full((1, s["length"]), 5)
        ids[0, :s["rows"]] = token
        return {"input_ids": ids, "image_features": torch.randn(s["rows"], width)}

    return GraphSpec(Embedding(table, token), make, ["inputs_embeds"],
                     {"input_ids": ["batch", "length"], "image_features": ["rows", width], "inputs_embeds": ["batch", "length", width]},
                     {"length": 7, "rows": 3}, [{"length": 5, "rows": 5}, {"length": 4, "rows": 0}])


def config(kind: str, text, end: int, names: dict[str, list[str]], **model) -> dict:
    layers, heads, dim = causal.cache_shape(text)
    return {"model": {
        "type": kind, "bos_token_id": 1, "eos_token_id": end, "pad_token_id": 0, "context_length": text.max_position_embeddings,
        "vocab_size": text.vocab_size,
        "vision": {"filename": "vision.onnx", "config_filename": names.get("config", "processor_config.json"),
                   "inputs": {n: n for n in names["vision"]}, "outputs": {"image_features": "image_features"}},
        "embedding": {"filename": "embedding.onnx", "inputs": {"input_ids": "input_ids", "image_features": "image_features"},
                      "outputs": {"inputs_embeds": "inputs_embeds"}},
        "decoder": {"filename": "text.onnx", "head_size": dim, "hidden_size": text.hidden_size, "num_attention_heads": text.num_attention_heads,
                    "num_hidden_layers": layers, "num_key_value_heads": heads,
                    "inputs": {"inputs_embeds": "inputs_embeds", "attention_mask": "attention_mask", "position_ids": "position_ids",
                               "past_key_names": "past_key_values.%d.key", "past_value_names": "past_key_values.%d.value"},
                    "outputs": {"logits": "logits", "present_key_names": "present.%d.key", "present_value_names": "present.%d.value"}}} | model,
        "search": {"do_sample": False, "max_length": text.max_position_embeddings, "num_beams": 1}}


class Package(Graphs):
    """A package on ONNX Runtime; pixels by onnxruntime-extensions."""

    def __init__(self, folder: Path, processor: dict, token: int):
        self.token, self.first, self.processor = token, 0, processor
        self.vision, self.embed, self.decoder = (self.session(folder / f"{n}.onnx") for n in ("vision", "embedding", "text"))
        whole_embed, width = self.embed, self.embed.get_inputs()[1].shape[1]

        class Plain:
            @staticmethod
            def run(_, fed):
                ids = np.where(fed["input_ids"] == token, 0, fed["input_ids"])
                return whole_embed.run(None, {"input_ids": ids, "image_features": np.zeros((0, width), np.float32)})

        self.embed = Plain

    def pixels(self, image, names: list) -> dict:
        with tempfile.TemporaryDirectory() as tmp:
            file, png = f"{tmp}/list.json", f"{tmp}/picture.png"
            Path(file).write_text(json.dumps(self.processor))
            image.save(png)
            result = image_pre_process(create_processor(file), load_images([png]))
            made = {n: np.array(tensor_result_get_at(result, i)) for i, n in enumerate(names)}
        if "image_grid_thw" in made:
            made["image_grid_thw"], made["pixel_values"] = made["image_grid_thw"].reshape(-1, 3), made["pixel_values"][0]
        return made


def pack(folder: Path, vision: Path, embed: GraphSpec, text: Path, files: Path | None, made: dict, processor: dict) -> None:
    folder.mkdir(parents=True)
    export_graph(embed, folder / "embedding.onnx")
    clean(folder / "embedding.onnx")
    shutil.copyfile(vision, folder / "vision.onnx")
    shutil.copyfile(text, folder / "text.onnx")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if files and (files / name).exists():
            shutil.copyfile(files / name, folder / name)
    (folder / "genai_config.json").write_text(json.dumps(made, indent=1) + "\n")
    (folder / made["model"]["vision"]["config_filename"]).write_text(json.dumps(processor, indent=1) + "\n")


def in_rows(model: onnx.ModelProto) -> onnx.ModelProto:
    """image_features [N,D], the rows of all pictures behind one another: onnxruntime-genai gives the embedding graph
    what the vision graph gives."""
    graph, (out,) = model.graph, model.graph.output
    dims = out.type.tensor_type.shape.dim
    if len(dims) == 3:
        for node in graph.node:
            node.output[:] = ["by_picture" if n == out.name else n for n in node.output]
        width = dims[2].dim_value
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, width], np.int64), "rows_shape"))
        graph.node.append(onnx.helper.make_node("Reshape", ["by_picture", "rows_shape"], [out.name]))
        out.CopyFrom(onnx.helper.make_tensor_value_info(out.name, onnx.TensorProto.FLOAT, ["rows", width]))
    return model


def repacked(seed: int, work: Path, folder: Path, kind: str) -> dict:
    """gemma3 or qwen2_5_vl: seeing_layouts' graphs and prompts."""
    source = folder.parent / {"gemma3": "gemma3", "qwen2_5_vl": "qwen2_5vl"}[kind]
    source = source.with_name(source.name + "-transformersjs")
    settings = json.loads((source / "config.json").read_text())
    golden = json.loads((source / "golden.json").read_text())
    token = settings.get("image_token_index") or settings["image_token_id"]
    table = next(w for w in onnx.load(source / "onnx" / "embed_tokens.onnx").graph.initializer if len(w.dims) == 2)
    table = nn.Embedding.from_pretrained(torch.tensor(onnx.numpy_helper.to_array(table).copy()))
    text = tf.PretrainedConfig.from_dict(settings["text_config"])
    names = {"gemma3": ["pixel_values"], "qwen2_5_vl": ["pixel_values", "image_grid_thw"]}[kind]
    if kind == "gemma3":
        processor = listed(op("DecodeImage", color_space="RGB"), op("Resize", interpolation="CUBIC", width=32, height=32, keep_aspect_ratio=0),
                           op("Rescale"), op("Normalize", mean=[0.5] * 3, std=[0.5] * 3), op("Permute3D", dims=[2, 0, 1]))
        made = config(kind, text, json.loads((source / "generation_config.json").read_text())["eos_token_id"], {"vision": names})
    else:
        # the sizes are whole numbers of patches, so that 0.15.2, which looks at the list's, agrees with its successor
        processor = listed(op("DecodeImage", color_space="RGB"), op("ConvertRGB"), op("Resize", width=48, height=32),
                           op("Rescale", rescale_factor=0.00392156862745098), op("Normalize", qwen2_5_vl=1),
                           op("PatchImage", patch_size=8, temporal_patch_size=2, merge_size=2))
        made = config(kind, text, json.loads((source / "generation_config.json").read_text())["eos_token_id"],
                      {"vision": names, "config": "vision_processor.json"}, image_token_id=token,
                      video_token_id=settings["video_token_id"], vision_start_token_id=settings["vision_start_token_id"])
    vision = work / "vision.onnx"
    onnx.save(in_rows(onnx.load(source / "onnx" / "vision_encoder.onnx")), vision)
    pack(folder, vision, embedding_spec(table, token, 32), source / "onnx" / "decoder_model_merged.onnx",
         source, made, processor)
    package, images, rows = Package(folder, processor, token), core.make_images(work), []
    for row in golden["rows"]:
        pictures = [package.pixels(picture(images, n), names) for n in row["images"]]
        ids, places = row["input_ids"], None
        if kind == "qwen2_5_vl":
            ids, places = relaid(ids, token, 6, (3, 2))
        new, gaps = package.greedy(ids, pictures, [made["model"]["eos_token_id"]], places)
        if min(gaps) < core.MIN_GAP:
            continue  # a near tie with other pixels than the row was chosen for
        rows.append({k: row[k] for k in ("messages", "images") if k in row} | {"input_ids": ids, "ids": new})
    if len(rows) < 3:
        raise core.Unsuitable("near ties")
    return {"rows": rows}


def relaid(ids: list[int], token: int, count: int, grid: tuple[int, int]):
    """ids with count places a picture, and their positions [3,1,L], of columns by rows (get_rope_index)."""
    laid, planes, at, i = [], [[], [], []], 0, 0
    while i < len(ids):
        if ids[i] != token:
            laid.append(ids[i])
            for plane in planes:
                plane.append(at)
            at, i = at + 1, i + 1
            continue
        while i < len(ids) and ids[i] == token:
            i += 1
        laid += [token] * count
        for k in range(count):
            for plane, step in zip(planes, (0, k // grid[0], k % grid[0])):
                plane.append(at + step)
        at += max(grid)
    return laid, np.array(planes)[:, None]


PHI3V = ("{% for message in messages %}{{'<|' + message['role'] + '|>' + '\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
         "{% if add_generation_prompt %}{{- '<|assistant|>\n' -}}{% endif %}")


class Crops(nn.Module):
    """pixel_values [1,17,3,336,336], image_sizes [1,2] -> image_features [N,D]: all crops, row by row of patches with a
    newline behind each, a separator, and the whole picture likewise ("sub_glb")."""

    def __init__(self, width: int):
        super().__init__()
        self.clip = tf.CLIPVisionModel(tf.CLIPVisionConfig(
            hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=336, patch_size=14))
        self.clip.set_attn_implementation("eager")
        self.newline, self.separator = nn.Parameter(torch.zeros(1, 1, 32)), nn.Parameter(torch.zeros(1, 32))
        self.project = nn.Sequential(nn.Linear(32, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, pixel_values, image_sizes):
        h, w = image_sizes[0, 0] // 336, image_sizes[0, 1] // 336
        states = self.clip(pixel_values[0], output_hidden_states=True).hidden_states[-2][:, 1:]
        merged = states.reshape(17, 12, 2, 12, 2, 8).permute(0, 1, 3, 2, 4, 5).reshape(17, 12, 12, 32)

        def lines(rows):  # [R,C,32]
            return torch.cat([rows, self.newline.expand(rows.shape[0], -1, -1)], 1).reshape(-1, 32)

        crops = merged[1:1 + h * w].reshape(h, w, 12, 12, 32).permute(0, 2, 1, 3, 4).reshape(h * 12, w * 12, 32)
        return self.project(torch.cat([lines(crops), self.separator, lines(merged[0])]))


class Phi3(nn.Module):
    """What TextDecoder reads of a model."""

    def __init__(self, lm: nn.Module):
        super().__init__()
        self.model, self.lm_head, self.config = nn.Module(), lm.lm_head, tf.PretrainedConfig()
        self.model.language_model, self.config.text_config = lm.model, lm.config


def phi3v(seed: int, work: Path, folder: Path) -> dict:
    tokenizer = tokens.llama(extra=["<|user|>", "<|assistant|>", "<|end|>", "<|system|>"])
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    lm = finished(seed, work, tf.Phi3ForCausalLM(tf.Phi3Config(
        vocab_size=whole(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, original_max_position_embeddings=4096, bos_token_id=1, eos_token_id=end,
        pad_token_id=0)))
    vision = Crops(32)
    core.randomise(vision, seed, gain=1.5)
    vision.eval()
    graphs = work / "graphs"

    def pictures(s):
        return {"pixel_values": torch.randn(1, 17, 3, 336, 336), "image_sizes": torch.tensor([[336 * s["rows"], 336 * s["columns"]]])}

    export_graph(GraphSpec(vision, pictures, ["image_features"],
                           {"pixel_values": ["pictures", "crops", 3, 336, 336], "image_sizes": ["pictures", 2], "image_features": ["rows", 32]},
                           {"rows": 2, "columns": 3}, [{"rows": 1, "columns": 1}, {"rows": 4, "columns": 2}]), graphs / "vision.onnx")
    export_graph(seeing_layouts.text_spec(Phi3(lm), causal.causal_mask), graphs / "text.onnx")
    for name in ("vision", "text"):
        clean(graphs / f"{name}.onnx")
    tokenizer.chat_template = PHI3V
    tokenizer.save_pretrained(work / "files")
    processor = listed(op("DecodeImage", color_space="BGR"), op("ConvertRGB"), op("Phi3ImageTransform", num_crops=16, num_img_tokens=144))
    names = ["pixel_values", "image_sizes"]
    made = config("phi3v", lm.config, end, {"vision": names})
    pack(folder, graphs / "vision.onnx", embedding_spec(lm.model.embed_tokens, -1, 32), graphs / "text.onnx", work / "files", made, processor)
    package, images, rows = Package(folder, processor, -1), core.make_images(work), []
    for text, name in [("what is this?", "figure0.png"), ("what is this?", "figure2.png@96x14"), ("how many birds are there?", None)]:
        head = "<|user|>\n" + ("<|image_1|>\n" if name else "")
        prompt = head + text + "<|end|>\n<|assistant|>\n"
        given = [package.pixels(picture(images, name), names)] if name else []
        ids = []
        for i, chunk in enumerate(prompt.split("<|image_1|>")):
            ids += ([-1] * len(package.features(given)) if i else []) + tokenizer(chunk).input_ids
        new, gaps = package.greedy(ids, given, [end])
        if min(gaps) < core.MIN_GAP or len(set(new)) < 4:
            raise core.Unsuitable(f"gap {min(gaps):.2g} {new}")
        content = ([{"type": "image"}] if name else []) + [{"type": "text", "text": text}]
        rows.append({"messages": [{"role": "user", "content": content}], "images": [name] if name else [], "ids": new})
    if rows[0]["ids"] == rows[1]["ids"]:
        raise core.Unsuitable("rows alike")
    return {"rows": rows}


FOLDERS = {"gemma3-genai": lambda s, w, f: repacked(s, w, f, "gemma3"), "qwen2_5vl-genai": lambda s, w, f: repacked(s, w, f, "qwen2_5_vl"),
           "phi3v-genai": phi3v}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m xpipe_export.golden.genai_layouts")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[4] / "testdata" / "layouts")
    parser.add_argument("--only", nargs="*", default=list(FOLDERS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    tf.utils.logging.set_verbosity_error()
    for name in args.only:
        folder, golden = args.out / name, {}

        def attempt(seed: int) -> None:
            shutil.rmtree(folder, ignore_errors=True)
            with tempfile.TemporaryDirectory() as tmp:
                golden.update(FOLDERS[name](seed, Path(tmp), folder))

        seed = core.search(attempt, 1)
        about = {"script": f"python -m xpipe_export.golden.genai_layouts --only {name}", "seed": seed,
                 "versions": core.versions() | {"onnx": onnx.__version__, "onnxruntime": ort.__version__, "onnxruntime-extensions": "0.15.2"}}
        (folder / "golden.json").write_text(json.dumps(about | golden, ensure_ascii=False) + "\n")
        print(name, "seed", seed, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()), "bytes")


if __name__ == "__main__":
    main()
