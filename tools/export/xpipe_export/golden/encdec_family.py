"""Golden files of VisionEncoderDecoderModel: ViT with GPT-2, TrOCR, Donut."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers as tf

from ..families.vision_encoder_decoder import DONUT_ANSWER
from . import core, tokens
from .blip_family import QUESTIONS, SIZE, load_images
from .core import Golden

SQUARE = {"height": SIZE, "width": SIZE}
PAGE = {"height": 48, "width": 40}
"""The size of Donut's pictures: not square, and its grid no multiple of the windows in either
stage."""
TASK = "<s_cord-v2>"
TAGS = ["<s_docvqa>", "<s_question>", "</s_question>", "<s_answer>", "</s_answer>", TASK,
        "<s_menu>", "</s_menu>", "<sep/>"]


def vit() -> tf.ViTConfig:
    return tf.ViTConfig(hidden_size=24, intermediate_size=32, num_hidden_layers=2,
                        num_attention_heads=3, image_size=SIZE, patch_size=8)


def vit_gpt2(tokenizer) -> tuple:
    """Encoder and decoder of different widths: the model has an enc_to_dec_proj."""
    end = tokenizer.eos_token_id
    return vit(), tf.GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=32, n_layer=2,
                                n_head=4, n_inner=48, add_cross_attention=True, is_decoder=True,
                                bos_token_id=end, eos_token_id=end)


def trocr(tokenizer) -> tuple:
    """The decoder's cross-attention has the encoder's width."""
    return vit(), tf.TrOCRConfig(vocab_size=len(tokenizer), d_model=32, decoder_layers=2,
                                 decoder_attention_heads=4, decoder_ffn_dim=48,
                                 max_position_embeddings=64, cross_attention_hidden_size=24)


def donut(tokenizer) -> tuple:
    encoder = tf.DonutSwinConfig(image_size=[PAGE["height"], PAGE["width"]], patch_size=4,
                                 embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4)
    return encoder, tf.MBartConfig(vocab_size=len(tokenizer), d_model=32, decoder_layers=2,
                                   decoder_attention_heads=4, decoder_ffn_dim=48,
                                   max_position_embeddings=64, is_decoder=True,
                                   add_cross_attention=True, scale_embedding=True,
                                   is_encoder_decoder=False)


KINDS = {
    # name: (configs, tokenizer, first id of the decoder, prompts, size of the pictures)
    "vit-gpt2": (vit_gpt2, tokens.gpt2, "<|endoftext|>", ["", "a photo of", "the dog"], SQUARE),
    "trocr": (trocr, tokens.roberta, "</s>", ["", "", ""], SQUARE),
    "donut": (donut, lambda: tokens.xlm_roberta(TAGS), "<s>",
              [DONUT_ANSWER.format(QUESTIONS[0]), TASK, DONUT_ANSWER.format(QUESTIONS[2])], PAGE),
}


def generation(kind: str):
    """vit-gpt2, trocr or donut."""
    configs, make_tokenizer, first, texts, size = KINDS[kind]

    def make(seed: int, checkpoint: Path, golden: Golden, images: list[Path]) -> None:
        tokenizer = make_tokenizer()
        model = tf.VisionEncoderDecoderModel(
            tf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(*configs(tokenizer)))
        start = model.config.decoder_start_token_id = tokenizer.convert_tokens_to_ids(first)
        model.config.pad_token_id = tokenizer.pad_token_id
        model.generation_config = tf.GenerationConfig.from_model_config(model.config)
        model.generation_config.max_length = 24
        core.randomise(model, seed)
        core.randomise(model.decoder, seed + 1000, gain=1.6 if kind == "trocr" else 1.8, embed=0.4)
        embedding = model.decoder.get_input_embeddings()
        embedding.weight.data /= getattr(embedding, "embed_scale", 1.0)
        own = model.decoder if kind == "vit-gpt2" else model.decoder.get_decoder()
        table = own.transformer.wpe if kind == "vit-gpt2" else own.embed_positions
        table.weight.data *= 3  # or the text repeats itself
        # stretches to the page's size; DonutImageProcessor's pixels are a case of their own
        processor = tf.ViTImageProcessor(size=size)
        core.save_rounded(model, checkpoint)
        tokenizer.save_pretrained(checkpoint)
        processor.save_pretrained(checkpoint)
        model = tf.VisionEncoderDecoderModel.from_pretrained(checkpoint,
                                                             attn_implementation="eager").eval()
        # mBART's last token is made to be </s> where the length is reached: here the lengths are
        # the cases' own
        model.generation_config.forced_eos_token_id = None
        pictures = load_images(images)
        pixels = processor(pictures, return_tensors="pt").pixel_values
        prompts = [tokenizer(t, add_special_tokens=False).input_ids for t in texts]

        def generate(rows, **parameters):
            # equal lengths: transformers counts padding
            given = torch.tensor([prompts[r] for r in rows], dtype=torch.int64)
            call = {"decoder_input_ids": given} if given.numel() else {}
            out = model.generate(pixel_values=pixels[rows], **call, **parameters)
            began = 0 if kind == "donut" else 1
            return out.sequences[:, began + given.shape[1]:], out

        def text(ids):
            if kind != "donut":
                return tokenizer.decode(ids, skip_special_tokens=True)
            # Tags are special tokens, and they say what the text is.
            dropped = (tokenizer.eos_token_id, tokenizer.pad_token_id)
            return tokenizer.decode([i for i in ids if i not in dropped])

        alike = len({len(p) for p in prompts}) == 1
        core.generations(golden, generate, text, batch=alike)
        with torch.no_grad():
            states = model.encoder(pixel_values=pixels).last_hidden_state
            if hasattr(model, "enc_to_dec_proj"):
                states = model.enc_to_dec_proj(states)
            golden.array("image_embeds", states)
            began = [p if kind == "donut" else [start, *p] for p in prompts]
            whole = model(pixel_values=pixels[:1], decoder_input_ids=torch.tensor(began[:1])).logits
            golden.array("prompt_logits", whole[0])
        if kind == "donut":
            golden.array("pixel_values", pixels)
            golden.data["donut_preprocessing"] = donut_pixels(golden, pictures)
        else:
            golden.shared("pixel_values", pixels, images[0].parent)
        golden.data["decoder_start_token_id"] = start
        golden.data["rows"] = [
            {"image": f"../images/{images[i].name}", "text": texts[i], "input_ids": prompts[i],
             "decoder_input_ids": began[i]} for i in range(core.ROWS)]

    return make


def donut_pixels(golden: Golden, pictures) -> list[dict]:
    """What DonutImageProcessor makes of the same pictures, upright and turned along the page's long
    side. The folder of each array's name has the preprocessor_config.json."""
    cases = []
    for name, turned in (("donut_pixels", False), ("donut_pixels_aligned", True)):
        processor = tf.DonutImageProcessor(size=PAGE, do_align_long_axis=turned)
        processor.save_pretrained(golden.folder / name)
        golden.array(name, processor(pictures, return_tensors="pt").pixel_values)
        cases.append({"preprocessor_config": processor.to_dict(), "array": name})
    return cases
