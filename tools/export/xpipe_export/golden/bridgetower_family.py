"""Golden files of BridgeTower: retrieval (ITM) and contrastive."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers as tf

from . import core, tokens
from .blip_family import load_images
from .core import Golden

SIZE = 32
TEXTS = ["a photo of a cat", "two dogs near the water", "the red boat."]
CLASSES = {"itm": tf.BridgeTowerForImageAndTextRetrieval, "itc": tf.BridgeTowerForContrastiveLearning}


def config(vocabulary: int, width: int) -> tf.BridgeTowerConfig:
    """The vision encoder has one head for each 64 of its width, and the contrastive head takes all widths
    to be equal."""
    return tf.BridgeTowerConfig(
        hidden_size=width, num_hidden_layers=2, num_attention_heads=width // 8, intermediate_size=32, contrastive_hidden_size=16, logit_scale_init_value=2.5,
        text_config={"vocab_size": vocabulary, "hidden_size": width, "num_hidden_layers": 2, "num_attention_heads": width // 8,
                     "intermediate_size": 32, "max_position_embeddings": 40, "pad_token_id": 1},
        vision_config={"hidden_size": 64, "num_hidden_layers": 2, "patch_size": 16, "image_size": SIZE})


def bridgetower(kind: str):
    """itm or itc."""

    def make(seed: int, checkpoint: Path, golden: Golden, images: list[Path]) -> None:
        tokenizer = tokens.roberta()
        model = CLASSES[kind](config(len(tokenizer), 24 if kind == "itm" else 64))
        core.randomise(model, seed, gain=1.4)
        for name, p in model.named_parameters():
            if name.endswith("in_proj_weight"):
                p.data.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(seed)) / 8)
        core.save_rounded(model, checkpoint)
        # a longer side above 1333/800 of the shorter shrinks the picture below the crop, which pads it then
        pixels_of = tf.BridgeTowerImageProcessor(size={"shortest_edge": SIZE}, size_divisor=8)
        processor = tf.BridgeTowerProcessor(pixels_of, tokenizer)
        processor.save_pretrained(checkpoint)
        model = CLASSES[kind].from_pretrained(checkpoint, attn_implementation="eager").eval()
        pictures = load_images(images)
        with torch.no_grad():
            golden.array("pixel_values", pixels_of(pictures, return_tensors="pt").pixel_values)
            rows = [model(**processor([p] * len(TEXTS), TEXTS, padding=True, return_tensors="pt")) for p in pictures]
            alone = model(**processor(pictures[0], TEXTS[0], return_tensors="pt"))
        golden.data["texts"] = [{"text": t, "input_ids": tokenizer(t).input_ids} for t in TEXTS]
        golden.data["rows"] = [{"image": f"../images/{p.name}"} for p in images]
        if kind == "itm":
            logits = torch.stack([r.logits for r in rows])
            golden.array("itm_logits", logits)
            chances = logits.softmax(-1)[..., 1]
            golden.array("itm_probability", chances)
            if float(chances.max() - chances.min()) < 0.4 or float((alone.logits - logits[0, :1]).abs().max()) > 1e-5:
                raise core.Unsuitable(f"all alike: {chances}")
            return
        golden.array("text_embeds", rows[0].text_embeds)
        embeds = torch.stack([r.image_embeds[0] for r in rows])
        golden.array("image_embeds", embeds)
        logits = embeds @ rows[0].text_embeds.T * model.logit_scale.exp()
        golden.array("probabilities", logits.softmax(-1))

    return make
