"""Golden files of ViLT for questions."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers as tf

from . import core, tokens
from .blip_family import QUESTIONS, load_images
from .core import Golden

ANSWERS = ["yes", "no", *tokens.COLOURS, "2", "3", "cat", "dog", "on the grass"]


def vilt(seed: int, checkpoint: Path, golden: Golden, images: list[Path]) -> None:
    """Pictures of 5x4, 4x5 and 4x4 patches; a table of 3x3 places."""
    tokenizer = tokens.bert()
    config = tf.ViltConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        image_size=24, patch_size=8, max_position_embeddings=40, id2label=dict(enumerate(ANSWERS)),
        label2id={a: i for i, a in enumerate(ANSWERS)})
    model = tf.ViltForQuestionAnswering(config)
    core.randomise(model, seed, gain=1.5)
    core.save_rounded(model, checkpoint)
    processor = tf.ViltProcessor(tf.ViltImageProcessor(size={"shortest_edge": 32}, size_divisor=8), tokenizer)
    processor.save_pretrained(checkpoint)
    model = tf.ViltForQuestionAnswering.from_pretrained(checkpoint, attn_implementation="eager").eval()
    pictures = load_images(images)

    def ask(rows):
        made = processor(images=[pictures[r] for r in rows], text=[QUESTIONS[r] for r in rows], padding=True,
                         return_tensors="pt")
        with torch.no_grad():
            return made, model(**made).logits

    made, together = ask([0, 1, 2])
    logits = torch.cat([ask([r])[1] for r in range(core.ROWS)])
    if float((logits - together).abs().max()) > 1e-5:
        raise RuntimeError("transformers' batch differs from its single rows")
    best = logits.topk(2).values
    if len(set(logits.argmax(-1).tolist())) < 3 or float((best[:, 0] - best[:, 1]).min()) < 0.01:
        raise core.Unsuitable("answers do not differ")
    golden.array("logits", logits)
    golden.shared("pixel_values", made["pixel_values"], images[0].parent)
    golden.array("pixel_mask", made["pixel_mask"])
    golden.data["rows"] = [
        {"image": f"../images/{images[r].name}", "text": QUESTIONS[r], "input_ids": tokenizer(QUESTIONS[r]).input_ids,
         "answer": int(logits[r].argmax()), "label": ANSWERS[int(logits[r].argmax())]} for r in range(core.ROWS)]
