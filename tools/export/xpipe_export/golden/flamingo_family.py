"""Golden files of IDEFICS and OpenFlamingo."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers as tf
from safetensors.torch import save_file

from ..families import idefics as idefics_family
from ..families import open_flamingo as open_flamingo_family
from ..graph import export_graph
from . import core, tokens
from .open_flamingo_reference import Flamingo, init_flamingo
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
            vocab_size=len(tokenizer) - 2, additional_vocab_size=2, hidden_size=24,
            intermediate_size=40, num_hidden_layers=4 if resampler else 2, num_attention_heads=3,
            cross_layer_interval=2 if resampler else 1, qk_layer_norms=True,
            use_resampler=resampler, alpha_type="vector" if resampler else "float",
            max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=2,
            tie_word_embeddings=False,
            vision_config={"embed_dim": 24, "image_size": SIZE, "patch_size": 8,
                           "num_hidden_layers": 1, "num_attention_heads": 4,
                           "intermediate_size": 48},
            perceiver_config={"use_resampler": resampler, "resampler_n_latents": 5,
                              "resampler_depth": 2, "resampler_n_heads": 3, "resampler_head_dim": 8,
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
        # Beam search of transformers 4.57 reshapes by vocab_size, which leaves out IDEFICS'
        # additional tokens.
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
            golden.shared("pixel_values", pixels, images[0].parent)
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
    golden.data["rows"] = [
        {"prompt": [f"../images/{images[x].name}" if isinstance(x, int) else x for x in PROMPTS[r]],
         "images": [x for x in PROMPTS[r] if isinstance(x, int)], "text": texts[r],
         "input_ids": ids[r], "image_attention_mask": masks[r].tolist()} for r in range(core.ROWS)]
    golden.data["prompt_logits"] = "row 0, every position of its prompt"


def open_flamingo(kind: str):
    """opt: trained parts alone in the state dict, open_clip's class token left out. neox, mpt:
    everything in the state dict."""

    def make(seed: int, checkpoint: Path, golden: Golden, images: list[Path]) -> None:
        torch.manual_seed(seed)
        if kind == "opt":
            tokenizer = tokens.opt()
            config = tf.OPTConfig(vocab_size=len(tokenizer), hidden_size=24, word_embed_proj_dim=24,
                                  num_hidden_layers=2, ffn_dim=48, num_attention_heads=3,
                                  max_position_embeddings=128, pad_token_id=1, bos_token_id=2,
                                  eos_token_id=2)
            every, layers = 1, "model.decoder.layers"
        elif kind == "neox":
            tokenizer = tokens.gptneox()
            config = tf.GPTNeoXConfig(vocab_size=len(tokenizer), hidden_size=24,
                                      num_hidden_layers=3, num_attention_heads=3,
                                      intermediate_size=48, rotary_pct=0.5,
                                      max_position_embeddings=128, bos_token_id=0, eos_token_id=0,
                                      tie_word_embeddings=False)
            every, layers = 2, "gpt_neox.layers"
        else:
            tokenizer = tokens.gptneox()
            config = tf.MptConfig(vocab_size=len(tokenizer), d_model=24, n_layers=2, n_heads=3,
                                  max_seq_len=128, bos_token_id=0, eos_token_id=0)
            every, layers = 2, "transformer.blocks"
        lm = tf.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
        vision = tf.CLIPVisionModel(
            tf.CLIPVisionConfig(hidden_size=24, intermediate_size=48, num_hidden_layers=1,
                                num_attention_heads=4, image_size=SIZE, patch_size=8,
                                hidden_act="quick_gelu"))
        tokenizer.save_pretrained(checkpoint / "lang_encoder")
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|endofchunk|>", "<image>"]})
        lm.resize_token_embeddings(len(tokenizer))
        media, end = (tokenizer.convert_tokens_to_ids(t) for t in ("<image>", "<|endofchunk|>"))
        init_flamingo(lm, layers, every, media, 24, heads=4, dim_head=8)
        model = Flamingo(vision, lm, 24, latents=5, depth=2, heads=4, dim_head=8, skip=1)
        randomise(model, seed)
        randomise(lm, seed + 1000, gain=2.5, embed=0.4)
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(p.half())
        model.eval()

        processor = tf.CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})
        processor.save_pretrained(checkpoint / "vision_encoder")
        vision.config.save_pretrained(checkpoint / "vision_encoder")
        lm.config.save_pretrained(checkpoint / "lang_encoder")
        state = model.state_dict()
        (checkpoint / "config.json").write_text(
            json.dumps({"model_type": "open_flamingo", "heads": 4, "vision_tokens": "patch"}))
        if kind == "opt":  # as released: the backbones in their own files, the trained parts in the checkpoint
            plain = {k.removeprefix("lang_encoder.").replace(".decoder_layer.", "."): v for k, v in state.items()
                     if k.startswith("lang_encoder.") and "gated_cross" not in k}
            save_file({k: v.clone() for k, v in plain.items() if k != "lm_head.weight"},
                      checkpoint / "lang_encoder" / "model.safetensors", metadata={"format": "pt"})
            vision.save_pretrained(checkpoint / "vision_encoder")
            state = {k: v for k, v in state.items() if k.startswith("perceiver.")
                     or "gated_cross" in k or "embed_tokens" in k}
        torch.save({"model_state_dict": {f"module.{k}": v for k, v in state.items()}}, checkpoint / "checkpoint.pt")

        tokenizer.padding_side = "left"
        pixels = processor(load_images(images), return_tensors="pt").pixel_values
        texts = ["".join("<image>" if isinstance(x, int) else x for x in p) for p in PROMPTS]
        texts[0] = texts[0].replace("cat.<image>", "cat.<|endofchunk|><image>")

        def encode(rows):
            inputs = tokenizer([texts[r] for r in rows], return_tensors="pt", padding=True)
            most = max(sum(isinstance(x, int) for x in PROMPTS[r]) for r in rows)
            media_pixels = torch.zeros(len(rows), most, *pixels.shape[1:])
            for i, r in enumerate(rows):
                numbers = [x for x in PROMPTS[r] if isinstance(x, int)]
                media_pixels[i, :len(numbers)] = pixels[numbers]
            return inputs.input_ids, inputs.attention_mask, media_pixels

        def generate(rows, **parameters):
            ids, mask, media_pixels = encode(rows)
            parameters = {"eos_token_id": end, "pad_token_id": tokenizer.pad_token_id} | parameters
            out = model.generate(media_pixels, ids, mask, **parameters)
            return out.sequences[:, ids.shape[1]:], out

        core.generations(golden, generate, lambda ids: tokenizer.decode(ids, skip_special_tokens=True))
        with torch.no_grad():
            golden.shared("pixel_values", pixels, images[0].parent)
            golden.array("image_embeds", model.patches(pixels))
            golden.array("latents", model.perceiver(model.patches(pixels)[:, None])[:, 0])
            ids, mask, media_pixels = encode([0])
            golden.array("prompt_logits", model(media_pixels, ids, mask).logits[0])
        rows = [encode([r])[0][0] for r in range(core.ROWS)]
        masks = []
        for r, row in enumerate(rows):
            time = (row == media).cumsum(0)
            masks.append(
                (time[:, None]
                 == torch.arange(1, 1 + sum(isinstance(x, int) for x in PROMPTS[r]))[None]).long())
        finish(golden, images, rows, masks, texts)
        golden.data["reference"] = ("xpipe_export.golden.open_flamingo_reference over transformers' "
                                    "language model and generate()")

    return make


def zero_gates(checkpoint: Path, target: Path, dtype: str) -> None:
    """The decoder graph of a checkpoint with every gate closed: its output must not depend on the
    images."""
    if open_flamingo_family.is_checkpoint(checkpoint):
        model, *_ = open_flamingo_family.load(checkpoint)
        gates, spec = [p for n, p in model.named_parameters() if n.endswith("_gate")], open_flamingo_family.decoder_spec
    else:
        model = tf.IdeficsForVisionText2Text.from_pretrained(checkpoint, attn_implementation="eager").eval()
        gates, spec = [p for n, p in model.named_parameters() if "alpha_" in n], idefics_family.decoder_spec
    for gate in gates:
        gate.data.zero_()
    export_graph(spec(model, False), target, dtype=dtype)
