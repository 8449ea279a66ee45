"""Golden files of CLIP, SigLIP and LXMERT."""

from __future__ import annotations

import base64
import csv
import json
from pathlib import Path

import numpy as np
import torch
import transformers as tf

from . import core, tokens
from .blip_family import load_images
from .core import Golden, randomise

TEXTS = ["a photo of a red cat", "Two boats, near the WATER!", "the dog sleeps under the bridge",
         "café 漢字 street", "a"]
QUESTIONS = ["what color is the cat?", "how many trees are there next to the wall?", "is there a boat?"]
SIZE = 32


def _vision(width=32):
    return {"hidden_size": width, "intermediate_size": 48, "num_hidden_layers": 1,
            "num_attention_heads": 4, "image_size": SIZE, "patch_size": 8}


def clip(legacy_eos: bool):
    """legacy_eos: eos 2 in the config, as the first released checkpoints have it; pooling then
    takes the largest id."""

    def make(seed: int, checkpoint: Path, golden: Golden, images: list[Path]) -> None:
        tokenizer = tokens.clip()
        text = {"vocab_size": len(tokenizer), "hidden_size": 24, "intermediate_size": 48,
                "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 32,
                "eos_token_id": 2 if legacy_eos else tokenizer.eos_token_id,
                "bos_token_id": tokenizer.bos_token_id}
        model = tf.CLIPModel(tf.CLIPConfig(text, _vision(), projection_dim=20))
        randomise(model, seed)
        processor = tf.CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})
        _finish(model, tokenizer, processor, checkpoint, golden, images, padding=True)

    return make


def siglip(seed: int, checkpoint: Path, golden: Golden, images: list[Path]) -> None:
    tokenizer = tokens.t5()
    text = {"vocab_size": len(tokenizer), "hidden_size": 24, "intermediate_size": 48,
            "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 48,
            "projection_size": 32, "eos_token_id": 1, "bos_token_id": 1, "pad_token_id": 0}
    model = tf.SiglipModel(tf.SiglipConfig(text, _vision()))
    randomise(model, seed)
    model.logit_scale.data.fill_(2.3)
    model.logit_bias.data.fill_(-5.0)
    tokenizer.model_max_length = 48
    _finish(model, tokenizer, tf.SiglipImageProcessor(size={"height": SIZE, "width": SIZE}),
            checkpoint, golden, images, padding="max_length")


def naflex(seed: int, checkpoint: Path, golden: Golden, images: list[Path]) -> None:
    """SigLIP 2 of pictures in about their own aspect; texts in lower case, as it was trained."""
    tokenizer, lowered = tokens.gemma()
    vision = {k: v for k, v in _vision().items() if k != "image_size"} | {"num_patches": 16}
    text = {"vocab_size": len(tokenizer), "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
            "max_position_embeddings": 64, "projection_size": 32, "eos_token_id": 1, "bos_token_id": 2, "pad_token_id": 0}
    model = tf.Siglip2Model(tf.Siglip2Config(text, vision))
    randomise(model, seed)
    model.logit_scale.data.fill_(2.3)
    model.logit_bias.data.fill_(-3.0)
    core.save_rounded(model, checkpoint)
    tokenizer.save_pretrained(checkpoint)
    processor = tf.Siglip2ImageProcessor(patch_size=8, max_num_patches=20)
    processor.save_pretrained(checkpoint)
    model = tf.Siglip2Model.from_pretrained(checkpoint, attn_implementation="eager").eval()
    ids = lowered(TEXTS, return_tensors="pt", padding="max_length", truncation=True, max_length=64).input_ids
    seen = processor(load_images(images), return_tensors="pt")
    with torch.no_grad():
        out = model(input_ids=ids, **seen)
        alone = torch.cat([model(input_ids=ids, **{n: v[i:i + 1] for n, v in seen.items()}).logits_per_image for i in range(core.ROWS)])
    if float((alone - out.logits_per_image).abs().max()) > 2e-5 or float(out.logits_per_image.std()) < 0.05:
        raise core.Unsuitable("rows of a batch differ, or all pairs are alike")
    for name in ("pixel_values", "pixel_attention_mask", "spatial_shapes"):
        golden.array(name, seen[name])
    golden.array("pooled_image", out.vision_model_output.pooler_output)
    golden.array("image_embeds", out.image_embeds)
    golden.array("text_embeds", out.text_embeds)
    golden.array("logits_per_image", out.logits_per_image)
    golden.array("probabilities", torch.sigmoid(out.logits_per_image))
    golden.data["rows"] = [{"image": f"../images/{p.name}"} for p in images]
    golden.data["texts"] = [{"text": t, "input_ids": i} for t, i in zip(TEXTS, ids)]


def _finish(model, tokenizer, processor, checkpoint, golden, images, padding) -> None:
    core.save_rounded(model, checkpoint)
    tokenizer.save_pretrained(checkpoint)
    processor.save_pretrained(checkpoint)
    model = type(model).from_pretrained(checkpoint, attn_implementation="eager").eval()
    pixels = processor(load_images(images), return_tensors="pt").pixel_values
    encoded = tokenizer(TEXTS, return_tensors="pt", padding=padding, return_attention_mask=False)
    with torch.no_grad():
        out = model(input_ids=encoded.input_ids, pixel_values=pixels)
        logits = out.logits_per_image
        golden.shared("pixel_values", pixels, images[0].parent)
        golden.array("pooled_image", out.vision_model_output.pooler_output)
        golden.array("image_embeds", out.image_embeds)
        golden.array("text_embeds", out.text_embeds)
        golden.array("logits_per_image", logits)
        golden.array("probabilities", torch.sigmoid(logits) if padding == "max_length" else logits.softmax(-1))
    if float(logits.std()) < 0.05:
        raise core.Unsuitable("all pairs alike")
    golden.data["rows"] = [{"image": f"../images/{p.name}"} for p in images]
    golden.data["texts"] = [{"text": t, "input_ids": i} for t, i in zip(TEXTS, encoded.input_ids)]


def lxmert(answers: int):
    def make(seed: int, checkpoint: Path, golden: Golden, images: list[Path]) -> None:
        tokenizer = tokens.bert()
        config = tf.LxmertConfig(vocab_size=len(tokenizer), hidden_size=24, num_attention_heads=3,
                                 num_qa_labels=answers, num_object_labels=5, num_attr_labels=5,
                                 intermediate_size=40, max_position_embeddings=32, l_layers=2,
                                 r_layers=1, x_layers=2, visual_feat_dim=16)
        model = tf.LxmertForQuestionAnswering(config)
        randomise(model, seed)
        core.save_rounded(model, checkpoint)
        tokenizer.model_max_length = 20
        tokenizer.save_pretrained(checkpoint)
        labels = [""] + [f"answer {i}" for i in range(1, answers)]
        (checkpoint / "labels.json").write_text(json.dumps(labels))
        model = tf.LxmertForQuestionAnswering.from_pretrained(checkpoint).eval()

        rng = np.random.default_rng(seed)
        width, height = 640, 480
        features = rng.gamma(0.6, 1.0, (core.ROWS, 36, 16)).astype(np.float32)
        corner = rng.uniform(0, 0.7, (core.ROWS, 36, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(0.05, 0.3, corner.shape)], -1)
        boxes = (boxes * [width, height, width, height]).astype(np.float32)
        places = (boxes / np.array([width, height, width, height], np.float32)).astype(np.float32)
        encoded = [tokenizer(q, return_tensors="pt") for q in QUESTIONS]
        maps: dict[str, list] = {"cross_attn": [], "visual_cross_attn": []}
        logits = []
        with torch.no_grad():
            for i, e in enumerate(encoded):
                hooks = []
                if i == 0:  # both directions of each cross layer, straight from the attention module
                    seen = []
                    for layer in model.lxmert.encoder.x_layers:
                        att = layer.visual_attention.att
                        hooks.append(
                            att.register_forward_pre_hook(
                                lambda _m, a, k: (a, k | {"output_attentions": True}),
                                with_kwargs=True))
                        hooks.append(att.register_forward_hook(lambda _m, _i, out: seen.append(out[1])))
                out = model(input_ids=e.input_ids, attention_mask=e.attention_mask,
                            visual_feats=torch.from_numpy(features[i:i + 1]),
                            visual_pos=torch.from_numpy(places[i:i + 1]))
                for h in hooks:
                    h.remove()
                logits.append(out.question_answering_score[0])
            maps["cross_attn"], maps["visual_cross_attn"] = seen[0::2], seen[1::2]
        logits = torch.stack(logits)
        best = logits.topk(2).values
        if len(set(logits.argmax(-1).tolist())) < 3 or float((best[:, 0] - best[:, 1]).min()) < 0.01:
            raise core.Unsuitable("answers do not differ")
        golden.array("visual_feats", features)
        golden.array("boxes", boxes)
        golden.array("visual_pos", places)
        golden.array("logits", logits)
        for name, values in maps.items():
            golden.array(name, torch.cat(values))
        golden.data["image_size"] = [width, height]
        golden.data["rows"] = [
            {"text": q, "input_ids": e.input_ids[0], "answer": int(logits[i].argmax()),
             "label": labels[int(logits[i].argmax())]}
            for i, (q, e) in enumerate(zip(QUESTIONS, encoded))]
        golden.data["maps"] = ("row 0, [cross layer, heads, rows, columns]; cross_attn: words over "
                               "regions, visual_cross_attn: regions over words")
        np.savez(golden.folder / "regions.npz", features=features[0], boxes=boxes[0], image_w=width, image_h=height)
        write_tsv(golden.folder / "regions.tsv", features, boxes, width, height)
        golden.data["files"] = {"regions.npz": "row 0; boxes in pixels",
                                "regions.tsv": "the rows in the original's layout; boxes in pixels"}

    return make


FIELDS = ["img_id", "img_h", "img_w", "objects_id", "objects_conf", "attrs_id", "attrs_conf",
          "num_boxes", "boxes", "features"]


def write_tsv(path: Path, features: np.ndarray, boxes: np.ndarray, width: int, height: int) -> None:
    """The layout of airsplay/lxmert's feature files: tab separated, no header, arrays as base64."""
    encode = lambda a: base64.b64encode(np.ascontiguousarray(a).tobytes()).decode()
    with open(path, "w", newline="") as f:
        out = csv.DictWriter(f, FIELDS, delimiter="\t", lineterminator="\n")
        for i in range(len(features)):
            n = len(features[i])
            out.writerow(
                {"img_id": f"figure{i}", "img_h": height, "img_w": width, "num_boxes": n,
                 "boxes": encode(boxes[i]), "features": encode(features[i]),
                 "objects_id": encode(np.zeros(n, np.int64)),
                 "objects_conf": encode(np.ones(n, np.float32)),
                 "attrs_id": encode(np.zeros(n, np.int64)),
                 "attrs_conf": encode(np.ones(n, np.float32))})
