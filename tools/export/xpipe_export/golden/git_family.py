"""Golden files of GIT."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers as tf

from . import core, tokens
from .blip_family import SIZE, load_images
from .core import Golden

TEXTS = ["", "a photo of", "what color is the cat?"]


def git(seed: int, checkpoint: Path, golden: Golden, images: list[Path]) -> None:
    tokenizer = tokens.bert()
    config = tf.GitConfig(
        vision_config={"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
                       "num_attention_heads": 4, "image_size": SIZE, "patch_size": 8},
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=64, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id, eos_token_id=tokenizer.sep_token_id)
    model = tf.GitForCausalLM(config)
    core.randomise(model, seed, gain=2.0)
    model.git.embeddings.position_embeddings.weight.data *= 2  # or the text repeats itself
    processor = tf.GitProcessor(
        tf.CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}), tokenizer)
    core.save_rounded(model, checkpoint)
    processor.save_pretrained(checkpoint)
    model = tf.GitForCausalLM.from_pretrained(checkpoint, attn_implementation="eager").eval()
    pixels = processor(images=load_images(images), return_tensors="pt").pixel_values
    # the model card's: [CLS], then the text without special tokens
    prompts = [[tokenizer.cls_token_id, *tokenizer(t, add_special_tokens=False).input_ids] for t in TEXTS]

    def generate(rows, **parameters):
        ids = torch.tensor([prompts[r] for r in rows])
        out = model.generate(pixel_values=pixels[rows], input_ids=ids, attention_mask=torch.ones_like(ids),
                             **parameters)
        return out.sequences[:, ids.shape[1]:], out

    # one at a time: transformers counts padding as positions
    core.generations(golden, generate, lambda ids: tokenizer.decode(ids, skip_special_tokens=True), batch=False)
    golden.shared("pixel_values", pixels, images[0].parent)
    places = [-1] * model.git.encoder.layer[0].attention.self.image_patch_tokens
    golden.data["rows"] = [
        {"image": f"../images/{images[i].name}", "text": TEXTS[i], "input_ids": [*places, *prompts[i]],
         "pixels": [[i, i + 1]]} for i in range(core.ROWS)]
