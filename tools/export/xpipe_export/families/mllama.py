"""Mllama (Llama 3.2 Vision): gated cross-attention layers among those of a Llama-type decoder,
which read the tiles of pictures.

The decoder keeps flamingo's contract (flamingo.decoder_spec), with a tile in the place of a
picture, and two things of its own. A token that attends to no picture, such as those before the
first, reads all tiles of its prompt, and only its MLP in a cross-attention layer is shut:
transformers masks it so. A prompt without pictures passes the layers by, which is what rows of the
mask without a 1 do here.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .. import replay_families
from ..bundle import Bundle
from ..graph import LIMIT, ExportError, GraphSpec
from . import flamingo
from .causal import causal_mask, check_rope, embed_spec, last_positions, position_ids
from .common import Front, add_generation_config, release
from .idefics import rotate


class Vision(nn.Module):
    """pixel_values [N,tiles,3,S,S], aspect_ratio_ids [N], aspect_ratio_mask [N,tiles] ->
    image_embeds [N,tiles*P,D], the states of every tile in the text's width"""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.vision, self.project = model.vision_model, model.multi_modal_projector

    def forward(self, pixel_values, aspect_ratio_ids, aspect_ratio_mask):
        states = self.vision(pixel_values=pixel_values[:, None], aspect_ratio_ids=aspect_ratio_ids[:, None],
                             aspect_ratio_mask=aspect_ratio_mask[:, None]).last_hidden_state
        return self.project(states)[:, 0].flatten(1, 2)


class CrossKV(nn.Module):
    """latents [B,S,D] -> present.{j}.encoder.key (normalised), .value [B,heads,S,dim] of each
    cross-attention layer"""

    def __init__(self, attention: list[nn.Module]):
        super().__init__()
        self.attention = nn.ModuleList(attention)

    def forward(self, latents):
        out = []
        for a in self.attention:
            out += [a.k_norm(flamingo.split_heads(a.k_proj(latents), a.num_key_value_heads)),
                    flamingo.split_heads(a.v_proj(latents), a.num_key_value_heads)]
        return tuple(out)


def repeat(x: torch.Tensor, times: int) -> torch.Tensor:
    """[B,heads,S,dim] -> [B,heads*times,S,dim], each head that often in a row"""
    if times == 1:
        return x
    b, heads, _, dim = x.shape
    return x[:, :, None].expand(b, heads, times, x.shape[2], dim).reshape(b, heads * times, -1, dim)


class Decoder(nn.Module):
    """See flamingo.decoder_spec. image_attention_mask [B,T,tiles] has a 1 for every tile that a
    token reads; cross_attention_gate [B,T] is 0 for one that attends to no picture."""

    def __init__(self, model: nn.Module, tokens: int, attention: bool = False):
        super().__init__()
        inner = model.model.language_model
        self.layers, self.norm, self.rotary = inner.layers, inner.norm, inner.rotary_emb
        self.crossing = set(inner.cross_attention_layers)
        self.head, self.tokens, self.attention = model.lm_head, tokens, attention

    def forward(self, inputs_embeds, attention_mask, image_attention_mask, cross_attention_gate,
                num_logits_to_keep, *past):
        length, own = inputs_embeds.shape[1], 2 * (len(self.layers) - len(self.crossing))
        own, cross = past[:own], past[own:]
        mask = causal_mask(attention_mask, length)
        media = flamingo.media_mask(image_attention_mask, self.tokens)
        reads = (image_attention_mask.sum(-1) > 0).float()[..., None]
        cos, sin = self.rotary(inputs_embeds, position_ids(attention_mask, length).clamp(min=0))
        cos, sin = cos[:, None], sin[:, None]
        x, present, self_maps, cross_maps = inputs_embeds, [], [], []
        for i, layer in enumerate(self.layers):
            h = layer.input_layernorm(x)
            if i in self.crossing:
                a, j = layer.cross_attn, 2 * len(cross_maps)
                query = a.q_norm(flamingo.split_heads(a.q_proj(h), a.num_heads))
                h, probabilities = flamingo.attend(query, repeat(cross[j], a.num_key_value_groups),
                                                   repeat(cross[j + 1], a.num_key_value_groups),
                                                   media, a.scaling)
                cross_maps.append(probabilities)
                x = x + layer.cross_attn_attn_gate.tanh() * (a.o_proj(h) * reads)
                h = layer.mlp(layer.post_attention_layernorm(x)) * cross_attention_gate[..., None]
                x = x + layer.cross_attn_mlp_gate.tanh() * h
                continue
            a, j = layer.self_attn, len(present)
            query = rotate(flamingo.split_heads(a.q_proj(h), a.num_heads), cos, sin)
            key = rotate(flamingo.split_heads(a.k_proj(h), a.num_key_value_heads), cos, sin)
            key = torch.cat([own[j], key], 2)
            value = torch.cat([own[j + 1], flamingo.split_heads(a.v_proj(h), a.num_key_value_heads)], 2)
            present += [key, value]
            h, probabilities = flamingo.attend(query, repeat(key, a.num_key_value_groups),
                                               repeat(value, a.num_key_value_groups), mask, a.scaling)
            self_maps.append(probabilities)
            x = x + a.o_proj(h)
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        maps = (*self_maps, *cross_maps) if self.attention else ()
        return self.head(self.norm(last_positions(x, num_logits_to_keep))), *present, *maps


def vision_spec(model: nn.Module) -> GraphSpec:
    config = model.config.vision_config
    tiles, size, ratios = config.max_num_tiles, config.image_size, config.max_aspect_ratio_id

    def make(s):
        mask = torch.zeros(s["images"], tiles, dtype=torch.int64)
        for row in range(s["images"]):
            mask[row, :1 + row % tiles] = 1
        return {"pixel_values": torch.randn(s["images"], tiles, 3, size, size),
                "aspect_ratio_ids": torch.arange(s["images"]) % ratios + 1, "aspect_ratio_mask": mask}

    axes = {"pixel_values": ["images", tiles, 3, size, size], "aspect_ratio_ids": ["images"],
            "aspect_ratio_mask": ["images", tiles], "image_embeds": ["images", "tokens", "width"]}
    return GraphSpec(Vision(model.model), make, ["image_embeds"], axes,
                     {"images": 2}, [{"images": 1}, {"images": 3}])


def decoder_spec(model: nn.Module, attention: bool) -> GraphSpec:
    text, crossing = model.config.text_config, len(model.config.text_config.cross_attention_layers)
    heads, dim = text.num_key_value_heads, text.hidden_size // text.num_attention_heads
    spec = flamingo.decoder_spec(
        Decoder(model, model.vision_model.num_patches, attention).eval(), width=text.hidden_size,
        vocab=text.vocab_size, layers=text.num_hidden_layers - crossing, heads=heads, dim=dim,
        cross_layers=crossing, cross_heads=heads, cross_dim=dim,
        tokens=model.vision_model.num_patches, attention=attention)

    def make(s):
        inputs = spec.make(s)
        mask, gate = inputs["image_attention_mask"], inputs["cross_attention_gate"]
        mask[0] = 1  # this row's tokens attend to no picture and read them all, or attend to all
        gate[0, s["length"] // 2:] = 1
        return inputs

    return dataclasses.replace(spec, make=make)


def prompts(bundle: Bundle) -> dict:
    """The manifest's prompts: what a message says, or text to go on from without a chat template."""
    chats = any((bundle.dir / n).is_file() for n in ("chat_template.jinja", "chat_template.json"))
    config = bundle.dir / "tokenizer_config.json"
    if chats or config.is_file() and '"chat_template"' in config.read_text():
        return {"caption": "Describe the image.", "answer": "{}"}
    return {"caption": "An image of", "answer": "Question: {} Answer:"}


def export(model: nn.Module, bundle: Bundle, attention: bool) -> None:
    """MllamaForConditionalGeneration."""
    config, inner = model.config, model.model
    text, vision = config.text_config, config.vision_config
    check_rope(text)
    if 0 in text.cross_attention_layers:
        raise ExportError("mllama with cross-attention in the first layer: transformers takes its "
                          "cache's length for the text's and writes nonsense; not supported")
    crossing = [inner.language_model.layers[i].cross_attn for i in text.cross_attention_layers]
    heads, dim = text.num_key_value_heads, text.hidden_size // text.num_attention_heads
    decoder, cross_kv = decoder_spec(model, attention), CrossKV(crossing).eval()
    _check(model, decoder.module, cross_kv)

    bundle.meta |= {"tasks": ["caption", "answer"], "prompts": prompts(bundle),
                    "tiles": vision.max_num_tiles, "tokens_per_tile": inner.vision_model.num_patches,
                    "image_token_id": config.image_token_index,
                    "cross_layers": list(text.cross_attention_layers),
                    "limits": {"max_positions": text.max_position_embeddings}}
    add_generation_config(bundle, model.generation_config)
    bundle.add_graph("vision_encoder", vision_spec(model))
    release(inner, "vision_model", "multi_modal_projector")
    bundle.add_graph("cross_kv", flamingo.cross_kv_spec(cross_kv, text.hidden_size, len(crossing), heads, dim))
    table = inner.language_model.embed_tokens
    bundle.add_graph("embed_tokens", embed_spec(table, table.num_embeddings))
    release(inner.language_model, "embed_tokens")
    bundle.add_graph("decoder", decoder)


def _check(model: nn.Module, decoder: nn.Module, cross_kv: nn.Module) -> None:
    """The decoder written here must be the model's: a row padded on the left, tokens before, at and
    behind two pictures, and a text alone."""
    text, vision = model.config.text_config, model.config.vision_config
    tiles, tokens = vision.max_num_tiles, model.vision_model.num_patches
    heads, dim = text.num_key_value_heads, text.hidden_size // text.num_attention_heads
    own = 2 * (text.num_hidden_layers - len(text.cross_attention_layers))
    torch.manual_seed(0)
    ids, mask = torch.randint(3, text.vocab_size, (2, 7)), torch.tensor([[0, 1, 1, 1, 1, 1, 1], [1] * 7])
    sees = torch.zeros(2, 7, 2, tiles, dtype=torch.int64)
    sees[:, 2:5, 0], sees[:, 5:, 1, 0] = 1, 1
    states = torch.randn(4, tiles * tokens, text.hidden_size).reshape(-1, tokens, text.hidden_size)
    every, empty = torch.tensor(0), [torch.zeros(2, heads, 0, dim)] * own
    positions = position_ids(mask, 7).clamp(min=0)
    shut = sees.flatten(2).sum(-1) == 0
    given = torch.where(shut[..., None], 1, sees.flatten(2))
    with torch.no_grad():
        embeds = model.get_input_embeddings()(ids)
        kv = cross_kv(states.reshape(2, -1, text.hidden_size))
        want = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False,
                     cross_attention_states=states, cross_attention_mask=sees).logits
        got = decoder(embeds, mask, given, (~shut).float(), every, *empty, *kv)[0]
        alone = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).logits
        closed = torch.zeros_like(given)
        without = decoder(embeds, mask, closed, closed.any(-1).float(), every, *empty, *kv)[0]
    seen = mask.bool()
    flamingo.check_against("mllama", got[seen], want[seen], LIMIT)
    flamingo.check_against("mllama without a picture", without[seen], alone[seen], LIMIT)


def end_to_end(model: nn.Module, front: Front):
    """What the model's own generate writes about two pictures in one prompt, from its processor's
    tensors: a Reference for replay_families.compare."""
    image, begin = model.config.image_token_index, front.tokenizer.bos_token_id
    generator = np.random.default_rng(0)
    pictures = [generator.integers(0, 256, size, dtype=np.uint8) for size in ((45, 67, 3), (90, 30, 3))]
    made = front.images([pictures], return_tensors="pt")
    text = front.tokenizer("a photo of a cat", add_special_tokens=False).input_ids
    ids = [begin, image, *text, image, *text] if begin is not None else [image, *text, image, *text]
    seen = torch.zeros(1, len(ids), 2, made["pixel_values"].shape[2], dtype=torch.int64)
    first, second = (i for i, n in enumerate(ids) if n == image)
    seen[0, first:second, 0, :made["num_tiles"][0][0]] = 1
    seen[0, second:, 1, :made["num_tiles"][0][1]] = 1
    given = {n: made[n] for n in ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask")}
    row = {"input_ids": ids, "images": [0, 1], "tiles": made["num_tiles"][0]}
    arrays = {n: t[0].numpy() for n, t in given.items()}
    prompt = torch.tensor([ids])
    return replay_families.ask(
        model.generate, given | {"input_ids": prompt, "attention_mask": torch.ones_like(prompt), "cross_attention_mask": seen},
        lambda bundle, steps, forced: replay_families.mllama(bundle, {"rows": [row]}, arrays, [0], steps, forced))
