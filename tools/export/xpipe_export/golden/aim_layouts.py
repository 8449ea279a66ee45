"""python -m xpipe_export.golden.aim_layouts [--out DIR] [--only NAME ...]: further models that see, as
transformers.js lays them out, with the 20 ids that PyTorch's generate gives.

Tiny seeded models of the real classes of transformers; seeing_layouts.py has the first of them.
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
import torchvision
import transformers as tf
from PIL import Image
from tokenizers import AddedToken
from torch import nn
from transformers.models.lfm2_vl import image_processing_lfm2_vl_fast
from transformers.models.siglip2.modeling_siglip2 import Siglip2VisionEmbeddings

from ..families import causal, naflex
from ..graph import GraphSpec, export_graph
from . import core, decoders, tokens
from .decoders import clean, configurations, llama, say
from . import seeing_layouts
from .seeing_layouts import SHAPES, SIGLIP, features_spec, finished, text_spec, whole, write_graphs

NEW = 20
decoders.NEW = NEW

ASK = [([say("user", None, "what is this?")], [name]) for name in SHAPES[:3]]
SEVERAL = ([say("user", None, "a photo"), say("assistant", "of a house"), say("user", None, "and this?")],
           ["figure1.png", "figure0.png"])
BLIND = ([say("user", "how many birds are there?")], [])


class Rows(seeing_layouts.Rows):
    """Prompts with pictures, what PyTorch writes for them, and some of the processor's pixels."""

    def made(self) -> dict:
        for row, given in zip(self.rows, self.given):
            if len(given) == 1:
                pixels = given[0]["pixel_values"]
                flat = pixels.reshape(-1)[:: max(pixels.size // 97, 1)]
                row["pixels"] = {"shape": list(pixels.shape), "every": max(pixels.size // 97, 1),
                                 "values": [round(float(v), 6) for v in flat]}
        return {"rows": self.rows}


def qwen_tokenizer(extra: list[str] = ()):
    tokenizer = tf.Qwen2TokenizerFast(tokenizer_object=decoders.chat_tokenizer().backend_tokenizer, eos_token="<|im_end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": [
        AddedToken(t, normalized=False, special=True) for t in ("<|im_start|>", "<|im_end|>", *extra)]})
    return tokenizer


class Stretched(decoders.Patches):
    """Qwen3-VL's encoder: a table of positions for a square is stretched over the picture (fast_pos_embed_interpolate)."""

    def start(self, pixel_values, h, w):
        vision, m = self.vision, self.vision.spatial_merge_size
        side = vision.num_grid_per_side

        def along(n):
            at = torch.arange(n).float() * (side - 1) / (n - 1)
            low = at.long()
            return low, (low + 1).clamp(max=side - 1), at - low

        top, bottom, down = along(h)
        left, right, over = along(w)
        table, stretched = vision.pos_embed.weight, 0
        for rows, weight_r in ((top, 1 - down), (bottom, down)):
            for columns, weight_c in ((left, 1 - over), (right, over)):
                stretched = stretched + table[rows[:, None] * side + columns[None]] * (weight_r[:, None] * weight_c[None])[..., None]
        merged = stretched.reshape(h // m, m, w // m, m, -1).permute(0, 2, 1, 3, 4).flatten(0, 3)
        return vision.patch_embed(pixel_values) + merged


QWEN3VL = ("{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}{% if message.content is string %}"
           "{{ message.content }}{% else %}{% for content in message.content %}{% if content.type == 'image' or 'image' in content %}"
           "<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in content %}{{ content.text }}{% endif %}{% endfor %}{% endif %}"
           "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def qwen3vl(seed: int, work: Path, folder: Path) -> dict:
    """Without DeepStack, which adds what the encoder's layers saw to the decoder's: the graphs of transformers.js and of
    onnxruntime-genai hand image_features alone from one to the other."""
    tokenizer = qwen_tokenizer(["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"])
    token = tokenizer.convert_tokens_to_ids
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "patch_size": 8}
    processor = tf.Qwen3VLProcessor(tf.Qwen2VLImageProcessor(min_pixels=16 * 16, max_pixels=72 * 72, **half), tokenizer,
                                    tf.Qwen3VLVideoProcessor(), chat_template=QWEN3VL)
    text = dict(vocab_size=whole(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, head_dim=8, max_position_embeddings=512, tie_word_embeddings=False,
                rope_scaling={"rope_type": "default", "mrope_section": [2, 1, 1], "mrope_interleaved": True})
    config = tf.Qwen3VLConfig(
        text_config=text, tie_word_embeddings=False,
        vision_config=dict(depth=2, hidden_size=32, intermediate_size=48, num_heads=2, patch_size=8, out_hidden_size=32,
                           spatial_merge_size=2, temporal_patch_size=2, num_position_embeddings=25, deepstack_visual_indexes=[]),
        image_token_id=token("<|image_pad|>"), video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"), vision_end_token_id=token("<|vision_end|>"))
    model = finished(seed, work, tf.Qwen3VLForConditionalGeneration(config))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    rows = Rows(model, processor, core.make_images(work))
    rows.talk([*ASK, SEVERAL, BLIND])
    rows.check()
    configurations(folder, processor, model)
    plain = text_spec(model, causal.causal_mask)

    def make(s):
        return plain.make(s) | {"position_ids": torch.randint(0, 20, (3, s["batch"], s["length"]))}

    def pictures(s):
        return {"pixel_values": torch.randn(s["rows"] * s["columns"] * 4, 3 * 2 * 8 * 8),
                "image_grid_thw": torch.tensor([[1, 2 * s["rows"], 2 * s["columns"]]])}

    decoder = GraphSpec(decoders.PlacedDecoder(model), make, plain.outputs, plain.axes | {"position_ids": [3, "batch", "length"]},
                        plain.trace, plain.checks)
    vision = GraphSpec(Stretched(model.model.visual), pictures, ["image_features"],
                       {"pixel_values": ["patches", 384], "image_grid_thw": ["pictures", 3], "image_features": ["rows", 32]},
                       {"rows": 2, "columns": 3}, [{"rows": 1, "columns": 1}, {"rows": 4, "columns": 2}])
    write_graphs(folder, model, vision, decoder)
    return rows.made()


class ByGraphs(Rows):
    """Rows of models of which the graphs are a part: encode(given) gives a picture's rows, which the processor does not
    count itself."""

    def __init__(self, model, processor, images: list[Path], encode, token: str = "<image>"):
        super().__init__(model, processor, images)
        self.encode, self.token = encode, token

    def inputs(self, text, pictures) -> dict:
        seen = [self.pixels(text, p) for p in pictures]
        with torch.no_grad():
            self.features = [self.encode(**{k: torch.from_numpy(v) for k, v in s.items()}).flatten(0, -2) for s in seen]
        for rows in self.features:
            text = text.replace(self.token, "\0" * len(rows), 1)
        return dict(self.processor.tokenizer(text.replace("\0", self.token), return_tensors="pt"))

    def generate(self, ids: list[int], extra: dict) -> tuple[list[int], float]:
        token = self.processor.tokenizer.convert_tokens_to_ids(self.token)
        table = self.model.get_input_embeddings()
        with torch.no_grad():
            embeds = table(torch.tensor([ids]))
            if self.features:
                embeds[0, torch.tensor(ids) == token] = torch.cat(self.features)
            out = self.model.generate(inputs_embeds=embeds, attention_mask=torch.ones(1, len(ids), dtype=torch.int64),
                                      do_sample=False, max_new_tokens=NEW, output_scores=True, return_dict_in_generate=True)
        best = torch.cat(out.scores).topk(2).values
        end = self.model.generation_config.eos_token_id
        return [i for i in out.sequences[0].tolist() if i != end], float((best[:, 0] - best[:, 1]).min())


class View(nn.Module):
    """pixel_values [N,3,S,S] -> image_features [N,L,D] of LLaVA-OneVision: one view of each picture."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.tower, self.project, self.layer = model.vision_tower, model.multi_modal_projector, model.config.vision_feature_layer

    def forward(self, pixel_values):
        return self.project(self.tower(pixel_values, output_hidden_states=True).hidden_states[self.layer])


def onevision(seed: int, work: Path, folder: Path) -> dict:
    """One view of each picture, as the graphs in llava-hf's repositories have it: the tower and the projector, without
    image_newline, which no graph has."""
    tokenizer = qwen_tokenizer(["<image>", "<video>"])
    token = tokenizer.convert_tokens_to_ids
    text = tf.Qwen2Config(vocab_size=whole(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                          num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=False, eos_token_id=token("<|im_end|>"))
    config = tf.LlavaOnevisionConfig(
        text_config=text.to_dict(), vision_config=dict(SIGLIP, model_type="siglip_vision_model", vision_use_head=False),
        image_token_index=token("<image>"), video_token_index=token("<video>"), tie_word_embeddings=False,
        image_grid_pinpoints=[[32, 64], [64, 32], [64, 64]])
    model = finished(seed, work, tf.LlavaOnevisionForConditionalGeneration(config))
    pixels = tf.LlavaOnevisionImageProcessor(size={"height": 32, "width": 32}, image_grid_pinpoints=config.image_grid_pinpoints)
    processor = tf.LlavaOnevisionProcessor(pixels, tokenizer, tf.LlavaOnevisionVideoProcessor(size={"height": 32, "width": 32}),
                                           num_image_tokens=16, vision_feature_select_strategy="full", chat_template=decoders.ONEVISION)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    view = View(model.model)

    class Views(ByGraphs):
        def pixels(self, text, alone):  # the first of several is the whole picture
            return {"pixel_values": self.processor.image_processor([alone], return_tensors="np").pixel_values[0][:1]}

    rows = Views(model, processor, core.make_images(work), view)
    rows.talk([*ASK, SEVERAL, BLIND])
    rows.check()
    configurations(folder, processor, model)
    write_graphs(folder, model, features_spec(view, 16), text_spec(model, causal.causal_mask))
    return rows.made()


class Moondream(nn.Module):
    """pixel_values [N,3,S,S] -> image_features [N,L,D]: SigLIP and two layers, which hand a picture's rows to Phi."""

    def __init__(self, width: int):
        super().__init__()
        self.encoder = tf.SiglipVisionModel(tf.SiglipVisionConfig(**SIGLIP, vision_use_head=False, attn_implementation="eager"))
        self.projection = nn.Sequential(nn.Linear(32, 48), nn.GELU(approximate="tanh"), nn.Linear(48, width))

    def forward(self, pixel_values):
        return self.projection(self.encoder(pixel_values).last_hidden_state)


def moondream(seed: int, work: Path, folder: Path) -> dict:
    """Moondream 2 of 2024, whose class is code in its checkpoint: its parts are transformers' SigLIP and Phi."""
    tokenizer = decoders.chat_tokenizer()
    tokenizer = tf.CodeGenTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken("<image>", normalized=False, special=True)]})
    phi = dict(vocab_size=whole(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
               max_position_embeddings=512, partial_rotary_factor=0.5, tie_word_embeddings=False)
    lm = finished(seed, work, tf.PhiForCausalLM(tf.PhiConfig(**phi)))
    vision = Moondream(32)
    core.randomise(vision, seed, gain=1.5)
    vision.eval()
    lm.generation_config.eos_token_id = lm.generation_config.bos_token_id = tokenizer.eos_token_id
    pixels = tf.SiglipImageProcessor(size={"height": 32, "width": 32})
    processor = tf.LlavaProcessor(pixels, tokenizer)
    rows = ByGraphs(lm, processor, core.make_images(work), vision)
    for text, name in [("Question: what is this?\n\nAnswer:", "figure0.png"), ("Question: what is this?\n\nAnswer:", "figure1.png"),
                       ("Question: is there a dog?\n\nAnswer:", "figure2.png"), ("a photo of", "figure2.png")]:
        rows.add("<image>\n\n" + text, [name], prompt=text)
    rows.check()
    configurations(folder, processor, lm)
    token = tokenizer.convert_tokens_to_ids("<image>")
    (folder / "config.json").write_text(json.dumps({
        "model_type": "moondream1", "image_token_index": token, "phi_config": {"model_type": "phi"} | phi,
        "architectures": ["Moondream1ForConditionalGeneration"]}, indent=1) + "\n")
    write_lm(folder, lm, features_spec(vision, 16))
    return rows.made()


def write_lm(folder: Path, lm, vision: GraphSpec, decoder: GraphSpec | None = None) -> None:
    """The three graphs of a language model that stands for itself."""
    specs = {"vision_encoder": vision, "decoder_model_merged": decoder or decoders.decoder_spec(lm),
             "embed_tokens": causal.embed_spec(lm.get_input_embeddings(), lm.config.vocab_size)}
    for name, spec in specs.items():
        export_graph(spec, folder / "onnx" / f"{name}.onnx")
        clean(folder / "onnx" / f"{name}.onnx")


class Pixtral(nn.Module):
    """pixel_values [1,3,H,W] -> image_features [L,D] of Mistral 3: one picture of any size."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.tower, self.project, self.layer = model.vision_tower, model.multi_modal_projector, model.config.vision_feature_layer
        self.merge = model.config.spatial_merge_size

    def forward(self, pixel_values):
        tower, merger, m = self.tower, self.project.patch_merger, self.merge
        patches = tower.patch_conv(pixel_values)[0]
        h, w = patches.shape[1], patches.shape[2]
        places = (torch.arange(h)[:, None] * (tower.config.image_size // tower.patch_size) + torch.arange(w)[None]).flatten()
        states = tower.ln_pre(patches.flatten(1).T[None])
        rotary = tower.patch_positional_embedding
        states = tower.transformer(states, attention_mask=None, output_hidden_states=True, return_dict=True,
                                   position_embeddings=(rotary.inv_freq[places].cos(), rotary.inv_freq[places].sin())).hidden_states
        states = self.project.norm(states[self.layer] if self.layer != -1 else states[-1])[0]
        grid = states.T.reshape(-1, h // m, m, w // m, m).permute(1, 3, 0, 2, 4).reshape((h // m) * (w // m), -1)
        return self.project.linear_2(self.project.act(self.project.linear_1(merger.merging_layer(grid))))


MISTRAL3 = ("{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}[INST]{% if message['content'] is string %}"
            "{{ message['content'] }}{% else %}{% for block in message['content'] %}{% if block['type'] == 'text' %}{{ block['text'] }}"
            "{% elif block['type'] in ['image', 'image_url'] %}[IMG]{% endif %}{% endfor %}{% endif %}[/INST]"
            "{% elif message['role'] == 'assistant' %}{% if message['content'] is string %}{{ message['content'] + eos_token }}"
            "{% else %}{{ message['content'][0]['text'] + eos_token }}{% endif %}{% endif %}{% endfor %}")


def mistral3(seed: int, work: Path, folder: Path) -> dict:
    tokenizer = tokens.llama(extra=["[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]"])
    token = tokenizer.convert_tokens_to_ids
    text = tf.MistralConfig(vocab_size=whole(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                            num_key_value_heads=2, head_dim=16, max_position_embeddings=2048, sliding_window=None, tie_word_embeddings=False,
                            bos_token_id=1, eos_token_id=2)
    config = tf.Mistral3Config(
        text_config=text.to_dict(), image_token_index=token("[IMG]"), spatial_merge_size=2, tie_word_embeddings=False,
        vision_config=dict(model_type="pixtral", hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, head_dim=16,
                           image_size=64, patch_size=8))
    model = finished(seed, work, tf.Mistral3ForConditionalGeneration(config))
    processor = tf.PixtralProcessor(tf.PixtralImageProcessor(size={"longest_edge": 64}, patch_size={"height": 8, "width": 8}),
                                    tokenizer, patch_size=8, spatial_merge_size=2, chat_template=MISTRAL3)
    model.generation_config.eos_token_id = tokenizer.eos_token_id

    class Padded(Rows):
        def pixels(self, text, alone):
            return {"pixel_values": self.processor.image_processor([alone], patch_size=16, return_tensors="np").pixel_values}

    rows = Padded(model, processor, core.make_images(work))
    rows.talk([([say("user", None, "what is this?")], [name]) for name in SHAPES[:5]])  # the class fails at one row alone
    rows.talk([SEVERAL, ([say("user", "how many birds?")], [])])
    rows.check()
    configurations(folder, processor, model)
    vision = GraphSpec(Pixtral(model.model), lambda s: {"pixel_values": torch.randn(1, 3, 16 * s["rows"], 16 * s["columns"])},
                       ["image_features"], {"pixel_values": ["images", 3, "height", "width"], "image_features": ["rows", 32]},
                       {"rows": 2, "columns": 3}, [{"rows": 1, "columns": 1}, {"rows": 4, "columns": 2}])
    write_graphs(folder, model, vision, text_spec(model, causal.causal_mask))
    return rows.made()


LFM2 = ("{{- bos_token -}}{%- for message in messages -%}{{- '<|im_start|>' + message['role'] + '\n' -}}"
        "{%- if message['content'] is string -%}{{- message['content'] -}}{%- else -%}{%- for content in message['content'] -%}"
        "{%- if content['type'] == 'image' -%}{{- '<image>' -}}{%- elif content['type'] == 'text' -%}{{- content['text'] -}}{%- endif -%}"
        "{%- endfor -%}{%- endif -%}{{- '<|im_end|>\n' -}}{%- endfor -%}{%- if add_generation_prompt -%}"
        "{{- '<|im_start|>assistant\n' -}}{%- endif -%}")


class Grown:
    """A cache of one attention layer."""

    def __init__(self, key, value):
        self.key, self.value = key, value

    def update(self, key, value, *_):
        self.key, self.value = torch.cat([self.key, key], -2), torch.cat([self.value, value], -2)
        return self.key, self.value


class ShortConvolutions(nn.Module):
    """LFM2: past is key and value of a layer with attention, and of one with a convolution the last products that went
    into it, [B,D,L]; zeros before the first."""

    def __init__(self, model: nn.Module, head: nn.Module):
        super().__init__()
        self.text, self.head = model, head

    def forward(self, inputs_embeds, attention_mask, position_ids, *past):
        past, present = list(past), []
        length = inputs_embeds.shape[1]
        mask = causal.causal_mask(attention_mask, length)
        rotary = self.text.pos_emb(inputs_embeds, position_ids)
        states = inputs_embeds
        for layer in self.text.layers:
            given = layer.operator_norm(states)
            if layer.is_attention_layer:
                cache = Grown(past.pop(0), past.pop(0))
                mixed = layer.self_attn(given, rotary, mask, past_key_values=cache)[0]
                present += [cache.key, cache.value]
            else:
                conv = layer.conv
                b, c, x = conv.in_proj(given).transpose(-1, -2).chunk(3, dim=-2)
                joined = torch.cat([past.pop(0), b * x], -1)
                weights = conv.conv
                made = nn.functional.conv1d(joined[..., 1:], weights.weight, weights.bias, groups=weights.groups)
                mixed = conv.out_proj((c * made).transpose(-1, -2))
                present.append(joined[..., -conv.L_cache:])
            states = states + mixed
            states = states + layer.feed_forward(layer.ffn_norm(states))
        return self.head(self.text.embedding_norm(states)), *present


def lfm2_spec(model: nn.Module, head: nn.Module) -> GraphSpec:
    config = model.config
    _, heads, dim = causal.cache_shape(config)
    axes = {"inputs_embeds": ["batch", "length", config.hidden_size], "attention_mask": ["batch", "total"],
            "position_ids": ["batch", "length"], "logits": ["batch", "length", config.vocab_size]}
    past, shapes = [], {}
    for i, kind in enumerate(config.layer_types):
        if kind == "conv":
            past.append(f"past_conv.{i}")
            shapes[past[-1]] = lambda s: (s["batch"], config.hidden_size, config.conv_L_cache)
            axes[past[-1]] = axes[f"present_conv.{i}"] = ["batch", config.hidden_size, config.conv_L_cache]
        else:
            for kv in ("key", "value"):
                past.append(f"past_key_values.{i}.{kv}")
                shapes[past[-1]] = lambda s: (s["batch"], heads, s["past"], dim)
                axes[past[-1]] = ["batch", heads, "past", dim]
                axes[f"present.{i}.{kv}"] = ["batch", heads, "total", dim]

    def make(s):
        return {"inputs_embeds": torch.randn(s["batch"], s["length"], config.hidden_size) * 0.1,
                "attention_mask": torch.ones(s["batch"], s["past"] + s["length"], dtype=torch.int64),
                "position_ids": (torch.arange(s["length"]) + s["past"]).repeat(s["batch"], 1)} | {
            n: torch.randn(*shapes[n](s)) for n in past}

    present = [n.replace("past_key_values", "present").replace("past_conv", "present_conv") for n in past]
    return GraphSpec(ShortConvolutions(model, head), make, ["logits", *present], axes, {"batch": 2, "length": 4, "past": 5},
                     [{"batch": 1, "length": 7, "past": 0}, {"batch": 3, "length": 1, "past": 11}])


class Unshuffled(nn.Module):
    """pixel_values [N,P,768], pixel_attention_mask [N,P], spatial_shapes [N,2] -> image_features [L,D] of LFM2-VL: of each
    tile its patches four by four, and no padding."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.tower, self.project = model.vision_tower, model.multi_modal_projector

    def forward(self, pixel_values, pixel_attention_mask, spatial_shapes):
        states = self.tower(pixel_values=pixel_values, pixel_attention_mask=pixel_attention_mask, spatial_shapes=spatial_shapes).last_hidden_state
        columns = spatial_shapes[:, 1:] // 2
        at = torch.arange(pixel_values.shape[1] // 4)[None]
        row, column = torch.div(at, columns, rounding_mode="floor") * 2, at % columns * 2
        joined = []
        for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
            place = ((row + down) * spatial_shapes[:, 1:] + column + right).clamp(max=pixel_values.shape[1] - 1)
            joined.append(torch.gather(states, 1, place[:, :, None].expand(-1, -1, states.shape[-1])))
        p = self.project
        made = p.linear_2(p.act(p.linear_1(p.layer_norm(torch.cat(joined, -1)))))
        return made[at < columns * spatial_shapes[:, :1] // 2]


def lfm2vl(seed: int, work: Path, folder: Path) -> dict:
    places = [f"<|img_row_{r}_col_{c}|>" for r in range(1, 6) for c in range(1, 6)]
    tokenizer = tokens.llama(extra=["<|im_start|>", "<|im_end|>", "<image>", "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>", *places])
    token = tokenizer.convert_tokens_to_ids
    names = {"image_token": "<image>", "image_start_token": "<|image_start|>", "image_end_token": "<|image_end|>",
             "image_thumbnail": "<|img_thumbnail|>"}
    for name, word in names.items():
        setattr(tokenizer, name, word)
    tokenizer.image_token_id = token("<image>")
    text = tf.Lfm2Config(vocab_size=whole(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
                         num_key_value_heads=2, max_position_embeddings=1024, block_multiple_of=16, conv_L_cache=3, bos_token_id=1,
                         eos_token_id=token("<|im_end|>"), layer_types=["conv", "full_attention", "conv", "full_attention"],
                         tie_word_embeddings=False)
    vision = {k: v for k, v in SIGLIP.items() if k != "image_size"} | {"num_patches": 16, "vision_use_head": False}
    config = tf.Lfm2VlConfig(vision_config=vision, text_config=text.to_dict(), image_token_id=token("<image>"), projector_hidden_size=48,
                             tie_word_embeddings=False)
    model = finished(seed, work, tf.Lfm2VlForConditionalGeneration(config))
    with torch.no_grad():  # pictures must matter
        model.model.multi_modal_projector.linear_2.weight.mul_(4)
    pixels = tf.Lfm2VlImageProcessorFast(encoder_patch_size=8, tile_size=32, min_image_tokens=4, max_image_tokens=9, max_tiles=5)
    processor = tf.Lfm2VlProcessor(pixels, tokenizer, chat_template=LFM2)
    model.generation_config.eos_token_id = token("<|im_end|>")

    rows = Tiled(model, processor, core.make_images(work))
    rows.talk([([say("user", None, "what is this?")], [name]) for name in [*SHAPES[:3], "figure2.png@96x60", "figure2.png@60x96"]])
    rows.talk([SEVERAL, ([say("user", "how many birds?")], [])])
    rows.check()
    configurations(folder, processor, model)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"model_type": "lfm2_vl"}, indent=1) + "\n")  # 4.57 writes lfm2-vl
    Siglip2VisionEmbeddings.resize_positional_embeddings = staticmethod(
        lambda positions, shapes, max_length: naflex.resized_positions(positions, shapes, max_length))

    def tiles(s):
        shapes = torch.tensor([[4, 4], [6, 4], [2, 8]])[:s["tiles"]]
        mask = (torch.arange(36)[None] < shapes.prod(1, keepdim=True)).long()
        return {"pixel_values": torch.randn(len(shapes), 36, 192), "pixel_attention_mask": mask, "spatial_shapes": shapes}

    vision = GraphSpec(Unshuffled(model.model), tiles, ["image_features"],
                       {"pixel_values": ["tiles", "patches", 192], "pixel_attention_mask": ["tiles", "patches"],
                        "spatial_shapes": ["tiles", 2], "image_features": ["rows", 32]}, {"tiles": 3}, [{"tiles": 1}, {"tiles": 2}])
    write_graphs(folder, model, vision, lfm2_spec(model.model.language_model, model.lm_head))
    return rows.made()


class Tiled(Rows):
    """LFM2-VL's pictures and prompts as 5.24 has them: 4.57.6 takes a grid's columns for its rows, and repeats the text
    between two pictures."""

    def __init__(self, model, processor, images: list[Path]):
        super().__init__(model, processor, images)
        kind = type(processor.image_processor)
        if not hasattr(kind, "swapped"):
            kind.swapped = kind.crop_image_to_patches
            kind.crop_image_to_patches = lambda self, *a, **k: (lambda made, w, h: (made, h, w))(*self.swapped(*a, **k))

        def expand(text, images, image_rows, image_cols, image_sizes, **kwargs):
            made, at = "", 0
            for i, part in enumerate(text[0].split("<image>")):
                if i > 0:
                    made += expand_one(["<image>"], [images[0][at:i]], image_rows[at:i], image_cols[at:i], image_sizes[at:i], **kwargs)[0]
                    at = i
                made += part
            return [made]

        expand_one = type(processor).expand_text_with_placeholders.__get__(processor)
        processor.expand_text_with_placeholders = expand

    def add(self, text: str, which: list[str], **row) -> None:
        """Rows that PyTorch writes the same with Pillow's pixels, which are one level off torchvision's here and there."""
        super().add(text, which, **row)
        theirs, row = self.given.pop(), self.rows.pop()
        real = image_processing_lfm2_vl_fast.F
        image_processing_lfm2_vl_fast.F = ByPillow()
        super().add(text, which, **{k: v for k, v in row.items() if k not in ("images", "text", "input_ids", "ids")})
        image_processing_lfm2_vl_fast.F = real
        for a, b in zip(theirs, self.given[-1]):
            assert np.abs(a["pixel_values"] - b["pixel_values"]).max() < 1.01 / 127.5  # one level
        if row["ids"] != self.rows[-1]["ids"]:
            raise core.Unsuitable("other ids with Pillow's pixels")


class ByPillow:
    """torchvision's functions, with Pillow's resize."""

    def __getattr__(self, name):
        return getattr(torchvision.transforms.v2.functional, name)

    def resize(self, images, size, interpolation=None, antialias=True):
        made = [Image.fromarray(i.permute(1, 2, 0).numpy()).resize(tuple(size)[::-1], Image.Resampling.BILINEAR) for i in images]
        return torch.stack([torch.from_numpy(np.array(m)).permute(2, 0, 1) for m in made])


FOLDERS = {"moondream-transformersjs": moondream, "mistral3-transformersjs": mistral3, "lfm2vl-transformersjs": lfm2vl,
           "qwen3vl-transformersjs": qwen3vl, "onevision-transformersjs": onevision}


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
    about = {"script": f"python -m xpipe_export.golden.aim_layouts --only {name}", "seed": seed, "new": NEW,
             "versions": core.versions() | {"onnx": onnx.__version__, "onnxruntime": ort.__version__}}
    (folder / "golden.json").write_text(json.dumps(about | golden, ensure_ascii=False) + "\n")
    print(name, "seed", seed, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()), "bytes")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m xpipe_export.golden.aim_layouts")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[4] / "testdata" / "layouts")
    parser.add_argument("--only", nargs="*", default=list(FOLDERS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("root").setLevel(logging.ERROR)
    tf.utils.logging.set_verbosity_error()
    for name in args.only:
        build(name, args.out)


if __name__ == "__main__":
    main()
