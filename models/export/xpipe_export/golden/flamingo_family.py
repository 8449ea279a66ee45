"""Golden files of IDEFICS and OpenFlamingo."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers as tf

from . import core, tokens
from .blip_family import load_images
from .core import Golden, randomise

SIZE = 32
# Each prompt: texts and images (by number) in order.
PROMPTS = [[0, "An image of a cat.", 1, "An image of"], ["Look:", 2, "Question: what color is the boat? Answer:"],
           [1, "two trees", 0, "a red ball", 2, "a"]]


def idefics(resampler: bool):
    def make(seed: int, checkpoint: Path, golden: Golden, images: list[Path]) -> None:
        extra = ["<fake_token_around_image>", "<image>"]
        tokenizer = tokens.llama(extra)
        config = tf.IdeficsConfig(
            vocab_size=len(tokenizer) - 2, additional_vocab_size=2, hidden_size=32, intermediate_size=48, num_hidden_layers=4 if resampler else 2, num_attention_heads=4,
            cross_layer_interval=2 if resampler else 1, qk_layer_norms=True, use_resampler=resampler, alpha_type="vector" if resampler else "float",
            max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False,
            vision_config={"embed_dim": 24, "image_size": SIZE, "patch_size": 8, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48},
            perceiver_config={"use_resampler": resampler, "resampler_n_latents": 5, "resampler_depth": 2, "resampler_n_heads": 3, "resampler_head_dim": 8,
                              "qk_layer_norms_perceiver": True})
        torch.manual_seed(seed)
        model = tf.IdeficsForVisionText2Text(config)
        randomise(model, seed)
        for part in (model.model.layers, model.lm_head, model.model.gated_cross_attn_layers):
            randomise(part, seed + 1000, gain=2.0)
        randomise(model.model.embed_tokens, seed + 2000, embed=0.5)
        core.save_rounded(model, checkpoint)
        processor = tf.IdeficsProcessor(tf.IdeficsImageProcessor(image_size=SIZE), tokenizer)
        processor.save_pretrained(checkpoint)
        model = tf.IdeficsForVisionText2Text.from_pretrained(checkpoint, attn_implementation="eager").eval()
        # Beam search of transformers 4.57 reshapes by vocab_size, which leaves out IDEFICS' additional tokens.
        model.config.vocab_size += model.config.additional_vocab_size
        pictures = load_images(images)

        def encode(rows):
            prompts = [[pictures[x] if isinstance(x, int) else x for x in PROMPTS[r]] for r in rows]
            return processor(text=prompts, return_tensors="pt", padding="longest")

        def generate(rows, **parameters):
            inputs = encode(rows)
            out = model.generate(**inputs, **parameters)
            return out.sequences[:, inputs["input_ids"].shape[1]:], out

        core.generations(golden, generate, lambda ids: tokenizer.decode(ids, skip_special_tokens=True))
        with torch.no_grad():
            rows = [encode([r]) for r in range(core.ROWS)]
            pixels = tf.IdeficsImageProcessor(image_size=SIZE)(pictures)
            golden.array("pixel_values", pixels)
            embeds = model.model.vision_model(pixels).last_hidden_state
            golden.array("image_embeds", embeds)
            if resampler:
                golden.array("latents", model.model.perceiver_resampler(embeds))
            states = model(**rows[0], use_cache=False)
            golden.array("prompt_logits", states.logits[0])
        finish(golden, images, [r["input_ids"][0] for r in rows], [r["image_attention_mask"][0] for r in rows],
               ["<s>" + markup(PROMPTS[r]) for r in range(core.ROWS)])

    return make


def markup(prompt: list) -> str:
    text, last = "", False
    for part in prompt:
        image = isinstance(part, int)
        if image:
            text += "" if last else "<fake_token_around_image>"
        text += "<image><fake_token_around_image>" if image else part
        last = image
    return text


def finish(golden: Golden, images: list[Path], ids: list, masks: list, texts: list[str]) -> None:
    golden.data["rows"] = [{"prompt": [f"../images/{images[x].name}" if isinstance(x, int) else x for x in PROMPTS[r]],
                            "images": [x for x in PROMPTS[r] if isinstance(x, int)], "text": texts[r], "input_ids": ids[r],
                            "image_attention_mask": masks[r].tolist()} for r in range(core.ROWS)]
    golden.data["prompt_logits"] = "row 0, every position of its prompt"
