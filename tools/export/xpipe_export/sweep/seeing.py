"""Makers of models whose prompt has rows of pictures: kinds.py has the others."""

from __future__ import annotations

import transformers as tf

from ..golden import decoders
from ..golden.image_tokens_family import GEMMA3
from .draw import FIVE, Draw
from .kinds import Made, cropped, pixels

TEXTS = {"llama": ("llama", tf.LlamaConfig), "mistral": ("llama", tf.MistralConfig), "qwen2": ("chat", tf.Qwen2Config)}


def language(d: Draw, cls, words, **more):
    values = d.language(words) | d.rope(linear=cls is tf.LlamaConfig) | more
    if cls is tf.MistralConfig:
        values["sliding_window"] = d.choice((None, 7))
    return cls(**values)


def tower(d: Draw, patch: int = 8, side: int | None = None):
    """CLIP's or SigLIP's vision encoder, which layers are read, and whether the class token stays."""
    vision = d.vision(patch, side or patch * d.choice((2, 3, 4)))
    if d.random() < 0.4:
        return tf.SiglipVisionConfig(**vision), {"vision_feature_layer": d.choice((-1, -2)), "vision_feature_select_strategy": "full"}
    return (tf.CLIPVisionConfig(**vision, projection_dim=16),
            {"vision_feature_layer": d.choice((-1, -2)), "vision_feature_select_strategy": d.choice(("default", "full"))})


def finish(d: Draw, model, processor, words, prompt: int, end: str | None = None, embed: float = 0.6) -> Made:
    d.randomise(model, model, gain=1.7, embed=embed)
    keys = {"eos_token_id": words.convert_tokens_to_ids(end) if end else words.eos_token_id, "pad_token_id": words.pad_token_id}
    return Made(model, [processor], keys | d.generation(prompt))


def llava(name: str, squares: bool = False):
    def make(d: Draw) -> Made:
        of, cls = TEXTS[name]
        words = d.tokenizer(of, ("<image>",))
        seen, read = tower(d)
        side, text = seen.image_size, language(d, cls, words)
        clip = isinstance(seen, tf.CLIPVisionConfig)
        if clip and squares:  # with the class token transformers fails itself
            read["vision_feature_select_strategy"] = "default"
        shared = dict(vision_config=seen, text_config=text, image_token_index=words.convert_tokens_to_ids("<image>"),
                      tie_word_embeddings=text.tie_word_embeddings, **read)
        counted = dict(patch_size=8, vision_feature_select_strategy=read["vision_feature_select_strategy"],
                       num_additional_image_tokens=1 if clip else 0, chat_template=decoders.LLAVA)
        if squares:
            pinpoints = [[side, 2 * side], [2 * side, side], [2 * side, 2 * side]] + [[3 * side, side]] * (d.random() < 0.5)
            model = tf.LlavaNextForConditionalGeneration(tf.LlavaNextConfig(image_grid_pinpoints=pinpoints, **shared))
            images = tf.LlavaNextImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side},
                                                image_grid_pinpoints=pinpoints)
            return finish(d, model, tf.LlavaNextProcessor(images, words, **counted), words, 80)
        model = tf.LlavaForConditionalGeneration(tf.LlavaConfig(**shared))
        images = cropped(side) if clip else pixels(tf.SiglipImageProcessor, side)
        return finish(d, model, tf.LlavaProcessor(images, words, **counted), words, 60)

    return make


def onevision(d: Draw) -> Made:
    words = d.tokenizer("chat", ("<image>", "<video>", "<|im_start|>", "<|im_end|>"), odd=False)
    token, side = words.convert_tokens_to_ids, d.choice((16, 24))
    pinpoints = [[side, 2 * side], [2 * side, side], [2 * side, 2 * side]] + [[3 * side, side]] * (d.random() < 0.5)
    most, layer = d.choice((2, 3, 9)), d.choice((-1, -2))
    vision = d.vision(8, side) | {"model_type": "siglip_vision_model", "vision_use_head": False}
    text = language(d, tf.Qwen2Config, words, max_position_embeddings=512)
    model = tf.LlavaOnevisionForConditionalGeneration(tf.LlavaOnevisionConfig(
        vision_config=vision, text_config=text.to_dict(), image_token_index=token("<image>"), video_token_index=token("<video>"),
        image_grid_pinpoints=pinpoints, vision_aspect_ratio=f"anyres_max_{most}", vision_feature_layer=layer,
        tie_word_embeddings=text.tie_word_embeddings))
    size = {"height": side, "width": side}
    processor = tf.LlavaOnevisionProcessor(
        tf.LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=pinpoints), words, tf.LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=(side // 8) ** 2, vision_feature_select_strategy="full", vision_aspect_ratio=f"anyres_max_{most}",
        chat_template=decoders.ONEVISION)
    return finish(d, model, processor, words, 120, "<|im_end|>")


def idefics2(d: Draw) -> Made:
    """Pictures whose sides patches of 8 do not go up in, with their quarters or without."""
    words = d.tokenizer("llama", ("<fake_token_around_image>", "<image>", "<end_of_utterance>"), odd=False)
    vision, text = d.vision(8, d.choice((40, 48))), language(d, tf.MistralConfig, words, max_position_embeddings=512)
    heads, each = d.choice((2, 4)), d.choice((6, 8))
    latents, depth = d.choice((2, 3)), d.choice((1, 2))
    model = tf.Idefics2ForConditionalGeneration(tf.Idefics2Config(
        vision_config=vision, text_config=text.to_dict(), image_token_id=words.convert_tokens_to_ids("<image>"),
        perceiver_config={"hidden_size": text.hidden_size, "resampler_n_latents": latents, "resampler_depth": depth, "resampler_n_heads": heads,
                          "resampler_head_dim": each, "num_key_value_heads": d.choice((1, 2)), "rms_norm_eps": 1e-6},
        tie_word_embeddings=text.tie_word_embeddings))
    images = tf.Idefics2ImageProcessor(size={"shortest_edge": d.choice((20, 28)), "longest_edge": d.choice((50, 56))},
                                       do_image_splitting=d.random() < 0.5)
    processor = tf.Idefics2Processor(images, words, image_seq_len=latents, chat_template=decoders.IDEFICS2)
    return finish(d, model, processor, words, 60, "<end_of_utterance>")


def tiles(smol: bool):
    def make(d: Draw) -> Made:
        places = [f"<row_{r}_col_{c}>" for r in range(1, 5) for c in range(1, 5)]
        words = d.tokenizer("llama", ("<|im_start|>", "<fake_token_around_image>", "<image>", "<end_of_utterance>",
                                      "<global-img>", *places))
        vision = d.vision(8, 32)
        text = language(d, tf.LlamaConfig, words, max_position_embeddings=512)
        shared = dict(vision_config=vision, image_token_id=words.convert_tokens_to_ids("<image>"), scale_factor=2,
                      text_config=text.to_dict(), pad_token_id=words.pad_token_id, tie_word_embeddings=text.tie_word_embeddings)
        size = {"size": {"longest_edge": d.choice((64, 96))}, "max_image_size": {"longest_edge": 32}}
        if smol:
            processor = tf.SmolVLMProcessor(tf.SmolVLMImageProcessor(**size), words, tf.SmolVLMVideoProcessor(**size),
                                            image_seq_len=4, chat_template=decoders.SMOLVLM)
            model = tf.SmolVLMForConditionalGeneration(tf.SmolVLMConfig(**shared))
        else:
            processor = tf.Idefics3Processor(tf.Idefics3ImageProcessor(**size), words, image_seq_len=4,
                                             chat_template=decoders.SMOLVLM)
            model = tf.Idefics3ForConditionalGeneration(tf.Idefics3Config(**shared))
        return finish(d, model, processor, words, 200, "<end_of_utterance>")

    return make


def qwen(newer: bool):
    def make(d: Draw) -> Made:
        words = d.tokenizer("qwen", ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"), odd=False)
        token, heads = words.convert_tokens_to_ids, d.choice((2, 4))
        width = heads * 8
        text = {k: v for k, v in d.language(words).items() if k not in ("num_attention_heads", "num_key_value_heads", "hidden_size")}
        text |= {"hidden_size": width, "num_attention_heads": heads, "num_key_value_heads": d.choice((1, 2)),
                 "max_position_embeddings": 512}
        theta, section = d.choice((10000.0, 1000000.0)), d.choice(([1, 1, 2], [2, 1, 1]))
        tied = text["tie_word_embeddings"]
        rope = {"rope_parameters": {"rope_type": "default", "rope_theta": theta, "mrope_section": section}} if FIVE else {
            "rope_theta": theta, "rope_scaling": {"type": "mrope", "mrope_section": section}}
        shared = dict(text_config=text | rope, tie_word_embeddings=tied, image_token_id=token("<|image_pad|>"),
                      video_token_id=token("<|video_pad|>"), vision_start_token_id=token("<|vision_start|>"),
                      vision_end_token_id=token("<|vision_end|>"))
        patch, depth = d.choice((4, 8)), d.choice((2, 3))
        vision = {"num_heads": 2, "patch_size": patch, "spatial_merge_size": 2, "temporal_patch_size": 2, "depth": depth}
        side = patch * 2
        images = tf.Qwen2VLImageProcessor(min_pixels=side * side * 2, max_pixels=side * side * d.choice((9, 12)), patch_size=patch)
        if newer:
            vision |= {"hidden_size": 32, "intermediate_size": d.randrange(20, 50), "out_hidden_size": width,
                       "window_size": side * 2, "fullatt_block_indexes": [depth - 1]}
            model = tf.Qwen2_5_VLForConditionalGeneration(tf.Qwen2_5_VLConfig(vision_config=vision, **shared))
            processor = tf.Qwen2_5_VLProcessor(images, words, tf.Qwen2VLVideoProcessor(), chat_template=decoders.QWEN2VL)
        else:
            vision |= {"embed_dim": 32, "mlp_ratio": 2, "hidden_size": width}
            model = tf.Qwen2VLForConditionalGeneration(tf.Qwen2VLConfig(vision_config=vision, **shared))
            processor = tf.Qwen2VLProcessor(images, words, tf.Qwen2VLVideoProcessor(), chat_template=decoders.QWEN2VL)
        return finish(d, model, processor, words, 60, "<|im_end|>", embed=0.3)

    return make


def gemma(d: Draw, cls, words, **more):
    values = d.language(words, 512) | {"tie_word_embeddings": True, "head_dim": d.choice((8, 16)),
                                       "hidden_activation": "gelu_pytorch_tanh"}
    if cls is not tf.GemmaConfig:
        values |= {"sliding_window": d.choice((6, 16)), "query_pre_attn_scalar": 16}
    return cls(**values | more)


def paligemma(newer: bool):
    def make(d: Draw) -> Made:
        words = d.tokenizer("llama", ("<image>", "<loc0000>"), odd=False)
        words = tf.GemmaTokenizerFast(tokenizer_object=words.backend_tokenizer, bos_token="<s>", eos_token="</s>",
                                      unk_token="<unk>", pad_token="<unk>", padding_side="left") if not FIVE else words
        vision = d.vision(8)
        text = gemma(d, tf.Gemma2Config if newer else tf.GemmaConfig, words)
        model = tf.PaliGemmaForConditionalGeneration(tf.PaliGemmaConfig(
            text_config=text.to_dict(), projection_dim=text.hidden_size, hidden_size=text.hidden_size,
            image_token_index=words.convert_tokens_to_ids("<image>"),
            vision_config=dict(vision, projection_dim=text.hidden_size, model_type="siglip_vision_model")))
        images = pixels(tf.SiglipImageProcessor, vision["image_size"])
        images.image_seq_length = (vision["image_size"] // 8) ** 2
        return finish(d, model, images, words, 50, embed=0.1)._replace(parts=[words, images])

    return make


def gemma3(d: Draw) -> Made:
    marks = ("<start_of_image>", "<image_soft_token>", "<end_of_image>", "<start_of_turn>", "<end_of_turn>")
    words = d.tokenizer("llama", marks, odd=False)
    token = words.convert_tokens_to_ids
    words.chat_template = GEMMA3
    layers = d.choice((2, 3))
    text = gemma(d, tf.Gemma3TextConfig, words, num_hidden_layers=layers,
                 layer_types=[d.choice(("sliding_attention", "full_attention")) for _ in range(layers - 1)] + ["full_attention"])
    model = tf.Gemma3ForConditionalGeneration(tf.Gemma3Config(
        text_config=text.to_dict(), mm_tokens_per_image=4, vision_config=dict(d.vision(8, 32), model_type="siglip_vision_model"),
        image_token_index=token("<image_soft_token>"), boi_token_index=token("<start_of_image>"),
        eoi_token_index=token("<end_of_image>")))
    images = pixels(tf.Gemma3ImageProcessor, 32)
    return finish(d, model, images, words, 60, "<end_of_turn>", embed=0.1)._replace(parts=[words, images])


def git(d: Draw) -> Made:
    words, vision = d.tokenizer("bert", odd=False), d.vision()
    heads, width = d.heads()
    model = tf.GitForCausalLM(tf.GitConfig(
        vision_config=vision, vocab_size=len(words), hidden_size=width, intermediate_size=d.randrange(20, 50),
        num_hidden_layers=d.choice((1, 2, 3)), num_attention_heads=heads, max_position_embeddings=64,
        tie_word_embeddings=d.random() < 0.5, pad_token_id=words.pad_token_id, bos_token_id=words.cls_token_id,
        eos_token_id=words.sep_token_id))
    return finish(d, model, cropped(vision["image_size"]), words, 0, "[SEP]", embed=1.0)._replace(
        parts=[words, cropped(vision["image_size"])])
