"""One maker for each family: a random checkpoint of its class, with what stands before the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Callable, NamedTuple

import torch
import transformers as tf
from transformers.models.florence2.configuration_florence2 import Florence2VisionConfig

from .draw import FIVE, Draw


class Made(NamedTuple):
    """A checkpoint before it is saved."""

    model: torch.nn.Module
    parts: list
    """Tokenizers, image processors or processors: saved into the same folder, or (part, folder)."""
    keys: dict = {}
    """Keys of generation_config.json."""
    text_keys: dict = {}
    """Keys of generation that config.json gets in the section of the language model."""
    section: str = "text_config"


class Kind(NamedTuple):
    """Checkpoints of one class."""

    make: Callable[[Draw], Made]
    task: str
    """write, match, sounds (to match), regions or hear."""


def pixels(cls, side, **more):
    """An image processor that stretches to a side, or to (height, width)."""
    height, width = side if isinstance(side, tuple) else (side, side)
    return cls(size={"height": height, "width": width}, **more)


def cropped(side: int, cls=tf.CLIPImageProcessor):
    return cls(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


def qformer(d: Draw, vocab: int, seen: int, **more) -> dict:
    heads, width = d.heads()
    return {"vocab_size": vocab, "hidden_size": width, "num_hidden_layers": d.choice((1, 2, 3)), "num_attention_heads": heads,
            "intermediate_size": d.randrange(20, 50), "encoder_hidden_size": seen, "max_position_embeddings": 64,
            "cross_attention_frequency": d.choice((1, 2))} | more


def opt(d: Draw, words) -> tf.OPTConfig:
    heads, width = d.heads()
    narrow = d.random() < 0.3
    return tf.OPTConfig(
        vocab_size=len(words) + 2, hidden_size=width, word_embed_proj_dim=width - 4 if narrow else width,
        do_layer_norm_before=not narrow, num_hidden_layers=d.choice((1, 2, 3)), ffn_dim=d.randrange(20, 50),
        num_attention_heads=heads, max_position_embeddings=160, pad_token_id=1, bos_token_id=2, eos_token_id=2,
        activation_function=d.choice(("relu", "gelu")), enable_bias=True)


def t5(d: Draw, words) -> tf.T5Config:
    return tf.T5Config(
        vocab_size=len(words) + 2, d_model=d.choice((20, 24, 32)), d_kv=d.choice((4, 6)), d_ff=d.randrange(20, 50),
        num_layers=(n := d.choice((1, 2))), num_decoder_layers=n, num_heads=d.choice((2, 3, 4)),
        feed_forward_proj=d.choice(("relu", "gated-gelu")), tie_word_embeddings=d.random() < 0.5,
        decoder_start_token_id=0, bos_token_id=1, eos_token_id=1, pad_token_id=0)


def causal(cls):
    """The language models of Llama's kind."""
    def make(d: Draw, words):
        more = d.rope(linear=cls is tf.LlamaConfig)
        values = d.language(words)
        if cls is tf.MistralConfig:
            more["sliding_window"] = d.choice((None, 5, 9))
        if cls is tf.Qwen2Config:
            more |= {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": d.choice((0, 1))}
        if cls is tf.PhiConfig:
            return tf.PhiConfig(**values, partial_rotary_factor=0.5)
        return cls(**values, **more)

    return make


LANGUAGES = {"opt": ("opt", opt), "t5": ("t5", t5), "llama": ("llama", causal(tf.LlamaConfig)),
             "mistral": ("llama", causal(tf.MistralConfig)), "qwen2": ("chat", causal(tf.Qwen2Config))}


def blip2(language: str, instruct: bool = False):
    name, config = LANGUAGES[language]

    def make(d: Draw) -> Made:
        words, vision, queries = d.tokenizer(name), d.vision(), d.choice((3, 5, 8))
        text = config(d, words)
        text.vocab_size = len(words) + d.choice((1, 4))  # the picture's places have an id
        second = d.tokenizer("bert", odd=False) if instruct else None
        kinds = (tf.InstructBlipVisionConfig, tf.InstructBlipQFormerConfig, tf.InstructBlipConfig,
                 tf.InstructBlipForConditionalGeneration) if instruct else (
                     tf.Blip2VisionConfig, tf.Blip2QFormerConfig, tf.Blip2Config, tf.Blip2ForConditionalGeneration)
        made = kinds[2](vision_config=kinds[0](**vision).to_dict(),
                        qformer_config=kinds[1](**qformer(d, len(second) if instruct else 30, vision["hidden_size"])).to_dict(),
                        text_config=text.to_dict(), num_query_tokens=queries, image_token_index=len(words))
        model = kinds[3](made)
        d.randomise(model, model.language_model)
        for n, p in model.language_model.named_parameters():
            if n.endswith("Attention.q.weight"):  # T5 does not scale its scores
                p.data *= 0.15
        keys = d.generation(0 if language == "t5" else queries + 18)
        parts = [words, pixels(tf.BlipImageProcessor, vision["image_size"])]
        if instruct:
            parts.append((second, "qformer_tokenizer"))
        file = d.random() < 0.5
        return Made(model, parts, keys if file else {}, {} if file else keys)

    return make


def blip2_match(d: Draw) -> Made:
    words, vision, queries = d.tokenizer("bert", odd=False), d.vision(), d.choice((3, 5))
    config = tf.Blip2Config(
        vision_config=tf.Blip2VisionConfig(**vision).to_dict(),
        qformer_config=tf.Blip2QFormerConfig(**qformer(d, len(words), vision["hidden_size"], use_qformer_text_input=True)).to_dict(),
        text_config=opt(d, words).to_dict(), num_query_tokens=queries, image_text_hidden_size=d.choice((12, 20)))
    config.image_token_index = None
    model = tf.Blip2ForImageTextRetrieval(config)
    d.randomise(model)
    return Made(model, [words, pixels(tf.BlipImageProcessor, vision["image_size"])])


def blip(cls):
    def make(d: Draw) -> Made:
        words, vision = d.tokenizer("bert", odd=cls is not tf.BlipForImageTextRetrieval), d.vision()
        heads, width = d.heads()
        if cls is tf.BlipForQuestionAnswering:
            heads, width = vision["num_attention_heads"], vision["hidden_size"]
        text = {"vocab_size": len(words), "hidden_size": width, "encoder_hidden_size": vision["hidden_size"],
                "intermediate_size": d.randrange(20, 50), "projection_dim": 24, "num_hidden_layers": d.choice((1, 2, 3)),
                "num_attention_heads": heads, "max_position_embeddings": 64, "is_decoder": True,
                "bos_token_id": words.convert_tokens_to_ids("[DEC]"), "pad_token_id": 0, "eos_token_id": 2, "sep_token_id": 3}
        model = cls(tf.BlipConfig(text_config=text, vision_config=tf.BlipVisionConfig(**vision, projection_dim=24).to_dict(), projection_dim=24,
                                  image_text_hidden_size=24))
        d.randomise(model, *([model.text_decoder] if hasattr(model, "text_decoder") else []), gain=1.6)
        keys = d.generation() if hasattr(model, "text_decoder") else {}
        return Made(model, [words, pixels(tf.BlipImageProcessor, vision["image_size"])], {}, keys)

    return make


def idefics(d: Draw) -> Made:
    words = d.tokenizer("llama", ("<fake_token_around_image>", "<image>"), odd=False)
    heads, width = d.heads()
    vision, resampled = d.vision(), d.random() < 0.5
    vision["embed_dim"] = vision.pop("hidden_size")
    model = tf.IdeficsForVisionText2Text(tf.IdeficsConfig(
        vocab_size=len(words) - 2, additional_vocab_size=2, hidden_size=width, intermediate_size=d.randrange(20, 50),
        num_hidden_layers=d.choice((2, 4)), num_attention_heads=heads, cross_layer_interval=d.choice((1, 2)),
        qk_layer_norms=d.random() < 0.5, use_resampler=resampled, alpha_type=d.choice(("vector", "float")),
        max_position_embeddings=160, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        tie_word_embeddings=False, vision_config=vision,
        perceiver_config={"use_resampler": resampled, "resampler_n_latents": d.choice((3, 5)), "resampler_depth": d.choice((1, 2)),
                          "resampler_n_heads": 3, "resampler_head_dim": 8, "qk_layer_norms_perceiver": d.random() < 0.5}))
    d.randomise(model, model.model.layers, model.lm_head)
    # beams fail with additional tokens in transformers itself
    return Made(model, [words, tf.IdeficsImageProcessor(image_size=vision["image_size"])], d.generation(40, beams=False))


def clip(d: Draw) -> Made:
    words, vision = d.tokenizer("clip", odd=False), d.vision()
    heads, width = d.heads()
    legacy = d.random() < 0.4
    model = tf.CLIPModel(tf.CLIPConfig(
        text_config={"vocab_size": len(words), "hidden_size": width, "intermediate_size": d.randrange(20, 50), "num_hidden_layers": d.choice((1, 2, 3)),
         "num_attention_heads": heads, "max_position_embeddings": d.choice((24, 32)), "hidden_act": d.choice(("quick_gelu", "gelu")),
         "eos_token_id": 2 if legacy else words.eos_token_id, "bos_token_id": words.bos_token_id},
        vision_config=vision, projection_dim=d.choice((12, 20)), logit_scale_init_value=d.choice((2.6592, 1.5))))
    d.randomise(model)
    return Made(model, [words, cropped(vision["image_size"])])


def siglip(d: Draw) -> Made:
    words, vision = d.tokenizer("t5", odd=False), d.vision()
    heads, width = vision["num_attention_heads"], vision["hidden_size"]
    words.model_max_length = d.choice((16, 24))
    model = tf.SiglipModel(tf.SiglipConfig(
        text_config={"vocab_size": len(words), "hidden_size": width, "intermediate_size": d.randrange(20, 50), "num_hidden_layers": d.choice((1, 2)),
         "num_attention_heads": heads, "max_position_embeddings": words.model_max_length, "projection_size": width,
         "eos_token_id": 1, "bos_token_id": 1, "pad_token_id": 0}, vision_config=vision))
    d.randomise(model)
    model.logit_scale.data.fill_(1.3)
    model.logit_bias.data.fill_(-1.0)
    return Made(model, [words, pixels(tf.SiglipImageProcessor, vision["image_size"])])


def naflex(d: Draw) -> Made:
    words = d.tokenizer("siglip2", odd=False)
    vision = d.vision(8)
    del vision["image_size"]
    vision["num_patches"] = d.choice((9, 16, 25))
    width = vision["hidden_size"]
    model = tf.Siglip2Model(tf.Siglip2Config(
        text_config={"vocab_size": len(words), "hidden_size": width, "intermediate_size": d.randrange(20, 50), "num_hidden_layers": d.choice((1, 2)),
                     "num_attention_heads": vision["num_attention_heads"], "max_position_embeddings": 64,
                     "projection_size": width, "eos_token_id": 1, "bos_token_id": 2, "pad_token_id": 0}, vision_config=vision))
    d.randomise(model)
    model.logit_scale.data.fill_(1.3)
    model.logit_bias.data.fill_(-1.0)
    return Made(model, [words, tf.Siglip2ImageProcessor(patch_size=8, max_num_patches=d.choice((20, 40)))])


def clap(d: Draw) -> Made:
    words = d.tokenizer("roberta", odd=False)
    heads, width = d.heads()
    fused, space = d.random() < 0.5, d.choice((12, 20))
    text = {"vocab_size": len(words), "hidden_size": width, "intermediate_size": d.randrange(20, 50), "num_hidden_layers": d.choice((1, 2)),
            "num_attention_heads": heads, "max_position_embeddings": 40, "projection_dim": space}
    # the extractor shrinks to 64 mels, and the class makes a square of them
    side, patch = d.choice(((64, 4), (128, 8)))
    deep, each = d.choice((1, 2)), d.choice((8, 12))
    sound = {"num_mel_bins": 64, "spec_size": side, "patch_size": patch, "patch_stride": [patch, patch], "window_size": d.choice((2, 4)),
             "patch_embeds_hidden_size": each, "hidden_size": each * 2 ** (deep - 1), "depths": [2] * deep, "num_attention_heads": [2] * deep,
             "projection_dim": space, "enable_fusion": fused, "num_classes": 4}
    model = tf.ClapModel(tf.ClapConfig(text_config=text, audio_config=sound, projection_dim=space))
    d.randomise(model)
    norm = model.audio_model.audio_encoder.batch_norm  # of decibels
    norm.running_mean.fill_(-25)
    norm.running_var.fill_(300)
    model.logit_scale_a.data.fill_(1.5)
    extractor = tf.ClapFeatureExtractor(
        sampling_rate=8000, hop_length=d.choice((256, 300)), max_length_s=1, fft_window_size=512,
        frequency_min=d.choice((0, 50)), frequency_max=3800, truncation="fusion" if fused else "rand_trunc",
        padding=d.choice(("repeatpad", "repeat", "pad")))
    return Made(model, [words, extractor])


def lxmert(d: Draw) -> Made:
    words = d.tokenizer("bert", odd=False)
    heads, width = d.heads()
    model = tf.LxmertForQuestionAnswering(tf.LxmertConfig(
        vocab_size=len(words), hidden_size=width, num_attention_heads=heads, num_qa_labels=d.choice((7, 12)), num_object_labels=5,
        num_attr_labels=5, intermediate_size=d.randrange(20, 50), max_position_embeddings=32, l_layers=d.choice((1, 2)),
        r_layers=d.choice((1, 2)), x_layers=d.choice((1, 2)), visual_feat_dim=16))
    d.randomise(model)
    return Made(model, [words])


def encdec(kind: str):
    def make(d: Draw) -> Made:
        name = {"vit-gpt2": "gpt2", "swin-gpt2": "gpt2", "trocr": "roberta", "donut": "donut"}[kind]
        words = d.tokenizer(name, odd=False)
        heads, width = d.heads()
        end = words.eos_token_id
        if kind in ("donut", "swin-gpt2"):
            size = d.choice(((32, 48), (48, 32))) if kind == "donut" else 32
            cls = tf.DonutSwinConfig if kind == "donut" else tf.SwinConfig
            seen = cls(image_size=list(size) if kind == "donut" else size, patch_size=4, embed_dim=d.choice((8, 16)), depths=[1, 2],
                       num_heads=[2, 2], window_size=d.choice((2, 3, 4)))
        else:
            seen = d.choice((tf.ViTConfig, tf.DeiTConfig))(**d.vision(patch=8, side=d.choice((16, 24, 32))))
            size = seen.image_size
        layers = d.choice((1, 2, 3))
        if name == "gpt2":
            text = tf.GPT2Config(vocab_size=len(words), n_positions=96, n_embd=width, n_layer=layers, n_head=heads, bos_token_id=end,
                                 eos_token_id=end, add_cross_attention=True, is_decoder=True)
        elif name == "roberta":
            text = tf.TrOCRConfig(vocab_size=len(words), d_model=width, decoder_layers=layers, decoder_attention_heads=heads,
                                  decoder_ffn_dim=d.randrange(20, 50), max_position_embeddings=96,
                                  cross_attention_hidden_size=seen.hidden_size, use_learned_position_embeddings=d.random() < 0.5,
                                  scale_embedding=d.random() < 0.5)
        else:
            text = tf.MBartConfig(vocab_size=len(words), d_model=width, decoder_layers=layers, decoder_attention_heads=heads,
                                  decoder_ffn_dim=d.randrange(20, 50), max_position_embeddings=96, is_decoder=True,
                                  add_cross_attention=True, is_encoder_decoder=False, scale_embedding=d.random() < 0.5)
        model = tf.VisionEncoderDecoderModel(tf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(seen, text))
        d.randomise(model, model.decoder)
        start = {"gpt2": end, "roberta": 2, "donut": 0}[name]
        keys = {"decoder_start_token_id": start, "pad_token_id": words.pad_token_id, "eos_token_id": end} | d.generation()
        cls = tf.DeiTImageProcessor if seen.model_type == "deit" else tf.ViTImageProcessor
        images = cls(size={"height": size, "width": size}, do_center_crop=False) if cls is tf.DeiTImageProcessor else pixels(cls, size)
        if kind == "donut":
            images = pixels(tf.DonutImageProcessor, size)
        return Made(model, [words, images], keys)

    return make


def mllama(d: Draw) -> Made:
    words = d.tokenizer("mllama", odd=False)
    image = words.convert_tokens_to_ids("<|image|>")
    tile, heads, layers = d.choice((16, 24)), d.choice((2, 4)), d.choice((3, 4))
    width = heads * d.choice((6, 8))
    vision = {"hidden_size": 16, "num_hidden_layers": d.choice((1, 2)), "num_global_layers": 1, "attention_heads": 2, "intermediate_size": 24,
              "vision_output_dim": 32, "image_size": tile, "patch_size": 8, "max_num_tiles": 4, "intermediate_layers_indices": [0]}
    text = {"vocab_size": image, "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": d.choice((1, 2)), "intermediate_size": d.randrange(20, 50), "max_position_embeddings": 256,
            "cross_attention_layers": d.choice(([1], [1, 2], [2])), "bos_token_id": words.bos_token_id,
            "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id, "tie_word_embeddings": False}
    rope = d.rope(linear=False)
    if not FIVE and "rope_scaling" not in rope:  # its class reads the key always
        rope["rope_scaling"] = {"rope_type": "default"}
    model = tf.MllamaForConditionalGeneration(tf.MllamaConfig(vision_config=vision, text_config=text | rope, image_token_index=image))
    d.randomise(model, model.model.language_model, model.lm_head, embed=1.0)
    images = tf.MllamaImageProcessor(size={"height": tile, "width": tile}, max_image_tiles=4)
    return Made(model, [tf.MllamaProcessor(images, words, chat_template=words.chat_template)],
                {"eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id} | d.generation(50))


def bridgetower(contrastive: bool):
    def make(d: Draw) -> Made:
        words = d.tokenizer("roberta", odd=False)
        width = 64 if contrastive else d.choice((24, 32))
        size, layers = d.choice((24, 32)), d.choice((2, 3))
        config = tf.BridgeTowerConfig(
            hidden_size=width, num_hidden_layers=2, num_attention_heads=width // 8, intermediate_size=d.randrange(20, 50),
            contrastive_hidden_size=16, logit_scale_init_value=d.choice((2.5, 1.0)),
            text_config={"vocab_size": len(words), "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": width // 8,
                         "intermediate_size": d.randrange(20, 50), "max_position_embeddings": 40, "pad_token_id": 1},
            vision_config={"hidden_size": 64, "num_hidden_layers": layers, "patch_size": 8, "image_size": size})
        cls = tf.BridgeTowerForContrastiveLearning if contrastive else tf.BridgeTowerForImageAndTextRetrieval
        model = cls(config)
        d.randomise(model)
        # 5 crops to 288 unless told, 4.57 to the size
        crop = {"crop_size": {"shortest_edge": size}} if FIVE else {}
        return Made(model, [words, tf.BridgeTowerImageProcessor(size={"shortest_edge": size}, size_divisor=8, **crop)])

    return make


def florence(d: Draw) -> Made:
    words = d.tokenizer("bart", odd=False)
    heads, width = d.choice((2, 4)), d.choice((24, 32))
    side, layers = d.choice((32, 40)), d.choice((1, 2))
    text = tf.BartConfig(
        vocab_size=len(words), d_model=width, encoder_layers=d.choice((1, 2)), decoder_layers=layers, encoder_attention_heads=heads,
        decoder_attention_heads=heads, encoder_ffn_dim=d.randrange(20, 50), decoder_ffn_dim=d.randrange(20, 50),
        max_position_embeddings=128, scale_embedding=d.random() < 0.5)
    vision = Florence2VisionConfig(
        depths=[1, 1], patch_size=[7, 3], patch_stride=[4, 2], patch_padding=[3, 1], patch_prenorm=[False, True],
        embed_dim=[8, 16], num_heads=[2, 2], num_groups=[2, 2], window_size=d.choice((3, 4)), projection_dim=width)
    image = words.convert_tokens_to_ids("<image>")
    model = tf.Florence2ForConditionalGeneration(tf.Florence2Config(
        text_config=text.to_dict(), vision_config=vision.to_dict(), image_token_id=image))
    d.randomise(model, model.model.language_model, gain=1.6)
    keys = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "decoder_start_token_id": 2, "forced_bos_token_id": 0,
            "forced_eos_token_id": 2} | d.generation()
    return Made(model, [words, pixels(tf.CLIPImageProcessor, side, do_center_crop=False)], keys)


def whisper(d: Draw) -> Made:
    """As real ones are laid out, with languages and without: texts' tokens before the end, times behind all."""
    languages = d.choice(([], ["en", "de", "fr"]))
    words = d.fixed("whisper-languages" if languages else "whisper-english")
    token, heads, times = words.convert_tokens_to_ids, d.choice((2, 4)), 1501
    mels, width = d.choice((40, 80, 128)), heads * d.choice((8, 12))
    end = token("<|endoftext|>")
    shared = {"decoder_start_token_id": token("<|startoftranscript|>"), "pad_token_id": end, "bos_token_id": end, "eos_token_id": end}
    model = tf.WhisperForConditionalGeneration(tf.WhisperConfig(
        vocab_size=len(words) + times, num_mel_bins=mels, encoder_layers=d.choice((1, 2)), encoder_attention_heads=heads,
        decoder_layers=d.choice((1, 2, 3)), decoder_attention_heads=heads, d_model=width, encoder_ffn_dim=d.randrange(20, 50),
        decoder_ffn_dim=d.randrange(20, 50), max_source_positions=1500, max_target_positions=64,
        scale_embedding=d.random() < 0.3, suppress_tokens=None, begin_suppress_tokens=None, **shared))
    d.randomise(model, model.model.decoder, gain=1.8)
    none = token("<|notimestamps|>")
    with torch.no_grad():  # a text ends, and is of words
        table = model.model.decoder.embed_tokens.weight
        table[end] *= 1.6
        table[end + 1:] *= 0.3
    marks = [token(f"<|{w}|>") for w in ("startoftranscript", "translate", "transcribe", "startoflm", "startofprev", "nospeech")]
    keys = shared | {"_from_model_config": False, "max_length": 64, "is_multilingual": bool(languages), "no_timestamps_token_id": none,
                     "prev_sot_token_id": token("<|startofprev|>"), "max_initial_timestamp_index": 50, "return_timestamps": False,
                     "suppress_tokens": sorted({d.randrange(2, end) for _ in range(9)} | set(marks)),
                     "begin_suppress_tokens": [token("\u0120"), end]}
    if languages:
        keys |= {"lang_to_id": {f"<|{w}|>": token(f"<|{w}|>") for w in languages},
                 "task_to_id": {w: token(f"<|{w}|>") for w in ("translate", "transcribe")}}
    if d.random() < 0.4:
        keys["num_beams"] = d.choice((2, 3))
    return Made(model, [words, tf.WhisperFeatureExtractor(feature_size=mels)], keys)


def pix2struct(d: Draw) -> Made:
    words = d.tokenizer("t5", odd=False)
    heads, each, patch, most = d.choice((2, 4)), d.choice((6, 8)), d.choice((8, 10)), d.choice((24, 40))
    sizes = {"hidden_size": heads * each, "d_kv": each, "d_ff": d.randrange(30, 60), "num_heads": heads}
    text = sizes | {"vocab_size": len(words) + d.choice((0, 3)), "num_layers": d.choice((1, 2)), "relative_attention_num_buckets": 8,
                    "relative_attention_max_distance": 20, "tie_word_embeddings": d.random() < 0.3}
    vision = {k: v for k, v in sizes.items() if k != "num_heads"} | {
        "patch_embed_hidden_size": 3 * patch * patch, "num_hidden_layers": d.choice((1, 2)), "num_attention_heads": heads, "seq_len": most + 8}
    model = tf.Pix2StructForConditionalGeneration(tf.Pix2StructConfig(text_config=text, vision_config=vision))
    d.randomise(model, gain=1.5)
    for layer in model.decoder.layer:
        layer.encoder_decoder_attention.attention.output.weight.data *= 2  # or the picture says little
    images = tf.Pix2StructImageProcessor(patch_size={"height": patch, "width": patch}, max_patches=most)
    keys = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0} | d.generation()
    return Made(model, [words, images], keys)


def vilt(d: Draw) -> Made:
    words = d.tokenizer("bert", odd=False)
    heads, width = d.heads()
    patch, count = d.choice((6, 8)), d.choice((5, 9))
    answers = {i: f"answer {i}" for i in range(count)}
    model = tf.ViltForQuestionAnswering(tf.ViltConfig(
        vocab_size=len(words), hidden_size=width, num_hidden_layers=d.choice((1, 2, 3)), num_attention_heads=heads,
        intermediate_size=d.randrange(20, 50), image_size=patch * d.choice((3, 4)), patch_size=patch, max_position_embeddings=40,
        qkv_bias=d.random() < 0.7, id2label=answers, label2id={a: i for i, a in answers.items()}))
    d.randomise(model)
    return Made(model, [words, tf.ViltImageProcessor(size={"shortest_edge": patch * 4}, size_divisor=patch)])


def save(made: Made, folder: Path, saving: dict) -> None:
    """Write a checkpoint as this version of transformers does, and add the keys of generation."""
    made.model.eval().to(saving["dtype"]).save_pretrained(folder, **saving["how"])
    for part in made.parts:
        part, place = part if isinstance(part, tuple) else (part, ".")
        part.save_pretrained(folder / place)
    if made.text_keys:
        config = json.loads((folder / "config.json").read_text())
        config[made.section] |= made.text_keys
        (folder / "config.json").write_text(json.dumps(config, indent=1))
    if made.keys:
        file = folder / "generation_config.json"
        keys = json.loads(file.read_text()) if file.is_file() else {}
        file.write_text(json.dumps(keys | made.keys, indent=1))
