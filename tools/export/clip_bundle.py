"""A bundle of random weights for `make bench-serve`: CLIP of ViT-B/32's size.

    python clip_bundle.py OUT
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
import transformers as tf
from xpipe_export.bundle import Bundle
from xpipe_export.families import clip
from xpipe_export.golden import tokens


def main(out: str) -> None:
    config = tf.CLIPConfig()  # whose defaults are clip-vit-base-patch32's
    vision, text = config.vision_config, config.text_config
    assert (vision.hidden_size, vision.num_hidden_layers, vision.patch_size) == (768, 12, 32)
    assert (text.hidden_size, text.num_hidden_layers, text.vocab_size) == (512, 12, 49408)
    with Bundle(out, name="clip-bench", family="clip", dtype="fp32",
                source="tools/export/clip_bundle.py, random weights, seed 0") as b:
        clip.export(tf.CLIPModel(config).eval(), b, attention=False)
        with tempfile.TemporaryDirectory() as folder:
            tokens.clip().save_pretrained(folder)
            b.add_file("tokenizer.json", Path(folder, "tokenizer.json"))
        b.add_json("preprocessor_config.json", json.loads(
            tf.BlipImageProcessor(size={"height": 224, "width": 224}).to_json_string()))
        b.add_json("config.json", {"model_type": "clip"})


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    main(sys.argv[1])
