"""Golden files of BLIP-2 (OPT and T5), its retrieval head, InstructBLIP and BLIP."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers as tf
from PIL import Image

from . import core, tokens
from .core import Golden, randomise

PROMPTS = ["Question: what color is the cat? Answer:", "a photo of",
           "Question: how many trees are there, and where is the boat? Answer:"]
QUESTIONS = ["what color is the cat?", "how many trees are there next to the wall?", "is there a boat?"]
TEXTS = ["a photo of a red cat on the grass", "two boats", "the dog sleeps under the bridge, near the water"]
SIZE = 32


def image_processor() -> tf.BlipImageProcessor:
    return tf.BlipImageProcessor(size={"height": SIZE, "width": SIZE})


def vision(cls, **changes):
    return cls(
        **({"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
            "num_attention_heads": 4, "image_size": SIZE, "patch_size": 8} | changes))


def qformer(cls, vocab: int, **changes):
    return cls(
        **({"vocab_size": vocab, "hidden_size": 24, "num_hidden_layers": 2,
            "num_attention_heads": 3, "intermediate_size": 48, "encoder_hidden_size": 32,
            "max_position_embeddings": 64, "cross_attention_frequency": 2} | changes))


def opt_config(tokenizer) -> tf.OPTConfig:
    return tf.OPTConfig(vocab_size=len(tokenizer) + 1, hidden_size=32, word_embed_proj_dim=32,
                        num_hidden_layers=2, ffn_dim=64, num_attention_heads=4,
                        max_position_embeddings=96, pad_token_id=1, bos_token_id=2, eos_token_id=2)


def t5_config(tokenizer) -> tf.T5Config:
    return tf.T5Config(vocab_size=len(tokenizer) + 1, d_model=32, d_kv=8, d_ff=64, num_layers=2,
                       num_decoder_layers=2, num_heads=4, feed_forward_proj="gated-gelu",
                       tie_word_embeddings=False, decoder_start_token_id=0, bos_token_id=1,
                       eos_token_id=1, pad_token_id=0)


def load_images(paths: list[Path]) -> list[Image.Image]:
    return [Image.open(p).convert("RGB") for p in paths]


def blip2_generation(kind: str):
    """blip2-opt, blip2-t5 or instructblip (OPT-type language model)."""

    def make(seed: int, checkpoint: Path, golden: Golden, images: list[Path]) -> None:
        encoder_decoder = kind == "blip2-t5"
        tokenizer = tokens.t5() if encoder_decoder else tokens.opt()
        text = t5_config(tokenizer) if encoder_decoder else opt_config(tokenizer)
        instruct = kind == "instructblip"
        second = tokens.bert() if instruct else None
        torch.manual_seed(seed)
        if instruct:
            config = tf.InstructBlipConfig(vision(tf.InstructBlipVisionConfig).to_dict(),
                                           qformer(tf.InstructBlipQFormerConfig, len(second)).to_dict(),
                                           text.to_dict(), num_query_tokens=6,
                                           image_token_index=len(tokenizer))
            model = tf.InstructBlipForConditionalGeneration(config)
            processor = tf.InstructBlipProcessor(image_processor(), tokenizer, second, num_query_tokens=6)
        else:
            config = tf.Blip2Config(vision(tf.Blip2VisionConfig, num_hidden_layers=2).to_dict(),
                                    qformer(tf.Blip2QFormerConfig, 30).to_dict(), text.to_dict(),
                                    num_query_tokens=6, image_token_index=len(tokenizer))
            model = tf.Blip2ForConditionalGeneration(config)
            processor = tf.Blip2Processor(image_processor(), tokenizer, num_query_tokens=6)
        randomise(model, seed)
        randomise(model.language_model, seed + 1000, gain=2.5, embed=0.4)
        for name, p in model.language_model.named_parameters():
            if name.endswith("Attention.q.weight"):  # T5 does not scale its scores: large ones would amplify rounding
                p.data *= 0.15
        core.save_rounded(model, checkpoint)
        processor.save_pretrained(checkpoint)
        model = type(model).from_pretrained(checkpoint, attn_implementation="eager").eval()
        # Processor.from_pretrained(use_fast=False) would make the tokenizer a slow one, too, which
        # adds no BOS.
        processor.tokenizer = tf.AutoTokenizer.from_pretrained(checkpoint)
        processor.tokenizer.padding_side = "right" if encoder_decoder else "left"

        pictures = load_images(images)
        prompts = [q for q in QUESTIONS] if instruct else PROMPTS

        def encode(rows):
            inputs = processor(images=[pictures[r] for r in rows], text=[prompts[r] for r in rows],
                               return_tensors="pt", padding=len(rows) > 1)
            # the processor pads the Q-Former's text on the left like the decoder's, which shifts
            # its absolute positions
            if instruct:
                q = second([prompts[r] for r in rows], return_tensors="pt", padding=True, padding_side="right")
                inputs["qformer_input_ids"], inputs["qformer_attention_mask"] = q.input_ids, q.attention_mask
            return inputs

        def generate(rows, **parameters):
            inputs = encode(rows)
            out = model.generate(**inputs, **parameters)
            skip = 1 if encoder_decoder else inputs["input_ids"].shape[1]
            return out.sequences[:, skip:], out

        core.generations(golden, generate, lambda ids: processor.tokenizer.decode(ids, skip_special_tokens=True))
        with torch.no_grad():
            rows = [encode([r]) for r in range(core.ROWS)]
            golden.shared("pixel_values", torch.cat([r["pixel_values"] for r in rows]), images[0].parent)
            embeds = [model.vision_model(r["pixel_values"]).last_hidden_state for r in rows]
            golden.array("image_embeds", torch.cat(embeds))
            projected, queries = [], []
            for r in rows:
                extra = {"qformer_input_ids": r["qformer_input_ids"],
                         "qformer_attention_mask": r["qformer_attention_mask"]} if instruct else {}
                p, _, q = model.get_image_features(r["pixel_values"], return_dict=True, **extra)
                projected.append(p)
                queries.append(q.last_hidden_state[:, :6])
            golden.array("query_output", torch.cat(queries))
            golden.array("language_inputs", torch.cat(projected))
            captured = []
            hooks = [layer.crossattention.attention.register_forward_hook(lambda _m, _i, out: captured.append(out[1]))
                     for layer in model.qformer.encoder.layer if layer.has_cross_attention]
            extra = {"qformer_input_ids": rows[0]["qformer_input_ids"],
                     "qformer_attention_mask": rows[0]["qformer_attention_mask"]} if instruct else {}
            model.get_image_features(rows[0]["pixel_values"], **extra)
            for hook in hooks:
                hook.remove()
            golden.array("qformer_cross_attn", torch.stack([c[0] for c in captured]))
        golden.data["qformer_cross_attn"] = ("row 0, cross_attn.{i} of the layers that have it, "
                                             "[layer,heads,queries,tokens]")
        golden.data["rows"] = [
            # transformers' ids begin with the image placeholders; the tokenizer's own follow
            {"image": f"../images/{images[i].name}", "text": prompts[i],
             "input_ids": r["input_ids"][0, 6:], "placeholders": r["input_ids"][0, :6],
             **({"qformer_input_ids": r["qformer_input_ids"][0]} if instruct else {})}
            for i, r in enumerate(rows)]
        if kind == "blip2-opt":
            captions, _ = caption_only(model, pictures)
            golden.data["caption_without_text"] = {"rows": list(range(core.ROWS)), "ids": captions}

    def caption_only(model, pictures):
        pixels = image_processor()(pictures, return_tensors="pt").pixel_values
        out = model.generate(pixels, max_new_tokens=core.NEW_TOKENS, do_sample=False, return_dict_in_generate=True)
        return out.sequences[:, 7:], out

    return make


def blip2_itm(seed: int, checkpoint: Path, golden: Golden, images: list[Path]) -> None:
    tokenizer = tokens.bert()
    q = qformer(tf.Blip2QFormerConfig, len(tokenizer), use_qformer_text_input=True)
    # image_token_index absent, as in the released checkpoints: ids are the text's alone
    config = tf.Blip2Config(vision(tf.Blip2VisionConfig).to_dict(), q.to_dict(),
                            opt_config(tokenizer).to_dict(), num_query_tokens=6,
                            image_text_hidden_size=24)
    config.image_token_index = None
    model = tf.Blip2ForImageTextRetrieval(config)
    randomise(model, seed)
    tokenizer.padding_side = "right"
    retrieval(model, tokenizer, checkpoint, golden, images, blip2=True)


def retrieval(model, tokenizer, checkpoint, golden, images, blip2: bool) -> None:
    """Every image against every text: matching logits and cosine similarities."""
    core.save_rounded(model, checkpoint)
    tokenizer.save_pretrained(checkpoint)
    image_processor().save_pretrained(checkpoint)
    model = type(model).from_pretrained(checkpoint, attn_implementation="eager").eval()
    pixels = image_processor()(load_images(images), return_tensors="pt").pixel_values
    itm, itc = torch.zeros(core.ROWS, core.ROWS, 2), torch.zeros(core.ROWS, core.ROWS)
    with torch.no_grad():
        for j, text in enumerate(TEXTS):
            encoded = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
            for i in range(core.ROWS):
                call = {"pixel_values": pixels[i:i + 1], **encoded}
                if blip2:
                    itm[i, j] = model(use_image_text_matching_head=True, **call).logits_per_image[0]
                    itc[i, j] = model(use_image_text_matching_head=False, **call).logits_per_image[0, 0]
                else:
                    itm[i, j] = model(use_itm_head=True, **call).itm_score[0]
                    itc[i, j] = model(use_itm_head=False, **call).itm_score[0, 0]
        if float(itm.softmax(-1)[..., 1].std()) < 0.05:
            raise core.Unsuitable("all pairs match alike")
        golden.array("image_embeds", model.vision_model(pixels).last_hidden_state)
    golden.shared("pixel_values", pixels, images[0].parent)
    golden.array("itm_logits", itm)
    golden.array("itm_probability", itm.softmax(-1)[..., 1])
    golden.array("itc_similarity", itc)
    golden.data["rows"] = [{"image": f"../images/{p.name}"} for p in images]
    golden.data["texts"] = [{"text": t, "input_ids": tokenizer(t).input_ids} for t in TEXTS]


def blip_config(tokenizer) -> tf.BlipConfig:
    text = {"vocab_size": len(tokenizer), "hidden_size": 32, "encoder_hidden_size": 32,
            "intermediate_size": 48, "projection_dim": 24, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": 64,
            "bos_token_id": tokenizer.convert_tokens_to_ids("[DEC]"), "pad_token_id": 0,
            "eos_token_id": 2, "sep_token_id": 3, "is_decoder": True}
    return tf.BlipConfig(text, vision(tf.BlipVisionConfig, projection_dim=24).to_dict(),
                         projection_dim=24, image_text_hidden_size=24)


def blip_itm(seed, checkpoint, golden, images) -> None:
    tokenizer = tokens.bert()
    model = tf.BlipForImageTextRetrieval(blip_config(tokenizer))
    randomise(model, seed)
    retrieval(model, tokenizer, checkpoint, golden, images, blip2=False)


def blip_generation(kind: str):
    """blip-caption (with and without a prompt) or blip-vqa."""

    def make(seed: int, checkpoint: Path, golden: Golden, images: list[Path]) -> None:
        tokenizer = tokens.bert()
        vqa = kind == "blip-vqa"
        model = (tf.BlipForQuestionAnswering if vqa else tf.BlipForConditionalGeneration)(blip_config(tokenizer))
        randomise(model, seed)
        randomise(model.text_decoder, seed + 1000, gain=1.6, embed=0.4)
        model.text_decoder.bert.embeddings.position_embeddings.weight.data *= 3  # or a post-norm model repeats itself
        for layer in model.text_decoder.bert.encoder.layer if vqa else []:
            # a question is the same at every step: less of it, more of the words
            layer.crossattention.output.dense.weight.data *= 0.4
        core.save_rounded(model, checkpoint)
        tokenizer.save_pretrained(checkpoint)
        image_processor().save_pretrained(checkpoint)
        model = type(model).from_pretrained(checkpoint, attn_implementation="eager").eval()
        pixels = image_processor()(load_images(images), return_tensors="pt").pixel_values
        texts = QUESTIONS if vqa else ["a photo of", "", "the dog"]
        encoded = [tokenizer(t, return_tensors="pt", return_token_type_ids=False) for t in texts]
        start = model.config.text_config.bos_token_id

        def generate(rows, **parameters):
            if vqa:  # questions of a batch would need equal lengths: transformers attends to their padding
                assert len(rows) == 1
                out = model.generate(pixel_values=pixels[rows], **encoded[rows[0]], **parameters)
                return out.sequences[:, 1:], out
            # [DEC] and the text without [CLS] and [SEP], padded on the left; model.generate would
            # overwrite the padding
            ids = [[start, *encoded[r].input_ids[0, 1:-1].tolist()] for r in rows]
            longest = max(map(len, ids))
            batch = torch.tensor([[0] * (longest - len(i)) + i for i in ids])
            mask = torch.tensor([[0] * (longest - len(i)) + [1] * len(i) for i in ids])
            embeds = model.vision_model(pixels[rows]).last_hidden_state
            call = {"eos_token_id": 3, "pad_token_id": 0} | parameters
            seen = torch.ones(embeds.shape[:2], dtype=torch.long)
            out = model.text_decoder.generate(input_ids=batch, attention_mask=mask, encoder_hidden_states=embeds,
                                              encoder_attention_mask=seen, **call)
            return out.sequences[:, longest:], out

        # BlipForQuestionAnswering passes its own eos: override it through the config
        def generate_eos(rows, **parameters):
            if vqa:
                saved = model.config.text_config.sep_token_id
                model.config.text_config.sep_token_id = parameters.pop("eos_token_id", saved)
                try:
                    return generate(rows, **parameters)
                finally:
                    model.config.text_config.sep_token_id = saved
            return generate(rows, **parameters)

        with torch.no_grad():
            core.generations(golden, generate_eos,
                             lambda ids: tokenizer.decode(ids, skip_special_tokens=True),
                             batch=not vqa)
            golden.array("image_embeds", model.vision_model(pixels).last_hidden_state)
            if vqa:
                for i, e in enumerate(encoded):
                    seen = model.vision_model(pixels[i:i + 1]).last_hidden_state
                    states = model.text_encoder(**e, encoder_hidden_states=seen).last_hidden_state
                    golden.array(f"question_states_{i}", states[0])
            else:  # transformers' own call, for the rows it serves right
                own = model.generate(pixel_values=pixels[:1], **encoded[0],
                                     max_new_tokens=core.NEW_TOKENS, do_sample=False)
                skip = encoded[0].input_ids.shape[1] - 1
                if own[0, skip:].tolist() != golden.data["greedy"]["ids"][0]:
                    raise RuntimeError("BlipForConditionalGeneration.generate disagrees with its decoder")
        golden.shared("pixel_values", pixels, images[0].parent)
        golden.data["decoder_start_token_id"] = start
        golden.data["rows"] = [
            {"image": f"../images/{images[i].name}", "text": texts[i],
             "input_ids": encoded[i].input_ids[0]} for i in range(core.ROWS)]

    return make
