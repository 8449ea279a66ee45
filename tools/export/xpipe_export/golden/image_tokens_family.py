"""Golden files of models whose prompt has rows of pictures in the place of tokens: LLaVA, LLaVA-NeXT,
LLaVA-OneVision, Idefics2, Idefics3, SmolVLM, Qwen2-VL, Qwen2.5-VL, PaliGemma, Gemma 3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Callable, NamedTuple

import torch
import transformers as tf
from tokenizers import AddedToken
from torch import nn

from ..families import idefics2, idefics3, image_tokens
from . import core, decoders, tokens
from .blip_family import QUESTIONS, load_images
from .core import Golden
from .decoders import llama, say

VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
          "image_size": 32, "patch_size": 8}
PALIGEMMA_TEXT = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                      head_dim=16, max_position_embeddings=512, hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=False)
SIGLIP = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8)
GEMMA3 = ("{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + message['role'] + '\n' }}"
          "{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}{% for item in message['content'] %}"
          "{% if item['type'] == 'image' %}{{ '<start_of_image>' }}{% elif item['type'] == 'text' %}{{ item['text'] | trim }}"
          "{% endif %}{% endfor %}{% endif %}{{ '<end_of_turn>\n' }}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}")


def llava() -> tuple:
    tokenizer = tokens.llama(extra=["<image>"])
    config = tf.LlavaConfig(
        vision_config=tf.CLIPVisionConfig(**VISION, projection_dim=32), text_config=llama(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"), image_seq_length=16,
        vision_feature_layer=-2)
    processor = tf.LlavaProcessor(
        tf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        tokenizer, patch_size=8, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=decoders.LLAVA)
    return tf.LlavaForConditionalGeneration(config), processor, tokenizer.eos_token


def llava_next() -> tuple:
    """Squares of 24 pixels: two beside or above each other, or four; 3 x 3 rows each."""
    tokenizer = tokens.llama(extra=["<image>"])
    pinpoints = [[24, 48], [48, 24], [48, 48]]
    config = tf.LlavaNextConfig(
        vision_config=tf.CLIPVisionConfig(**VISION | {"image_size": 24}, projection_dim=32),
        text_config=llama(tokenizer, intermediate_size=32),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"), image_grid_pinpoints=pinpoints)
    processor = tf.LlavaNextProcessor(
        tf.LlavaNextImageProcessor(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24},
                                   image_grid_pinpoints=pinpoints),
        tokenizer, patch_size=8, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=decoders.LLAVA)
    return tf.LlavaNextForConditionalGeneration(config), processor, tokenizer.eos_token


def onevision() -> tuple:
    """As llava_next, with no more rows of squares than three of them have."""
    tokenizer = tokens.llama(extra=["<image>", "<video>", "<|im_start|>", "<|im_end|>"])
    pinpoints = [[24, 48], [48, 24], [48, 48]]
    token = tokenizer.convert_tokens_to_ids
    text = tf.Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=False, eos_token_id=token("<|im_end|>"))
    config = tf.LlavaOnevisionConfig(
        vision_config=SIGLIP | {"image_size": 24, "model_type": "siglip_vision_model", "vision_use_head": False},
        text_config=text.to_dict(), image_token_index=token("<image>"), video_token_index=token("<video>"),
        image_grid_pinpoints=pinpoints, vision_aspect_ratio="anyres_max_3", tie_word_embeddings=False)
    size = {"height": 24, "width": 24}
    processor = tf.LlavaOnevisionProcessor(
        tf.LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=pinpoints), tokenizer,
        tf.LlavaOnevisionVideoProcessor(size=size), num_image_tokens=9, vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_3", chat_template=decoders.ONEVISION)
    return tf.LlavaOnevisionForConditionalGeneration(config), processor, "<|im_end|>"


def tiles(smol: bool) -> tuple:
    places = [f"<row_{r}_col_{c}>" for r in range(1, 4) for c in range(1, 4)]
    extra = ["<|im_start|>", "<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"]
    tokenizer = tokens.llama(extra=[*extra, *places])
    size = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}
    shared = dict(
        vision_config=VISION, image_token_id=tokenizer.convert_tokens_to_ids("<image>"), scale_factor=2,
        text_config=llama(tokenizer, head_dim=16, tie_word_embeddings=smol).to_dict(),
        pad_token_id=tokenizer.pad_token_id, tie_word_embeddings=smol)
    if smol:
        processor = tf.SmolVLMProcessor(tf.SmolVLMImageProcessor(**size), tokenizer,
                                        tf.SmolVLMVideoProcessor(**size), image_seq_len=4,
                                        chat_template=decoders.SMOLVLM)
        model = tf.SmolVLMForConditionalGeneration(tf.SmolVLMConfig(**shared))
    else:
        processor = tf.Idefics3Processor(tf.Idefics3ImageProcessor(**size), tokenizer,
                                         image_seq_len=4, chat_template=decoders.SMOLVLM)
        model = tf.Idefics3ForConditionalGeneration(tf.Idefics3Config(**shared))
    return model, processor, "<end_of_utterance>"


def quarters() -> tuple:
    """Pictures of at most 56 pixels a side, in which patches of 8 do not go up; 5 x 5 places."""
    tokenizer = tokens.llama(extra=["<fake_token_around_image>", "<image>", "<end_of_utterance>"])
    text = tf.MistralConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, sliding_window=24, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    config = tf.Idefics2Config(
        vision_config=VISION | {"image_size": 40}, text_config=text.to_dict(),
        perceiver_config={"hidden_size": 32, "resampler_n_latents": 3, "resampler_depth": 2, "resampler_n_heads": 4,
                          "resampler_head_dim": 8, "num_key_value_heads": 2, "rms_norm_eps": 1e-6},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"), tie_word_embeddings=False)
    processor = tf.Idefics2Processor(
        tf.Idefics2ImageProcessor(size={"shortest_edge": 28, "longest_edge": 56}, do_image_splitting=True),
        tokenizer, image_seq_len=3, chat_template=decoders.IDEFICS2)
    return tf.Idefics2ForConditionalGeneration(config), processor, "<end_of_utterance>"


def qwen(newer: bool) -> tuple:
    tokenizer = tf.Qwen2TokenizerFast(tokenizer_object=decoders.chat_tokenizer().backend_tokenizer,
                                      eos_token="<|im_end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": [
        AddedToken(t, normalized=False, special=True) for t in
        ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")]})
    token = tokenizer.convert_tokens_to_ids
    text = {k: v for k, v in llama(tokenizer, tie_word_embeddings=not newer).to_dict().items()
            if k not in ("model_type", "architectures", "head_dim")}
    shared = dict(
        text_config=text | {"rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}},
        tie_word_embeddings=not newer, image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"), vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"))
    vision = {"num_heads": 2, "patch_size": 8, "spatial_merge_size": 2, "temporal_patch_size": 2}
    images = tf.Qwen2VLImageProcessor(min_pixels=16 * 16, max_pixels=56 * 56, patch_size=8)
    kinds = (tf.Qwen2_5_VLProcessor, tf.Qwen2_5_VLConfig, tf.Qwen2_5_VLForConditionalGeneration)
    if newer:  # windows of 2 x 2 rows in the first layer
        vision |= {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 32,
                   "window_size": 32, "fullatt_block_indexes": [1]}
    else:
        kinds = (tf.Qwen2VLProcessor, tf.Qwen2VLConfig, tf.Qwen2VLForConditionalGeneration)
        vision |= {"depth": 2, "embed_dim": 32, "mlp_ratio": 2, "hidden_size": 32}
    processor = kinds[0](images, tokenizer, tf.Qwen2VLVideoProcessor(), chat_template=decoders.QWEN2VL)
    return kinds[2](kinds[1](vision_config=vision, **shared)), processor, "<|im_end|>"


def paligemma() -> tuple:
    plain = tokens.llama(extra=["<image>"])
    tokenizer = tf.GemmaTokenizerFast(tokenizer_object=plain.backend_tokenizer, bos_token=plain.bos_token,
                                      eos_token=plain.eos_token, unk_token=plain.unk_token,
                                      pad_token=plain.pad_token, padding_side="left")
    text = PALIGEMMA_TEXT | {"tie_word_embeddings": True}
    text = tf.GemmaConfig(vocab_size=len(tokenizer), bos_token_id=1, eos_token_id=2, pad_token_id=0, **text)
    images = tf.SiglipImageProcessor(size={"height": 32, "width": 32})
    images.image_seq_length = 16
    config = tf.PaliGemmaConfig(
        text_config=text.to_dict(), projection_dim=32, hidden_size=32,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_config=dict(SIGLIP, projection_dim=32, model_type="siglip_vision_model"))
    return tf.PaliGemmaForConditionalGeneration(config), tf.PaliGemmaProcessor(images, tokenizer), tokenizer.eos_token


def gemma3() -> tuple:
    tokenizer = tokens.llama(extra=["<start_of_image>", "<image_soft_token>", "<end_of_image>",
                                    "<start_of_turn>", "<end_of_turn>"])
    token = tokenizer.convert_tokens_to_ids
    for name, word in (("boi_token", "<start_of_image>"), ("image_token", "<image_soft_token>"),
                       ("eoi_token", "<end_of_image>")):
        setattr(tokenizer, name, word)
    tokenizer.image_token_id = token("<image_soft_token>")
    # a window that these texts are longer than, in one layer of two
    text = PALIGEMMA_TEXT | {"tie_word_embeddings": True, "sliding_window": 16, "query_pre_attn_scalar": 16,
                             "layer_types": ["sliding_attention", "full_attention"]}
    text = tf.Gemma3TextConfig(vocab_size=len(tokenizer), bos_token_id=1, eos_token_id=2, pad_token_id=0, **text)
    config = tf.Gemma3Config(
        text_config=text.to_dict(), mm_tokens_per_image=4,
        vision_config=dict(SIGLIP, model_type="siglip_vision_model"),
        image_token_index=token("<image_soft_token>"), boi_token_index=token("<start_of_image>"),
        eoi_token_index=token("<end_of_image>"))
    processor = tf.Gemma3Processor(tf.Gemma3ImageProcessor(size={"height": 32, "width": 32}), tokenizer,
                                   image_seq_length=4, chat_template=GEMMA3)
    return tf.Gemma3ForConditionalGeneration(config), processor, "<end_of_turn>"


def unplaced(folder: Path) -> None:
    """Drop PaliGemma's thousand places from the tokenizer, which are most of the folder."""
    def kept(word: str) -> bool:
        return not word.startswith(("<loc", "<seg"))

    path = folder / "tokenizer.json"
    made = json.loads(path.read_text())
    made["added_tokens"] = [t for t in made["added_tokens"] if kept(t["content"])]
    path.write_text(json.dumps(made, ensure_ascii=False) + "\n")
    path = folder / "tokenizer_config.json"
    made = json.loads(path.read_text())
    made["added_tokens_decoder"] = {i: t for i, t in made["added_tokens_decoder"].items() if kept(t["content"])}
    path.write_text(json.dumps(made, ensure_ascii=False) + "\n")


class Case(NamedTuple):
    """A model to make golden files of."""

    make: Callable[[], tuple]
    """The model, its processor and the token that ends an answer."""
    caption: str
    """What a request for a caption says."""
    gain: float = 1.5
    """Of random matrices: more of it makes texts less dull."""
    embed: float = 1.0
    """Of embeddings: where they are the head's, too, a model with large ones repeats itself."""
    several: bool = True
    """Whether a prompt may have several pictures."""


CASES = {
    "llava": Case(llava, "Describe the image."),
    "llava-next": Case(llava_next, "Describe the image."),
    "llava-onevision": Case(onevision, "Describe the image."),
    "idefics2": Case(quarters, "Describe the image."),
    "idefics3": Case(lambda: tiles(False), "Describe the image."),
    "smolvlm": Case(lambda: tiles(True), "Describe the image."),
    "qwen2-vl": Case(lambda: qwen(False), "Describe this image.", 2.0, 0.3),
    "qwen2_5-vl": Case(lambda: qwen(True), "Describe this image."),
    "paligemma": Case(paligemma, "caption en", 2.0, 0.1, several=False),
    "gemma3": Case(gemma3, "Describe this image in detail.", 2.0, 0.1),
}


def conversations(case: Case) -> list:
    """Prompts with the numbers of their pictures: a caption, an answer, several turns and pictures,
    and no picture."""
    return [([say("user", None, case.caption)], [0]),
            ([say("user", None, QUESTIONS[0])], [1]),
            *decoders.SEEN[2:]]


def generation(kind: str):
    """The maker of golden files of one of CASES."""
    case = CASES[kind]

    def make(seed: int, checkpoint: Path, golden: Golden, images: list[Path]) -> None:
        model, processor, end = case.make()
        tokenizer = processor.tokenizer
        tokenizer.padding_side = "left"
        core.randomise(model, seed, gain=case.gain, embed=case.embed)
        for p in model.parameters():
            if p.dim() == 5:  # a patch of three dimensions, which randomise takes for a norm's
                p.data.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(seed))
                             / p[0].numel() ** 0.5)
        model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(end)
        model.generation_config.pad_token_id = tokenizer.pad_token_id
        core.save_rounded(model, checkpoint)
        processor.save_pretrained(checkpoint)
        if kind == "paligemma":
            unplaced(checkpoint)
        model = type(model).from_pretrained(checkpoint, attn_implementation="eager").eval()
        if kind in ("idefics3", "smolvlm"):
            idefics3.settle(model)
        if kind == "idefics2":
            idefics2.settle(model)
        pictures = load_images(images)
        which = [[0], [1, 0] if case.several else [1], [2]]
        texts = [_text(processor, case, QUESTIONS[i], len(which[i])) for i in range(core.ROWS)]

        def encode(rows):
            begins = tokenizer.bos_token and texts[0].startswith(tokenizer.bos_token)
            bare = {"add_special_tokens": False} if begins else {}
            made = processor(text=[texts[r] for r in rows], return_tensors="pt", padding=True, **bare,
                             images=[[pictures[i] for i in which[r]] for r in rows])
            made.pop("num_crops", None)
            return made

        def generate(rows, **parameters):
            inputs = encode(rows)
            if kind in ("llava", "llava-next", "llava-onevision", "gemma3"):
                _beams_keep_pictures(model, [len(which[r]) for r in rows])
            out = model.generate(**inputs, **parameters)
            return out.sequences[:, inputs["input_ids"].shape[1]:], out

        core.generations(golden, generate, lambda ids: tokenizer.decode(ids, skip_special_tokens=True))
        if case.several:
            golden.data["chat"] = decoders.seeing(model, processor, images, conversations(case), [])
        else:
            golden.data["chat"] = {"rows": _plain(model, processor, images, case)}
        golden.data["rows"], parts = [], []
        for r in range(core.ROWS):
            row = {"text": texts[r], "input_ids": encode([r])["input_ids"][0].tolist(), "pixels": []}
            names = [f"../images/{images[i].name}" for i in which[r]]
            row |= {"image": names[0]} if len(names) == 1 else {"prompt": [*names, texts[r]]}
            for i in which[r]:
                made = processor.image_processor([pictures[i]], return_tensors="pt")
                pixels = made["pixel_values"]
                pixels = pixels.flatten(0, 1) if pixels.dim() == 5 else pixels
                if kind == "idefics2":
                    row.setdefault("shown", []).append(image_tokens.shown(made["pixel_attention_mask"][0]))
                if kind == "llava-onevision":
                    pixels = torch.cat([pixels, image_tokens.among_others(processor.image_processor, pictures[i])])
                start = sum(len(p) for p in parts)
                parts.append(pixels)
                row["pixels"].append([start, start + len(pixels)])
                if "image_sizes" in made:
                    row.setdefault("sizes", []).append(made["image_sizes"][0].tolist())
                if "image_grid_thw" in made:
                    row.setdefault("grids", []).append(made["image_grid_thw"][0].tolist())
            golden.data["rows"].append(row)
        size = [max(p.shape[i] for p in parts) for i in (-1, -2)]  # parts of a smaller one are padded
        if parts[0].dim() == 4:
            parts = [nn.functional.pad(p, (0, size[0] - p.shape[-1], 0, size[1] - p.shape[-2])) for p in parts]
        golden.shared("pixel_values", torch.cat(parts), images[0].parent)

    return make


def _beams_keep_pictures(model, counts: list[int]) -> None:
    """Repeat a prompt's pictures as a whole for its beams: transformers 4.57.6 repeats each by itself,
    so that the beams of a prompt with two pictures see other ones. counts is of each prompt."""
    def expand(expand_size=1, is_encoder_decoder=False, input_ids=None, **inputs):
        kept = {n: inputs.pop(n) for n in ("pixel_values", "image_sizes") if n in inputs and expand_size > 1}
        ids, inputs = type(model)._expand_inputs_for_generation(expand_size, is_encoder_decoder, input_ids, **inputs)
        return ids, inputs | {n: torch.cat([p for own in values.split(counts) for p in [own] * expand_size])
                              for n, values in kept.items()}

    model._expand_inputs_for_generation = expand


def _text(processor, case: Case, question: str, count: int) -> str:
    if not case.several:
        return "<image>" * count + f"answer en {question}"
    return processor.apply_chat_template([say("user", *[None] * count, question)], add_generation_prompt=True)


def _plain(model, processor, images: list[Path], case: Case) -> list[dict]:
    """Rows of a model without conversations."""
    rows, gaps = [], []
    pictures = load_images(images)
    for text, i in ((case.caption, 0), (f"answer en {QUESTIONS[0]}", 1)):
        given = processor(text=["<image>" + text], images=[[pictures[i]]], return_tensors="pt")
        ids = given.pop("input_ids")[0].tolist()
        given.pop("attention_mask")
        new, gap = decoders.greedy(model, ids, **given)
        rows.append({"prompt": "<image>" + text, "images": [images[i].name], "input_ids": ids, "ids": new})
        gaps.append(gap)
    if min(gaps) < core.MIN_GAP or any(len(set(r["ids"])) < 4 for r in rows):
        raise core.Unsuitable(f"gap {min(gaps):.2g}")
    return rows
