"""Golden files of Florence-2."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers as tf
from transformers.models.florence2.configuration_florence2 import Florence2VisionConfig

from . import core, tokens
from .blip_family import load_images
from .core import Golden

SIZE = 32
LAYERS, HEADS, WIDTH = 2, 4, 32
PROMPTS = ["<CAPTION>", "<OPEN_VOCABULARY_DETECTION>a red cat", "<OD>"]
MARKS = ["<image>", "<sep>", "<poly>", "</poly>", "<od>", "</od>"]


def bart(places: int = 1000) -> tf.BartTokenizerFast:
    """BART's kind of tokenizer with Florence-2's marks and so many places."""
    made = tokens.roberta()
    out = tf.BartTokenizerFast(tokenizer_object=made.backend_tokenizer)
    out.add_special_tokens({"additional_special_tokens": [*MARKS, *(f"<loc_{i}>" for i in range(places))]})
    out.image_token, out.image_token_id = "<image>", out.convert_tokens_to_ids("<image>")
    return out


def seeded(seed: int, checkpoint: Path, tokenizer):
    """The tiny model with seeded weights, saved and loaded again; its processor, its tokenizer, and how
    many rows a picture has."""
    text = tf.BartConfig(vocab_size=len(tokenizer), d_model=WIDTH, encoder_layers=LAYERS,
                         decoder_layers=LAYERS, encoder_attention_heads=HEADS,
                         decoder_attention_heads=HEADS, encoder_ffn_dim=48, decoder_ffn_dim=48,
                         max_position_embeddings=64, forced_bos_token_id=0)
    vision = Florence2VisionConfig(
        depths=[1, 1], patch_size=[7, 3], patch_stride=[4, 2], patch_padding=[3, 1],
        patch_prenorm=[False, True], embed_dim=[8, 16], num_heads=[2, 2], num_groups=[2, 2],
        window_size=4, projection_dim=WIDTH)
    config = tf.Florence2Config(text_config=text.to_dict(), vision_config=vision.to_dict(),
                                image_token_id=tokenizer.image_token_id)
    model = tf.Florence2ForConditionalGeneration(config)
    core.randomise(model, seed)
    core.randomise(model.model.language_model, seed + 1000, gain=1.6, embed=0.4)
    for side in ("encoder", "decoder"):
        getattr(model.model.language_model, side).embed_positions.weight.data *= 3
    model.generation_config = tf.GenerationConfig(
        bos_token_id=0, eos_token_id=2, pad_token_id=1, decoder_start_token_id=2,
        forced_bos_token_id=0, forced_eos_token_id=2, no_repeat_ngram_size=3)
    core.save_rounded(model, checkpoint)
    model = tf.Florence2ForConditionalGeneration.from_pretrained(
        checkpoint, attn_implementation="eager").eval()
    with torch.no_grad():
        count = model.get_image_features(torch.zeros(1, 3, SIZE, SIZE)).shape[1]
    square = {"height": SIZE, "width": SIZE}
    pixels_of = tf.CLIPImageProcessor(size=square, do_center_crop=False, crop_size=square,
                                      image_seq_length=count)
    processor = tf.Florence2Processor(pixels_of, tokenizer, post_processor_config={
        "ocr": {"AREA_THRESHOLD": 0.0}, "phrase_grounding": {}, "pure_text": {},
        "description_with_bboxes": {}, "description_with_polygons": {}, "polygons": {},
        "bboxes": {}, "description_with_bboxes_or_polygons": {}})
    tokenizer.save_pretrained(checkpoint)
    pixels_of.save_pretrained(checkpoint)
    config_file = checkpoint / "preprocessor_config.json"
    written = json.loads(config_file.read_text())
    # as the checkpoints converted for transformers.js have them
    for key in ("tasks_answer_post_processing_type", "task_prompts_without_inputs",
                "task_prompts_with_input"):
        written[key] = getattr(processor, key)
    config_file.write_text(json.dumps(written))
    return model, processor, tokenizer, count


def florence(seed: int, checkpoint: Path, golden: Golden, images: list[Path]) -> None:
    model, processor, tokenizer, count = seeded(seed, checkpoint, bart(places=40))
    processor.image_processor.save_pretrained(checkpoint)  # tasks are the processor's own, as in checkpoints of PyTorch
    # the last token is made to be </s> where the length is reached: here the lengths are the cases' own
    model.generation_config.forced_eos_token_id = None
    pictures = load_images(images)

    def encode(rows):
        return processor(images=[pictures[r] for r in rows], text=[PROMPTS[r] for r in rows], padding=True,
                         return_tensors="pt")

    def generate(rows, **parameters):
        out = model.generate(**encode(rows), **parameters)
        return out.sequences[:, 1:], out

    core.generations(golden, generate, tokenizer.decode)
    with torch.no_grad():
        pixels = encode(range(core.ROWS)).pixel_values
        golden.shared("pixel_values", pixels, images[0].parent)
        golden.array("image_features", model.get_image_features(pixels))
    golden.data["rows"] = [
        {"image": f"../images/{images[i].name}", "text": PROMPTS[i],
         "input_ids": encode([i]).input_ids[0, count:].tolist()} for i in range(core.ROWS)]
