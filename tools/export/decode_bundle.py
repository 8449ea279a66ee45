"""Bundles of random weights for `make bench-decode`.

    python decode_bundle.py OUT        BLIP-2: tiny vision and Q-Former before OPT-125m's size
    python decode_bundle.py OUT blip   BLIP's captioning at base size: 577 patches that each of 12
                                       layers' cross-attention reads
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
import transformers as tf
from xpipe_export.bundle import Bundle
from xpipe_export.families import blip, blip2
from xpipe_export.golden import tokens

SIZE = 32
SOURCE = "tools/export/decode_bundle.py, random weights, seed 0"


def spell(file: Path, size: int) -> None:
    """Gives every id below size a word, so that a text of random weights streams as it is written."""
    tokenizer = json.loads(file.read_text())
    words = tokenizer["model"]["vocab"]
    taken = set(words.values()) | {t["id"] for t in tokenizer["added_tokens"]}
    words.update({f"\u0120w{i}": i for i in range(size) if i not in taken})
    file.write_text(json.dumps(tokenizer, ensure_ascii=False))


def blip_base(out: str) -> None:
    vision = tf.BlipVisionConfig(hidden_size=768, intermediate_size=768, num_hidden_layers=1,
                                 num_attention_heads=12, image_size=384, patch_size=16)
    text = tf.BlipTextConfig(vocab_size=30524, encoder_hidden_size=768)
    assert (text.hidden_size, text.num_hidden_layers) == (768, 12)
    model = tf.BlipForConditionalGeneration(
        tf.BlipConfig(vision_config=vision.to_dict(), text_config=text.to_dict())).eval()
    with Bundle(out, name="beam-bench", family="blip", dtype="fp32", source=SOURCE) as b:
        blip.export(model, b, attention=False)
        with tempfile.TemporaryDirectory() as folder:
            tokens.bert().save_pretrained(folder)
            b.add_file("tokenizer.json", Path(folder, "tokenizer.json"))
        b.add_json("preprocessor_config.json", json.loads(
            tf.BlipImageProcessor(size={"height": 384, "width": 384}).to_json_string()))
        b.add_json("config.json", {"model_type": "blip"})


def blip2_opt(out: str) -> None:
    vision = tf.Blip2VisionConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1,
                                  num_attention_heads=2, image_size=SIZE, patch_size=8)
    qformer = tf.Blip2QFormerConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                                    num_attention_heads=2, encoder_hidden_size=32, vocab_size=300,
                                    cross_attention_frequency=2)
    text = tf.OPTConfig()  # its defaults are OPT-125m
    assert (text.hidden_size, text.num_hidden_layers, text.vocab_size) == (768, 12, 50272)
    model = tf.Blip2ForConditionalGeneration(
        tf.Blip2Config(vision.to_dict(), qformer.to_dict(), text.to_dict(), num_query_tokens=32)).eval()
    with Bundle(out, name="decode-bench", family="blip2", dtype="fp32",
                source=SOURCE) as b:
        blip2.add_parts(b, vision=model.vision_model, image_size=SIZE, qformer=model.qformer,
                        query_tokens=model.query_tokens,
                        language_projection=model.language_projection,
                        language_model=model.language_model)
        with tempfile.TemporaryDirectory() as folder:
            tokens.opt().save_pretrained(folder)
            spell(Path(folder, "tokenizer.json"), text.vocab_size)
            b.add_file("tokenizer.json", Path(folder, "tokenizer.json"))
        b.add_json("preprocessor_config.json", json.loads(
            tf.BlipImageProcessor(size={"height": SIZE, "width": SIZE}).to_json_string()))
        b.add_json("generation_config.json", {"eos_token_id": 2, "bos_token_id": 2, "pad_token_id": 1})
        b.add_json("config.json", {"model_type": "blip-2"})
        b.meta["prompts"] = {"caption": "", "answer": "Question: {} Answer:"}
        b.meta["limits"] = {"max_positions": 2048}


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    (blip_base if sys.argv[2:] == ["blip"] else blip2_opt)(sys.argv[1])
