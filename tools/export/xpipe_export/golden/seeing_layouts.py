"""python -m xpipe_export.golden.seeing_layouts [--out DIR] [--only NAME ...]: models that see, one
folder a kind, as transformers.js lays them out, with the ids that PyTorch's generate gives and, for
files of other types, those that ONNX Runtime gives on the same files.

Tiny seeded models of the real classes; decoders.py has the first of them, and most helpers.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
import transformers as tf
from PIL import Image
from tokenizers import AddedToken
from torch import nn

from ..families import causal
from ..graph import GraphSpec, export_graph
from . import blip_family, core, decoders, tokens
from .decoders import NEW, Tiles, clean, configurations, greedy, llama, positions_in_order, say, three_graphs
from .encdec_layouts import variant
from .image_tokens_family import GEMMA3, PALIGEMMA_TEXT, SIGLIP, unplaced

DOCLING = ("{% for message in messages %}{{ '<|start_of_role|>' + message['role'] + '<|end_of_role|>' }}"
           "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
           "{% if part['type'] == 'text' %}{{ part['text'] }}{% elif part['type'] == 'image' %}{{ '<image>' }}{% endif %}"
           "{% endfor %}{% endif %}{{ '<|end_of_text|>\n' }}{% endfor %}"
           "{% if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}")

# pictures by the names of testdata/families/images; NAME@WxH is its upper left part
SHAPES = ["figure0.png", "figure1.png", "figure2.png", "figure2.png@96x14", "figure1.png@9x71", "figure0.png@6x5"]


def picture(images: list[Path], name: str) -> Image.Image:
    file, _, size = name.partition("@")
    made = Image.open(next(i for i in images if i.name == file)).convert("RGB")
    return made.crop((0, 0, *map(int, size.split("x")))) if size else made


STEPS = {"quantized": 0.1, "fp16": 0.05, "q4f16": 0.05, "q4": core.MIN_GAP}
"""Logits that are nearer than this may be swapped by another engine."""


class Graphs:
    """A folder's three graphs on ONNX Runtime, decoded greedily from a processor's inputs."""

    def __init__(self, folder: Path, suffix: str, image_token: int, first: int = 0):
        self.token, self.first = image_token, first
        self.vision, self.embed, self.decoder = (
            self.session(folder / "onnx" / f"{n}{suffix}.onnx")
            for n in ("vision_encoder", "embed_tokens", "decoder_model_merged"))

    @staticmethod
    def session(path: Path) -> ort.InferenceSession:
        # the default level cannot open some float16 files (microsoft/onnxruntime#26717), none no others
        for level in (ort.GraphOptimizationLevel.ORT_ENABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
                      ort.GraphOptimizationLevel.ORT_DISABLE_ALL):
            options = ort.SessionOptions()
            options.graph_optimization_level, options.log_severity_level = level, 4
            try:
                return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            except ort.capi.onnxruntime_pybind11_state.Fail as e:
                error = e
        raise error

    @staticmethod
    def feed(session: ort.InferenceSession, given: dict) -> dict:
        kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64, "tensor(bool)": bool}
        return {i.name: np.asarray(given[i.name]).astype(kinds[i.type]) for i in session.get_inputs()}

    def features(self, pixels: list[dict]) -> np.ndarray:
        rows = [self.vision.run(["image_features"], self.feed(self.vision, p))[0] for p in pixels]
        return np.concatenate([r.reshape(-1, r.shape[-1]) for r in rows]).astype(np.float32)

    def greedy(self, ids: list[int], pixels: list[dict], ends: list[int], places: np.ndarray | None = None) -> tuple[list, list]:
        embeds = self.embed.run(None, {"input_ids": np.array([ids])})[0].astype(np.float32)
        if pixels:
            embeds[0, np.array(ids) == self.token] = self.features(pixels)
        past = {}
        for i in self.decoder.get_inputs():
            if i.name.startswith("past"):
                kind = np.float16 if "16" in i.type else np.float32
                past[i.name] = np.zeros([d if isinstance(d, int) else 1 if k == 0 else 0 for k, d in enumerate(i.shape)], kind)
        names, new, gaps, at = [o.name for o in self.decoder.get_outputs()], [], [], 0
        for _ in range(NEW):
            length = embeds.shape[1]
            position = np.arange(at, at + length)[None] + self.first
            if places is not None:
                position = places if at == 0 else np.full((3, 1, 1), places.max() + 1 + at - len(ids))
            at += length
            out = dict(zip(names, self.decoder.run(None, self.feed(self.decoder, past | {
                "inputs_embeds": embeds, "attention_mask": np.ones((1, at)), "position_ids": position, "num_logits_to_keep": 1}))))
            past = {n: out[n.replace("past_key_values", "present").replace("past_conv", "present_conv")] for n in past}
            last = out["logits"][0, -1].astype(np.float64)
            best = np.sort(last)
            gaps.append(best[-1] - best[-2])
            new.append(int(last.argmax()))
            if new[-1] in ends:
                return new[:-1], gaps
            embeds = self.embed.run(None, {"input_ids": np.array([new[-1:]])})[0].astype(np.float32)
        return new, gaps


class Rows:
    """Prompts with pictures, and what PyTorch writes for them."""

    def __init__(self, model, processor, images: list[Path]):
        self.model, self.processor, self.images = model, processor, images
        self.rows, self.given, self.gaps = [], [], []

    def add(self, text: str, which: list[str], **row) -> None:
        pictures = [picture(self.images, n) for n in which]
        given = self.inputs(text, pictures)
        ids = given.pop("input_ids")[0].tolist()
        extra = {k: v for k, v in given.items() if k != "attention_mask"}
        new, gap = self.generate(ids, extra)
        self.rows.append(row | {"images": which, "text": text, "input_ids": ids, "ids": new})
        self.gaps.append(gap)
        # each picture for itself, as the graphs take them
        self.given.append([self.pixels(text, p) for p in pictures])

    def inputs(self, text, pictures) -> dict:
        # as apply_chat_template of processing_utils.py does where it tokenizes, too
        begin = self.processor.tokenizer.bos_token
        bare = {"add_special_tokens": False} if begin and text.startswith(begin) else {}
        return dict(self.processor(text=[text], images=pictures or None, return_tensors="pt", **bare))

    def generate(self, ids: list[int], extra: dict) -> tuple[list[int], float]:
        return greedy(self.model, ids, **extra)

    def pixels(self, text: str, alone: Image.Image) -> dict:
        return {k: v.numpy() for k, v in self.processor.image_processor([alone], return_tensors="pt").items()
                if isinstance(v, torch.Tensor)}

    def talk(self, chats: list) -> None:
        for chat, which in chats:
            self.add(self.processor.apply_chat_template(chat, add_generation_prompt=True), which, messages=chat)

    def check(self) -> None:
        dull = sum(len(set(r["ids"])) < 4 for r in self.rows)
        if min(self.gaps) < core.MIN_GAP or dull > 1:
            raise core.Unsuitable(f"gap {min(self.gaps):.2g}, {dull} dull")
        if len({tuple(r["ids"]) for r in self.rows}) < len(self.rows):
            raise core.Unsuitable("rows alike")

    def store(self, folder: Path, kind: str) -> None:
        store(folder, kind)

    def graphs(self, folder: Path, suffix: str, token: int, first: int):
        return Graphs(folder, suffix, token, first)

    def of_variants(self, folder: Path, kinds: list[str], token: int, first: int = 0, places=None) -> dict:
        """Write files of other types, and what ONNX Runtime makes of them."""
        end = self.model.generation_config.eos_token_id
        ends = end if isinstance(end, list) else [end]
        made = {}
        for kind in ["", *kinds]:
            if kind:
                self.store(folder, kind)
            graphs = self.graphs(folder, f"_{kind}" if kind else "", token, first)
            written = [graphs.greedy(r["input_ids"], p, ends, places and places(r["input_ids"], p))
                       for r, p in zip(self.rows, self.given)]
            if kind:
                # Another engine may swap near logits: only what comes before a near tie is the same everywhere.
                written = [(new[:next((i for i, g in enumerate(gaps) if g < STEPS[kind]), NEW)], np.inf)
                           for new, gaps in written]
                if sum(len(w[0]) for w in written) < 4 * len(written):
                    raise core.Unsuitable(f"{kind}: near ties")
            else:
                written = [(new, min(gaps)) for new, gaps in written]
            if not kind and [w[0] for w in written] != [r["ids"] for r in self.rows]:
                raise RuntimeError(f"ONNX Runtime differs from PyTorch: {written} {self.rows}")
            if min(w[1] for w in written) < core.MIN_GAP:
                raise core.Unsuitable(f"{kind}: gap {min(w[1] for w in written):.2g}")
            made[kind] = [w[0] for w in written]
        del made[""]
        return made


def store(folder: Path, kind: str) -> None:
    """Write every graph of a folder as another type, as transformers.js' scripts do."""
    for path in sorted((folder / "onnx").glob("*.onnx")):
        if any(path.stem.endswith(f"_{k}") for k in ("fp16", "quantized", "q4", "q4f16")):
            continue
        target = path.with_name(f"{path.stem}_{kind}.onnx")
        if kind == "q4f16":
            variant("q4", path, target)
            variant("fp16", target, target)
        else:
            variant(kind, path, target)


def whole(tokenizer) -> int:
    """The vocabulary in whole blocks: onnxruntime 1.24.4 sums the last columns of an 8-bit product wrongly where
    they are no whole block (AMX)."""
    return -(-len(tokenizer) // 64) * 64


VARIANTS = ["fp16", "quantized", "q4", "q4f16"]


def tiled(seed: int, work: Path, folder: Path, smol: bool) -> dict:
    """SmolVLM (smol), or SmolDocling and granite-docling: Idefics3 with DocTags."""
    places = [f"<row_{r}_col_{c}>" for r in range(1, 7) for c in range(1, 7)]
    if smol:
        extra, template, end = ["<|im_start|>", "<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", *places], decoders.SMOLVLM, "<end_of_utterance>"
    else:
        extra = ["<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>", "<global-img>", *places,
                 "<doctag>", "</doctag>", "<text>", "</text>", "<otsl>", "</otsl>", "<fcel>", "<nl>",
                 *(f"<loc_{i}>" for i in range(0, 501, 25))]
        template, end = DOCLING, "<|end_of_text|>"
    tokenizer = tokens.llama(extra=extra)
    size = {"size": {"longest_edge": 96 if smol else 64}, "max_image_size": {"longest_edge": 32}}
    if smol:
        processor = tf.SmolVLMProcessor(tf.SmolVLMImageProcessor(**size), tokenizer, tf.SmolVLMVideoProcessor(**size),
                                        image_seq_len=4, chat_template=template)
    else:
        processor = tf.Idefics3Processor(tf.Idefics3ImageProcessor(**size), tokenizer, image_seq_len=4, chat_template=template)
    image = tokenizer.convert_tokens_to_ids("<image>")
    kind = tf.SmolVLMConfig if smol else tf.Idefics3Config
    config = kind(
        vision_config={"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
                       "image_size": 32, "patch_size": 8},
        text_config=llama(tokenizer, head_dim=16, max_position_embeddings=2048, vocab_size=whole(tokenizer)).to_dict(), image_token_id=image, scale_factor=2,
        pad_token_id=tokenizer.pad_token_id)
    kind = tf.SmolVLMForConditionalGeneration if smol else tf.Idefics3ForConditionalGeneration
    model = kind(config)
    core.randomise(model, seed, gain=1.5)
    core.save_rounded(model, work / "checkpoint")
    model = kind.from_pretrained(work / "checkpoint", attn_implementation="eager").eval()
    positions_in_order(model.model.vision_model.embeddings)
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(end)
    rows = Rows(model, processor, core.make_images(work))
    if smol:
        rows.talk([([say("user", None, "what is this?")], [name]) for name in SHAPES])
        rows.talk([([say("user", None, "a photo"), say("assistant", "of a house"), say("user", None, "and this?")],
                    ["figure1.png", "figure0.png@6x5"]), ([say("user", "how many birds are there?")], [])])
    else:
        rows.talk([([say("user", None, "Convert this page to docling.")], [name]) for name in SHAPES[:4]])
    rows.check()
    configurations(folder, processor, model)
    three_graphs(model, folder, GraphSpec(
        Tiles(model.model), lambda s: {"pixel_values": torch.randn(s["batch"], s["tiles"], 3, 32, 32),
                                       "pixel_attention_mask": torch.ones(s["batch"], s["tiles"], 32, 32, dtype=torch.bool)},
        ["image_features"], {"pixel_values": ["batch", "tiles", 3, 32, 32], "pixel_attention_mask": ["batch", "tiles", 32, 32],
                             "image_features": ["all", 4, 32]},
        {"batch": 2, "tiles": 3}, [{"batch": 1, "tiles": 1}, {"batch": 1, "tiles": 5}]))
    return {"rows": rows.rows, "variants": rows.of_variants(folder, VARIANTS if smol else ["q4f16"], image)}


def square_pixels(s):
    return {"pixel_values": torch.randn(s["images"], 3, 32, 32)}


def features_spec(module: nn.Module, count: int) -> GraphSpec:
    """A vision encoder of whole pictures of 32 pixels a side."""
    return GraphSpec(module, square_pixels, ["image_features"],
                     {"pixel_values": ["images", 3, 32, 32], "image_features": ["images", count, 32]},
                     {"images": 2}, [{"images": 1}, {"images": 3}])


class Pictures(nn.Module):
    """pixel_values -> image_features, by the model's own method."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pixel_values):
        return self.model.get_image_features(pixel_values)


class TextDecoder(nn.Module):
    """The language model's graph, whose mask is made by mask(attention_mask, length)."""

    def __init__(self, model: nn.Module, mask):
        super().__init__()
        self.text, self.head, self.config, self.mask = model.model.language_model, model.lm_head, model.config.text_config, mask

    def forward(self, inputs_embeds, attention_mask, position_ids, *past):
        length = inputs_embeds.shape[1]
        out = self.text(inputs_embeds=inputs_embeds, attention_mask=self.mask(attention_mask, length), position_ids=position_ids,
                        past_key_values=(cache := causal.past_cache(past)), use_cache=True,
                        cache_position=torch.arange(length) + (attention_mask.shape[1] - length))
        return self.head(out.last_hidden_state), *causal.cache_tensors(cache)


def seen_by_all(attention_mask, length):
    """PaliGemma's prompt: every position sees every other, which for one new position is all of them."""
    return torch.where(attention_mask.bool()[:, None, None, :].expand(-1, -1, length, -1), 0.0, torch.finfo(torch.float32).min)


def both_masks(attention_mask, length):
    """Gemma 3 chooses a mask by layer; the window is wider than these texts."""
    mask = causal.causal_mask(attention_mask, length)
    return {"full_attention": mask, "sliding_attention": mask}


def text_spec(model, mask) -> GraphSpec:
    layers, heads, dim = causal.cache_shape(model.config.text_config)
    past, present = (causal.cache_names(p, layers) for p in ("past_key_values", "present"))
    width = model.config.text_config.hidden_size
    axes = {"inputs_embeds": ["batch", "length", width], "attention_mask": ["batch", "total"], "position_ids": ["batch", "length"],
            "logits": ["batch", "length", model.config.text_config.vocab_size]}
    axes |= {n: ["batch", heads, "past", dim] for n in past} | {n: ["batch", heads, "total", dim] for n in present}

    def make(s):
        return {"inputs_embeds": torch.randn(s["batch"], s["length"], width) * 0.1,
                "attention_mask": torch.ones(s["batch"], s["past"] + s["length"], dtype=torch.int64),
                "position_ids": (torch.arange(s["length"]) + s["past"] + 1).repeat(s["batch"], 1)} | {
            n: torch.randn(s["batch"], heads, s["past"], dim) for n in past}

    return GraphSpec(TextDecoder(model, mask), make, ["logits", *present], axes, {"batch": 2, "length": 4, "past": 5},
                     [{"batch": 1, "length": 7, "past": 0}, {"batch": 3, "length": 1, "past": 11}])


def write_graphs(folder: Path, model, vision: GraphSpec, decoder: GraphSpec) -> None:
    specs = {"vision_encoder": vision, "decoder_model_merged": decoder,
             "embed_tokens": causal.embed_spec(model.get_input_embeddings(), model.config.text_config.vocab_size)}
    for name, spec in specs.items():
        export_graph(spec, folder / "onnx" / f"{name}.onnx")
        clean(folder / "onnx" / f"{name}.onnx")


def finished(seed: int, work: Path, model) -> nn.Module:
    """The model with seeded weights, saved and read again."""
    core.randomise(model, seed, gain=1.5)
    for name, p in model.named_parameters():
        if p.dim() == 5:  # a patch of three dimensions, which randomise takes for a norm's
            p.data.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(seed)) / p[0].numel() ** 0.5)
    core.save_rounded(model, work / "checkpoint")
    return type(model).from_pretrained(work / "checkpoint", attn_implementation="eager").eval()


def paligemma(seed: int, work: Path, folder: Path) -> dict:
    plain = tokens.llama(extra=["<image>"])
    tokenizer = tf.GemmaTokenizerFast(tokenizer_object=plain.backend_tokenizer, bos_token=plain.bos_token, eos_token=plain.eos_token,
                                      unk_token=plain.unk_token, pad_token=plain.pad_token)
    image = tokenizer.convert_tokens_to_ids("<image>")
    text = tf.GemmaConfig(vocab_size=whole(tokenizer), bos_token_id=1, eos_token_id=2, pad_token_id=0, **PALIGEMMA_TEXT)
    config = tf.PaliGemmaConfig(text_config=text.to_dict(), vision_config=dict(SIGLIP, projection_dim=32, model_type="siglip_vision_model"),
                                image_token_index=image, projection_dim=32, hidden_size=32,
                                tie_word_embeddings=False)
    model = finished(seed, work, tf.PaliGemmaForConditionalGeneration(config))
    pixels = tf.SiglipImageProcessor(size={"height": 32, "width": 32})
    pixels.image_seq_length = 16
    processor = tf.PaliGemmaProcessor(pixels, tokenizer)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    rows = Rows(model, processor, core.make_images(work))
    for text, name in [("caption en", "figure0.png"), ("caption en", "figure1.png"), ("answer en what is this?", "figure2.png")]:
        rows.add("<image>" + text, [name], prompt="<image>" + text)
        rows.rows[-1]["prompt"] = text
    rows.check()
    configurations(folder, processor, model)
    unplaced(folder)
    write_graphs(folder, model, features_spec(Pictures(model.model), 16), text_spec(model, seen_by_all))
    return {"rows": rows.rows, "variants": rows.of_variants(folder, ["q4f16"], image, first=1)}


def gemma3(seed: int, work: Path, folder: Path) -> dict:
    tokenizer = tokens.llama(extra=["<start_of_image>", "<image_soft_token>", "<end_of_image>", "<start_of_turn>", "<end_of_turn>"])
    token = tokenizer.convert_tokens_to_ids
    for name, word in (("boi_token", "<start_of_image>"), ("image_token", "<image_soft_token>"), ("eoi_token", "<end_of_image>")):
        setattr(tokenizer, name, word)
    tokenizer.image_token_id = token("<image_soft_token>")
    text = tf.Gemma3TextConfig(vocab_size=whole(tokenizer), bos_token_id=1, eos_token_id=2, pad_token_id=0, sliding_window=512,
                               query_pre_attn_scalar=16, **PALIGEMMA_TEXT)
    config = tf.Gemma3Config(text_config=text.to_dict(), vision_config=dict(SIGLIP, model_type="siglip_vision_model"), mm_tokens_per_image=4, tie_word_embeddings=False,
                             image_token_index=token("<image_soft_token>"), boi_token_index=token("<start_of_image>"),
                             eoi_token_index=token("<end_of_image>"))
    model = finished(seed, work, tf.Gemma3ForConditionalGeneration(config))
    processor = tf.Gemma3Processor(tf.Gemma3ImageProcessor(size={"height": 32, "width": 32}), tokenizer, image_seq_length=4,
                                   chat_template=GEMMA3)
    model.generation_config.eos_token_id = token("<end_of_turn>")

    class Causal(Rows):
        """Without token_type_ids: the graphs' attention is causal in pictures, too."""

        def inputs(self, text, pictures):
            made = super().inputs(text, pictures)
            made.pop("token_type_ids", None)
            made.pop("num_crops", None)
            return made

    rows = Causal(model, processor, core.make_images(work))
    rows.talk([([say("user", None, "what color is the cat?")], ["figure0.png"]), ([say("user", None, "what color is the cat?")], ["figure1.png"]),
               ([say("user", None, "a photo"), say("assistant", "of a house"), say("user", None, "and this?")], ["figure1.png", "figure0.png"]),
               ([say("user", "how many birds are there?")], [])])
    rows.check()
    configurations(folder, processor, model)
    write_graphs(folder, model, features_spec(Pictures(model.model), 4), text_spec(model, both_masks))
    return {"rows": rows.rows, "variants": rows.of_variants(folder, ["q4f16"], token("<image_soft_token>"), first=1)}


def qwen25(seed: int, work: Path, folder: Path) -> dict:
    tokenizer = tf.Qwen2TokenizerFast(tokenizer_object=decoders.chat_tokenizer().backend_tokenizer, eos_token="<|im_end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": [
        AddedToken(t, normalized=False, special=True) for t in
        ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")]})
    token = tokenizer.convert_tokens_to_ids
    processor = tf.Qwen2_5_VLProcessor(
        tf.Qwen2VLImageProcessor(min_pixels=16 * 16, max_pixels=56 * 56, patch_size=8), tokenizer,
        tf.Qwen2VLVideoProcessor(), chat_template=decoders.QWEN2VL)
    text = {k: v for k, v in llama(tokenizer, vocab_size=whole(tokenizer)).to_dict().items()
            if k not in ("model_type", "architectures", "head_dim")}
    config = tf.Qwen2_5_VLConfig(
        text_config=text | {"rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}, "num_hidden_layers": 2},
        vision_config={"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": 8, "out_hidden_size": 32,
                       "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 32, "fullatt_block_indexes": [0, 1]},
        image_token_id=token("<|image_pad|>"), video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"), vision_end_token_id=token("<|vision_end|>"))
    model = finished(seed, work, tf.Qwen2_5_VLForConditionalGeneration(config))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    rows = Rows(model, processor, core.make_images(work))
    rows.talk([([say("user", None, "what is this?")], [name]) for name in SHAPES[:3]])
    rows.talk([([say("user", None, "a photo"), say("assistant", "of a house"), say("user", None, "and this?")],
                ["figure1.png", "figure0.png"]), ([say("user", "how many birds are there?")], [])])
    rows.check()
    configurations(folder, processor, model)
    plain = text_spec(model, causal.causal_mask)

    def make(s):
        made = plain.make(s)
        made["position_ids"] = torch.randint(0, 20, (3, s["batch"], s["length"]))
        return made

    decoder = GraphSpec(decoders.PlacedDecoder(model), make, plain.outputs,
                        plain.axes | {"position_ids": [3, "batch", "length"]}, plain.trace, plain.checks)

    def pictures(s):
        return {"pixel_values": torch.randn(s["rows"] * s["columns"] * 4, 3 * 2 * 8 * 8),
                "image_grid_thw": torch.tensor([[1, 2 * s["rows"], 2 * s["columns"]]])}

    # all layers attend to the whole picture, so that the order of windows, which positions go along with, is all one
    vision = GraphSpec(decoders.Patches(model.model.visual), pictures, ["image_features"],
                       {"pixel_values": ["patches", 384], "image_grid_thw": ["pictures", 3], "image_features": ["rows", 32]},
                       {"rows": 2, "columns": 3}, [{"rows": 1, "columns": 1}, {"rows": 4, "columns": 2}])
    write_graphs(folder, model, vision, decoder)
    return {"rows": rows.rows}


FOLDERS = {
    "smolvlm-transformersjs": lambda s, w, f: tiled(s, w, f, True),
    "docling-transformersjs": lambda s, w, f: tiled(s, w, f, False),
    "paligemma-transformersjs": paligemma,
    "gemma3-transformersjs": gemma3,
    "qwen2_5vl-transformersjs": qwen25,
}


def build(name: str, out: Path) -> None:
    folder = out / name
    golden = {}

    def attempt(seed: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory() as tmp:
            golden.update(FOLDERS[name](seed, Path(tmp), folder))

    seed = core.search(attempt, 1)
    for row in golden["rows"]:
        row.pop("text", None) if len(row["text"]) > 400 else None
    about = {"script": f"python -m xpipe_export.golden.seeing_layouts --only {name}", "seed": seed,
             "versions": core.versions() | {"onnx": onnx.__version__, "onnxruntime": ort.__version__}}
    (folder / "golden.json").write_text(json.dumps(about | golden, ensure_ascii=False) + "\n")
    print(name, "seed", seed, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()), "bytes")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m xpipe_export.golden.seeing_layouts")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[4] / "testdata" / "layouts")
    parser.add_argument("--only", nargs="*", default=list(FOLDERS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("onnxruntime.quantization").setLevel(logging.WARNING)
    logging.getLogger("root").setLevel(logging.ERROR)
    tf.utils.logging.set_verbosity_error()
    for name in args.only:
        build(name, args.out)


if __name__ == "__main__":
    main()
