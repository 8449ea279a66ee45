"""python -m xpipe_export.golden.dual_layouts [--out DIR] [--only NAME]: dual encoders and encoders of
pictures in the layouts of Immich, sentence-transformers, timm and transformers.js, with what they
should give.

Folders of tiny seeded models of the real classes, no xpipe.json; dual.json beside them has the
embeddings that the classes give, and hashes of the pixels that the tools' own transforms make.
Jina-CLIP's class is code in its checkpoints: its folders have graphs with the same inputs, outputs
and arithmetic around transformers' encoders. MobileCLIP's is open_clip's CustomTextCLIP with a tower
of timm's FastViT.

Besides the usual environment it needs, pinned: torchvision 0.23.0, timm 1.0.22, open_clip_torch
3.2.0, sentence-transformers 5.1.2, optimum-onnx 0.1.0.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import open_clip
import sentence_transformers
import timm
import torch
import torch.nn.functional as F
import torchvision
import transformers as tf
from onnxruntime.quantization import QuantType, quantize_dynamic
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import nn
from transformers.models.siglip2.modeling_siglip2 import Siglip2VisionEmbeddings

from ..families import naflex
from . import core, layouts, tokens
from .layouts import SIZE, TEXT, VISION, external, fp16

WIDTH = 12
TEXTS = layouts.TEXTS + ["  a\tred_cat:  it's -- under  the BRIDGE (no. 7) ", "the green train waits at the corner " * 20]


def export(module: nn.Module, args: tuple, path: Path, inputs: list[str], outputs: list[str],
           axes: dict | None = None, others: list[tuple] = ()) -> None:
    """Write one graph, and hold it to the module on args and others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    module = module.eval()
    torch.onnx.export(module, args, str(path), input_names=inputs, output_names=outputs,
                      opset_version=17, dynamic_axes=axes or {}, dynamo=False)
    graph = onnx.load(path)
    for node in graph.graph.node:  # names are half of so small a graph
        node.ClearField("name")
        node.ClearField("doc_string")
    onnx.save(graph, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for case in [args, *others]:
        with torch.no_grad():
            want = module(*case)
        want = want if isinstance(want, tuple) else (want,)
        got = session.run(None, {n: t.numpy() for n, t in zip(inputs, case)})
        for name, w, g in zip(outputs, want, got):
            difference = float(np.abs(w.numpy() - g).max())
            assert difference < 2e-5, (path, name, difference)


def quantized(path: Path) -> None:
    """Write path_quantized.onnx: dynamic 8-bit weights, as transformers.js has them."""
    quantize_dynamic(path, path.with_name(f"{path.stem}_quantized.onnx"), weight_type=QuantType.QUInt8,
                     op_types_to_quantize=["MatMul", "Gemm"])


class Call(nn.Module):
    """A function of a model as a module."""

    def __init__(self, model: nn.Module, function):
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *args):
        return self.function(self.model, *args)


def save_json(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def save_tokenizer(tokenizer, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as tmp:
        tokenizer.save_pretrained(tmp)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(Path(tmp) / name, folder / name)


def rows(t: torch.Tensor) -> list:
    return t.detach().tolist()


def unit(t: torch.Tensor) -> torch.Tensor:
    return F.normalize(t, dim=-1)


# SigLIP 2

def siglip_parts(model_class, config, seed: int):
    model = model_class(config)
    core.randomise(model, seed)
    model.logit_scale.data.fill_(4.0)
    model.logit_bias.data.fill_(13.0)
    return model.eval()


def scored(logits: torch.Tensor) -> dict:
    return {"probabilities": rows(logits.sigmoid())}


def siglip2_transformersjs(folder: Path, seed: int, images) -> dict:
    tokenizer, lowered = tokens.gemma()
    # 32: ONNX Runtime 1.24.4 multiplies 8-bit matrices of 24 columns wrongly on processors with AMX.
    config = tf.SiglipConfig(TEXT | {"vocab_size": len(tokenizer), "projection_size": 16, "max_position_embeddings": 64,
                                     "intermediate_size": 32, "eos_token_id": 1, "bos_token_id": 2, "pad_token_id": 0}, VISION)
    config._attn_implementation = "eager"
    model = siglip_parts(tf.SiglipModel, config, seed)
    processor = tf.SiglipImageProcessor(size={"height": SIZE, "width": SIZE})
    save_tokenizer(tokenizer, folder)
    save_json(folder / "config.json", config.to_dict() | {"architectures": ["SiglipModel"]})
    save_json(folder / "preprocessor_config.json", processor.to_dict())
    ids = lowered(TEXTS, return_tensors="pt", padding="max_length", truncation=True, max_length=64).input_ids
    pixels = processor(images, return_tensors="pt").pixel_values
    onnx_folder = folder / "onnx"
    export(Call(model, lambda m, i, p: (lambda o: (o.logits_per_image, o.logits_per_text, o.text_embeds, o.image_embeds))(
        m(input_ids=i, pixel_values=p))), (ids, pixels), onnx_folder / "model.onnx", ["input_ids", "pixel_values"],
        ["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"],
        {"input_ids": {0: "texts"}, "pixel_values": {0: "images"}}, [(ids[:1], pixels)])
    for name, tower, value in (("text", model.text_model, ids), ("vision", model.vision_model, pixels)):
        key = "input_ids" if name == "text" else "pixel_values"
        path = onnx_folder / f"{name}_model.onnx"
        export(Call(tower, lambda m, v: (lambda o: (o.last_hidden_state, o.pooler_output))(m(v))), (value,), path, [key],
               ["last_hidden_state", "pooler_output"], {key: {0: "batch"}}, [(value[:1],)])
    for name in ("text", "vision"):
        fp16(onnx_folder / f"{name}_model.onnx")
        quantized(onnx_folder / f"{name}_model.onnx")
    with torch.no_grad():
        out = model(input_ids=ids, pixel_values=pixels)
    return {"text_embeds": rows(out.text_embeds), "image_embeds": rows(out.image_embeds), **scored(out.logits_per_image)}


def siglip2_naflex(folder: Path, seed: int, images) -> dict:
    tokenizer, lowered = tokens.gemma()
    vision = {k: v for k, v in VISION.items() if k != "image_size"} | {"num_patches": 16}
    config = tf.Siglip2Config(TEXT | {"vocab_size": len(tokenizer), "projection_size": 16, "max_position_embeddings": 64,
                                      "eos_token_id": 1, "bos_token_id": 2, "pad_token_id": 0}, vision)
    config._attn_implementation = "eager"
    model = siglip_parts(tf.Siglip2Model, config, seed)
    processor = tf.Siglip2ImageProcessor(patch_size=8, max_num_patches=20)
    save_tokenizer(tokenizer, folder)
    save_json(folder / "config.json", config.to_dict() | {"architectures": ["Siglip2Model"]})
    save_json(folder / "preprocessor_config.json", processor.to_dict())
    ids = lowered(TEXTS, return_tensors="pt", padding="max_length", truncation=True, max_length=64).input_ids
    seen = processor(images, return_tensors="pt")
    mask, shapes = seen.pixel_attention_mask.long(), seen.spatial_shapes.long()
    with torch.no_grad():
        want = model(input_ids=ids, pixel_values=seen.pixel_values, pixel_attention_mask=mask, spatial_shapes=shapes)
    Siglip2VisionEmbeddings.resize_positional_embeddings = staticmethod(
        lambda positions, shapes, max_length: naflex.resized_positions(positions, shapes, max_length))
    onnx_folder = folder / "onnx"
    names = ["input_ids", "pixel_values", "pixel_attention_mask", "spatial_shapes"]
    whole = Call(model, lambda m, i, p, a, s: (lambda o: (o.logits_per_image, o.logits_per_text, o.text_embeds, o.image_embeds))(
        m(input_ids=i, pixel_values=p, pixel_attention_mask=a, spatial_shapes=s)))
    axes = {"input_ids": {0: "texts"}} | {n: {0: "images"} for n in names[1:]}
    outputs = ["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"]
    export(whole, (ids, seen.pixel_values, mask, shapes), onnx_folder / "model.onnx", names, outputs, axes,
           [(ids[:1], seen.pixel_values[1:], mask[1:], shapes[1:])])
    export(Call(model.vision_model, lambda m, p, a, s: m(p, a, s).pooler_output), (seen.pixel_values, mask, shapes),
           onnx_folder / "vision_model.onnx", names[1:], ["pooler_output"], axes)
    export(Call(model.text_model, lambda m, i: m(i).pooler_output), (ids,), onnx_folder / "text_model.onnx",
           names[:1], ["pooler_output"], axes)
    got = whole(ids, seen.pixel_values, mask, shapes)
    assert float((got[3] - want.image_embeds).abs().max()) < 1e-5  # the class' own interpolation
    return {"text_embeds": rows(want.text_embeds), "image_embeds": rows(want.image_embeds),
            **scored(want.logits_per_image)}


# open_clip as Immich has it

def immich(folder: Path, images, config: dict, preprocess: dict, model: nn.Module, tokenizer, text=None) -> dict:
    """Write visual/ and textual/ as Immich's exporter does (machine-learning/export of immich):
    normalised embeddings, one row at a time, int32 ids. Texts are read as its service reads them:
    white space collapsed, punctuation and capitals gone for SigLIP, padded with the tokenizer's own
    token to the context length."""
    torch.backends.mha.set_fastpath_enabled(False)
    model.eval()
    save_json(folder / "config.json", config)
    save_json(folder / "visual" / "preprocess_cfg.json", preprocess)
    save_tokenizer(tokenizer, folder / "textual")
    transform = image_transform_v2(PreprocessCfg(**preprocess), is_train=False)
    pixels = torch.stack([transform(i) for i in images])
    length = config["text_cfg"].get("context_length", 77)
    raw = Tokenizer.from_file(str(folder / "textual" / "tokenizer.json"))
    pad = json.loads((folder / "textual" / "tokenizer_config.json").read_text())["pad_token"]
    raw.enable_padding(length=length, pad_token=pad, pad_id=raw.token_to_id(pad))
    raw.enable_truncation(max_length=length)
    clean = config["text_cfg"].get("tokenizer_kwargs", {}).get("clean") == "canonicalize"
    drop = str.maketrans("", "", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
    texts = [" ".join(t.split()) for t in TEXTS]
    encoded = [raw.encode(t.translate(drop).lower() if clean else t) for t in texts]
    ids = torch.tensor([e.ids for e in encoded], dtype=torch.int32)
    mask = torch.tensor([e.attention_mask for e in encoded], dtype=torch.int32)
    visual = Call(model, lambda m, p: m.encode_image(p, normalize=True))
    export(visual, (pixels[:1],), folder / "visual" / "model.onnx", ["image"], ["embedding"])
    if text is None:
        text = Call(model, lambda m, t: m.encode_text(t, normalize=True))
        export(text, (ids[:1],), folder / "textual" / "model.onnx", ["text"], ["embedding"])
        embeds = torch.cat([text(ids[i:i + 1]) for i in range(len(ids))])
    else:
        export(text, (ids[:1], mask[:1]), folder / "textual" / "model.onnx", ["input_ids", "attention_mask"], ["embedding"])
        embeds = text(ids, mask)
    return {"text_embeds": rows(embeds), "image_embeds": rows(visual(pixels))}


OPENAI = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD)}
TOWER = {"image_size": SIZE, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8}


def calm(model: nn.Module) -> nn.Module:
    """Smaller weights where randomise gives what is no Linear its large ones, for attention that is not
    all of one key."""
    for name, p in model.named_parameters():
        if name.endswith(("in_proj_weight", "text_projection", "visual.proj")):
            p.data.mul_(0.5)
    return model


def openclip_immich(folder: Path, seed: int, images) -> dict:
    tokenizer = tokens.clip()
    config = {"embed_dim": WIDTH, "vision_cfg": TOWER,
              "text_cfg": {"context_length": 77, "vocab_size": len(tokenizer), "width": 16, "heads": 2, "layers": 1}}
    model = open_clip.CLIP(**config)
    core.randomise(model, seed)
    preprocess = {"size": [SIZE, SIZE], "mode": "RGB", **OPENAI, "interpolation": "bicubic", "resize_mode": "shortest",
                  "fill_color": 0}
    return immich(folder, images, config, preprocess, calm(model), tokenizer)


def openclip_siglip_immich(folder: Path, seed: int, images) -> dict:
    tokenizer = tokens.t5()
    config = {"embed_dim": WIDTH, "init_logit_bias": -10, "custom_text": True, "vision_cfg": TOWER | {"pool_type": "avg"},
              "text_cfg": {"context_length": 64, "vocab_size": len(tokenizer), "hf_tokenizer_name": "timm/ViT-B-16-SigLIP",
                           "tokenizer_kwargs": {"clean": "canonicalize"}, "width": 16, "heads": 2, "layers": 1,
                           "no_causal_mask": True, "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}}}
    model = open_clip.CustomTextCLIP(**{k: v for k, v in config.items() if k != "custom_text"})
    core.randomise(model, seed)
    preprocess = {"size": [SIZE, SIZE], "mode": "RGB", "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear",
                  "resize_mode": "squash", "fill_color": 0}
    return immich(folder, images, config, preprocess, calm(model), tokenizer)


class HFTower(nn.Module):
    """open_clip's HFTextEncoder, whose constructor takes a model's name, with context_length."""

    def __init__(self, config, width: int):
        super().__init__()
        from open_clip.hf_model import HFTextEncoder
        self.encoder = HFTextEncoder("", width, config=config, proj_type="mlp", pooler_type="mean_pooler")

    def forward(self, x):
        return self.encoder(x)


def xlm_config(tokenizer, inner: int = 24) -> tf.XLMRobertaConfig:
    config = tf.XLMRobertaConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                                 intermediate_size=inner, max_position_embeddings=82, type_vocab_size=1, pad_token_id=1)
    config._attn_implementation = "eager"
    return config


def openclip_xlmr_immich(folder: Path, seed: int, images) -> dict:
    tokenizer = tokens.xlm_roberta()
    config = {"embed_dim": WIDTH, "vision_cfg": TOWER,
              "text_cfg": {"hf_model_name": "xlm-roberta-base", "hf_tokenizer_name": "xlm-roberta-base",
                           "hf_pooler_type": "mean_pooler"}}
    model = open_clip.CustomTextCLIP(WIDTH, TOWER, {"width": 16, "heads": 2, "layers": 1, "vocab_size": 8})
    model.text = HFTower(xlm_config(tokenizer), WIDTH)
    core.randomise(model, seed)
    preprocess = {"size": SIZE, "mode": "RGB", **OPENAI, "interpolation": "bicubic", "resize_mode": "longest",
                  "fill_color": 127}
    return immich(folder, images, config, preprocess, calm(model), tokenizer)


class MCLIP(nn.Module):
    """multilingual_clip's MultilingualCLIP as Immich exports it: the masked mean, then a linear map."""

    def __init__(self, config, width: int):
        super().__init__()
        self.transformer = tf.XLMRobertaModel(config)
        self.LinearTransformation = nn.Linear(config.hidden_size, width)

    def forward(self, input_ids, attention_mask):
        states = self.transformer(input_ids, attention_mask)[0]
        mean = (states * attention_mask.unsqueeze(2)).sum(dim=1) / attention_mask.sum(dim=1)[:, None]
        return F.normalize(self.LinearTransformation(mean), dim=-1)


def mclip_immich(folder: Path, seed: int, images) -> dict:
    tokenizer = tokens.xlm_roberta()
    config = {"embed_dim": WIDTH, "vision_cfg": TOWER,
              "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}}
    model = open_clip.CLIP(WIDTH, TOWER, config["text_cfg"] | {"vocab_size": 8})
    text = MCLIP(xlm_config(tokenizer), WIDTH).eval()
    core.randomise(model, seed)
    core.randomise(text, seed + 1)
    preprocess = {"size": SIZE, "mode": "RGB", **OPENAI, "interpolation": "bicubic"}  # older: no resize_mode
    return immich(folder, images, config, preprocess, calm(model), tokenizer, text)


def mobileclip(folder: Path, seed: int, images) -> dict:
    """MobileCLIP in the layout of transformers.js: FastViT beside CLIP's text tower, no normalisation of
    pixels, embeddings that are not of length 1."""
    from timm.models.fastvit import FastVit
    tokenizer = tokens.clip()
    model = open_clip.CustomTextCLIP(WIDTH, TOWER, {"context_length": 77, "vocab_size": len(tokenizer), "width": 16,
                                                    "heads": 2, "layers": 1})
    model.visual = FastVit(layers=(1, 1, 1, 1), embed_dims=(8, 8, 16, 32), mlp_ratios=(1, 1, 1, 1),
                           token_mixers=("repmixer", "repmixer", "repmixer", "attention"), se_downsamples=(False,) * 4,
                           num_classes=WIDTH)
    core.randomise(calm(model), seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.fill_(0.7)
    model.eval()
    size = 64
    save_json(folder / "config.json", {"model_type": "clip", "architectures": ["CLIPModel"], "projection_dim": WIDTH})
    save_json(folder / "preprocessor_config.json", {
        "crop_size": {"height": size, "width": size}, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": False,
        "do_rescale": True, "do_resize": True, "image_mean": [0, 0, 0], "image_std": [1, 1, 1],
        "feature_extractor_type": "CLIPFeatureExtractor", "image_processor_type": "CLIPFeatureExtractor", "resample": 2,
        "rescale_factor": 1 / 255, "size": {"shortest_edge": size}})
    save_tokenizer(tokenizer, folder)
    processor = tf.CLIPImageProcessor.from_pretrained(folder)
    pixels = processor(images, return_tensors="pt").pixel_values
    ids = tokenizer(TEXTS, return_tensors="pt", padding="max_length", max_length=77, truncation=True).input_ids
    text = Call(model, lambda m, t: m.encode_text(t))
    vision = Call(model, lambda m, p: m.encode_image(p))
    for name, module, key, value in (("text", text, "input_ids", ids), ("vision", vision, "pixel_values", pixels)):
        output = "text_embeds" if name == "text" else "image_embeds"
        path = folder / "onnx" / f"{name}_model.onnx"
        export(module, (value,), path, [key], [output], {key: {0: "batch"}, output: {0: "batch"}}, [(value[:1],)])
        fp16(path)
    external(folder / "onnx" / "vision_model.onnx", 1)
    return {"text_embeds": rows(unit(text(ids))), "image_embeds": rows(unit(vision(pixels)))}


def chinese_clip(folder: Path, seed: int, images) -> dict:
    """ChineseCLIP as optimum exports it: BERT's text tower, whose mask counts, in one graph."""
    tokenizer = tokens.bert()
    tokenizer.model_max_length = 64
    text = {"vocab_size": len(tokenizer), "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 24,
            "num_attention_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0}
    config = tf.ChineseCLIPConfig(text, VISION | {"projection_dim": WIDTH}, projection_dim=WIDTH)
    config._attn_implementation = "eager"
    model = tf.ChineseCLIPModel(config).eval()
    core.randomise(model, seed)
    processor = tf.ChineseCLIPImageProcessor(size={"height": SIZE, "width": SIZE}, do_center_crop=False)
    save_json(folder / "config.json", config.to_dict() | {"architectures": ["ChineseCLIPModel"]})
    save_json(folder / "preprocessor_config.json", processor.to_dict())
    save_tokenizer(tokenizer, folder)
    seen = tokenizer(TEXTS, return_tensors="pt", padding=True, truncation=True)
    pixels = processor(images, return_tensors="pt").pixel_values
    whole = Call(model, lambda m, i, p, a: (lambda o: (o.logits_per_image, o.logits_per_text, o.text_embeds, o.image_embeds))(
        m(input_ids=i, pixel_values=p, attention_mask=a)))
    ids, mask = seen.input_ids, seen.attention_mask
    export(whole, (ids, pixels, mask), folder / "onnx" / "model.onnx", ["input_ids", "pixel_values", "attention_mask"],
           ["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"],
           {"input_ids": {0: "texts", 1: "length"}, "attention_mask": {0: "texts", 1: "length"}, "pixel_values": {0: "images"}},
           [(ids[1:2, :20], pixels, mask[1:2, :20])])
    out = model(**seen, pixel_values=pixels)
    return {"text_embeds": rows(out.text_embeds), "image_embeds": rows(out.image_embeds),
            "probabilities": rows(out.logits_per_image.softmax(-1))}


# Jina-CLIP

class Jina(nn.Module):
    """Masked mean of a text encoder, CLIP's vision tower, and both at length 1 beside them."""

    def __init__(self, text: nn.Module):
        super().__init__()
        self.text = text
        self.vision = tf.CLIPVisionModelWithProjection(tf.CLIPVisionConfig(**VISION, projection_dim=16, attn_implementation="eager"))

    def words(self, ids):
        mask = (ids != self.text.config.pad_token_id).long()
        states = self.text(ids, mask)[0]
        return (states * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True)

    def forward(self, ids, pixels):
        text, image = self.words(ids), self.vision(pixels).image_embeds
        return text, image, F.normalize(text, dim=-1), F.normalize(image, dim=-1)


def jina(folder: Path, seed: int, images, version: int) -> dict:
    if version == 2:
        tokenizer = tokens.xlm_roberta()
        text = tf.XLMRobertaModel(xlm_config(tokenizer, 32))  # no 24, as above
    else:
        tokenizer = tokens.bert()
        text = tf.BertModel(tf.BertConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, intermediate_size=24,
                                          num_attention_heads=2, max_position_embeddings=64, pad_token_id=0,
                                          attn_implementation="eager"))
    model = Jina(text).eval()
    core.randomise(model, seed)
    tokenizer.model_max_length = 64
    save_tokenizer(tokenizer, folder)
    save_json(folder / "config.json", {"model_type": "jina_clip", "architectures": ["JinaCLIPModel"],
                                       "logit_scale_init_value": 2.6592, "projection_dim": 16,
                                       "text_config": {"model_type": "jina_clip_text", "embed_dim": 16},
                                       "vision_config": {"model_type": "jina_clip_vision", "image_size": SIZE}})
    preprocess = {"size": SIZE, "mode": "RGB", **OPENAI, "interpolation": "bicubic",
                  "resize_mode": "shortest" if version == 2 else "squash", "fill_color": 0}
    save_json(folder / "preprocessor_config.json", preprocess | {
        "auto_map": {"AutoImageProcessor": "processing_clip.JinaCLIPImageProcessor", "AutoProcessor": "processing_clip.JinaCLIPProcessor"},
        "image_processor_type": "JinaCLIPImageProcessor", "processor_class": "JinaCLIPProcessor"})
    transform = image_transform_v2(PreprocessCfg(**preprocess), is_train=False)
    pixels = torch.stack([transform(i) for i in images])
    ids = tokenizer(TEXTS, return_tensors="pt", padding=True, truncation=True).input_ids
    onnx_folder = folder / "onnx"
    if version == 2:
        path = onnx_folder / "model.onnx"
        export(model, (ids, pixels), path, ["input_ids", "pixel_values"],
               ["text_embeddings", "image_embeddings", "l2norm_text_embeddings", "l2norm_image_embeddings"],
               {"input_ids": {0: "texts", 1: "length"}, "pixel_values": {0: "images"}}, [(ids[1:2], pixels)])
        fp16(path)
        quantized(path)
    else:
        export(Call(model, lambda m, i: m.words(i)), (ids,), onnx_folder / "text_model.onnx", ["input_ids"], ["text_embeds"],
               {"input_ids": {0: "texts", 1: "length"}}, [(ids[1:2],)])
        export(Call(model, lambda m, p: m.vision(p).image_embeds), (pixels,), onnx_folder / "vision_model.onnx",
               ["pixel_values"], ["image_embeds"], {"pixel_values": {0: "images"}})
    out = model(ids, pixels)
    return {"text_embeds": rows(out[2]), "image_embeds": rows(out[3])}


# sentence-transformers

def clip_sentence_transformers(folder: Path, seed: int, images) -> dict:
    """modules.json and 0_CLIPModel as sentence-transformers saves them, model.onnx as optimum exports
    it, without the weights."""
    from optimum.exporters.onnx import main_export
    from sentence_transformers.models import CLIPModel
    tokenizer = tokens.clip()
    tokenizer.model_max_length = 77
    text = TEXT | {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id,
                   "bos_token_id": tokenizer.bos_token_id, "projection_dim": WIDTH, "max_position_embeddings": 77}
    model = tf.CLIPModel(tf.CLIPConfig(text, VISION | {"projection_dim": WIDTH}, projection_dim=WIDTH))
    core.randomise(model, seed)
    processor = tf.CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        model.save_pretrained(tmp / "clip")
        tf.CLIPProcessor(processor, tokenizer).save_pretrained(tmp / "clip")
        st = sentence_transformers.SentenceTransformer(modules=[CLIPModel(str(tmp / "clip"))])
        st.save(str(tmp / "st"))
        main_export(str(tmp / "st"), tmp / "onnx", task="feature-extraction", library_name="sentence_transformers",
                    framework="pt", do_validation=False)
        folder.mkdir(parents=True)
        for path in sorted((tmp / "st").rglob("*")):
            small = path.suffix == ".json" and path.name not in ("vocab.json", "special_tokens_map.json")
            if path.is_file() and small:
                (folder / path.relative_to(tmp / "st")).parent.mkdir(exist_ok=True)
                shutil.copyfile(path, folder / path.relative_to(tmp / "st"))
        (folder / "onnx").mkdir()
        shutil.copyfile(tmp / "onnx" / "model.onnx", folder / "onnx" / "model.onnx")
        text_embeds = st.encode(TEXTS, convert_to_tensor=True, normalize_embeddings=True).cpu()
        image_embeds = st.encode(images, convert_to_tensor=True, normalize_embeddings=True).cpu()
    return {"text_embeds": rows(text_embeds), "image_embeds": rows(image_embeds)}


# timm

LABELS = ["cat", "boat", "bridge", "dog", "window"]


def timm_folder(folder: Path, seed: int, images, name: str, args: dict, pretrained: dict, labels) -> dict:
    """A model of timm as its hub's folders have it, with the graph that optimum would export: it does
    so for names on the hub alone."""
    model = timm.create_model(name, pretrained=False, **args)
    core.randomise(model, seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.fill_(0.7)
    model.eval()
    model.pretrained_cfg |= pretrained
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        config = {"model_args": args} | ({"label_names": labels} if labels else {})
        timm.models.save_for_hf(model, str(tmp / "timm"), model_config=config, safe_serialization=True)
        folder.mkdir(parents=True)
        shutil.copyfile(tmp / "timm" / "config.json", folder / "config.json")
        size = model.pretrained_cfg["input_size"]
        example = torch.randn(2, *size)
        export(model, (example,), folder / "onnx" / "model.onnx", ["pixel_values"], ["logits"],
               {"pixel_values": {0: "batch_size"}, "logits": {0: "batch_size"}}, [(example[:1],)])
    transform = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=model.pretrained_cfg), is_training=False)
    pixels = torch.stack([transform(i) for i in images])
    with torch.no_grad():
        out = model(pixels)
    if args["num_classes"] == 0:
        return {"image_embeds": rows(unit(out))}
    return {"scores": rows(out), "labels": labels}


def timm_classifier(folder: Path, seed: int, images) -> dict:
    return timm_folder(folder, seed, images, "vit_tiny_patch16_224",
                       {"img_size": SIZE, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2, "num_classes": 5},
                       {"input_size": [3, SIZE, SIZE], "crop_pct": 0.9, "interpolation": "bicubic", "crop_mode": "center",
                        "mean": [0.5] * 3, "std": [0.5] * 3, "num_classes": 5}, LABELS)


def timm_encoder(folder: Path, seed: int, images) -> dict:
    return timm_folder(folder, seed, images, "convnext_atto", {"depths": [1, 1, 1, 1], "dims": [8, 8, 16, 16], "num_classes": 0},
                       {"input_size": [3, 48, 64], "crop_pct": 0.95, "interpolation": "bilinear", "crop_mode": "squash",
                        "num_classes": 0}, None)


def dinov2(folder: Path, seed: int, images) -> dict:
    """An encoder of transformers' own, as optimum has it."""
    config = tf.Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, mlp_ratio=2, image_size=SIZE,
                             patch_size=8, attn_implementation="eager")
    model = tf.Dinov2Model(config).eval()
    core.randomise(model, seed)
    processor = tf.BitImageProcessor(size={"shortest_edge": 40}, crop_size={"height": SIZE, "width": SIZE},
                                     image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])
    save_json(folder / "config.json", config.to_dict() | {"architectures": ["Dinov2Model"]})
    save_json(folder / "preprocessor_config.json", processor.to_dict())
    pixels = processor(images, return_tensors="pt").pixel_values
    export(Call(model, lambda m, p: (lambda o: (o.last_hidden_state, o.pooler_output))(m(p))), (pixels,),
           folder / "onnx" / "model.onnx", ["pixel_values"], ["last_hidden_state", "pooler_output"],
           {"pixel_values": {0: "batch_size"}}, [(pixels[:1],)])
    return {"image_embeds": rows(unit(model(pixels).pooler_output))}


FOLDERS = {
    "siglip2-transformersjs": (siglip2_transformersjs, 1),
    "siglip2-naflex-transformersjs": (siglip2_naflex, 2),
    "openclip-immich": (openclip_immich, 3), "openclip-siglip-immich": (openclip_siglip_immich, 4),
    "openclip-xlmr-immich": (openclip_xlmr_immich, 5), "mclip-immich": (mclip_immich, 6),
    "chinese-clip-optimum": (chinese_clip, 7), "mobileclip-transformersjs": (mobileclip, 8),
    "jina-clip-v1": (lambda *a: jina(*a, 1), 9), "jina-clip-v2": (lambda *a: jina(*a, 2), 10),
    "clip-sentence-transformers": (clip_sentence_transformers, 11),
    "timm-classifier": (timm_classifier, 12), "timm-encoder": (timm_encoder, 13), "dinov2-optimum": (dinov2, 14),
}


def pixels(images: dict) -> list[dict]:
    """Hashes of what the tools' own transforms make of pictures of many shapes."""
    made = []

    def add(config: dict, transform) -> None:
        for name, image in images.items():
            values = np.ascontiguousarray(transform(image), dtype="<f4")
            made.append({"config": config, "image": name, "shape": list(values.shape),
                         "sha256": hashlib.sha256(values.tobytes()).hexdigest()})

    for size in (32, 37, [24, 40]):
        for mode in ("shortest", "longest", "squash"):
            for interpolation in ("bicubic", "bilinear"):
                config = {"size": size, "mode": "RGB", **OPENAI, "interpolation": interpolation, "resize_mode": mode,
                          "fill_color": 99}
                transform = image_transform_v2(PreprocessCfg(**config), is_train=False)
                add(config, lambda i: transform(i).numpy())
    for size in ([3, 32, 32], [3, 24, 40]):
        for mode in ("center", "squash", "border"):
            for interpolation, pct in (("bicubic", 0.9), ("bilinear", 1.0), ("lanczos", 0.875), ("nearest", 0.7)):
                config = {"input_size": size, "interpolation": interpolation, "crop_pct": pct, "crop_mode": mode,
                          "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
                transform = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=config), is_training=False)
                add({"architecture": "x", "pretrained_cfg": config}, lambda i: transform(i).numpy())
    for patch, most in ((8, 20), (16, 256), (14, 50)):
        processor = tf.Siglip2ImageProcessor(patch_size=patch, max_num_patches=most)
        add(processor.to_dict(), lambda i: processor(i, return_tensors="np").pixel_values[0])
    return made


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m xpipe_export.golden.dual_layouts")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[4] / "testdata" / "layouts")
    parser.add_argument("--only", choices=FOLDERS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    tf.utils.logging.set_verbosity_error()
    path = args.out / "dual.json"
    golden = json.loads(path.read_text()) if args.only and path.exists() else {"models": {}}
    with tempfile.TemporaryDirectory() as tmp:
        files = core.make_images(Path(tmp))  # those of testdata/families/images
        images = [Image.open(f).convert("RGB") for f in files]
        for name, (make, seed) in FOLDERS.items():
            if args.only in (None, name):
                torch.manual_seed(seed)
                shutil.rmtree(args.out / name, ignore_errors=True)
                golden["models"][name] = {"seed": seed} | make(args.out / name, seed, images)
        golden["pixels"] = pixels({f.name: i for f, i in zip(files, images)})
    golden |= {"script": "python -m xpipe_export.golden.dual_layouts", "texts": TEXTS, "images": [f.name for f in files],
               "versions": core.versions() | {
                   "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__, "torchvision": torchvision.__version__,
                   "timm": timm.__version__, "open_clip_torch": open_clip.__version__,
                   "sentence-transformers": sentence_transformers.__version__}}
    path.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
