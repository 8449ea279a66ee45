"""IDEFICS: a Llama-type decoder with gated cross-attention before every few layers."""

from __future__ import annotations

import torch
from torch import nn

from ..bundle import Bundle
from ..graph import LIMIT, GraphSpec
from . import flamingo
from .causal import causal_mask, embed_spec, last_positions, position_ids
from .common import add_generation_config, release


class CrossKV(nn.Module):
    """latents [B,S,Dv] -> present.{j}.encoder.key (normalised), .value [B,heads,S,dim] of each
    cross layer"""

    def __init__(self, blocks: nn.ModuleList):
        super().__init__()
        self.attention = nn.ModuleList(block.cross_attn for block in blocks)

    def forward(self, latents):
        out = []
        for a in self.attention:
            key = flamingo.split_heads(a.k_proj(latents), a.num_heads)
            out += [a.k_layer_norm(key) if a.qk_layer_norms else key,
                    flamingo.split_heads(a.v_proj(latents), a.num_heads)]
        return tuple(out)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


class Decoder(nn.Module):
    """See flamingo.decoder_spec. The cross-attention reads keys and values that CrossKV made, where
    transformers makes them at each step."""

    def __init__(self, model: nn.Module, tokens: int, attention: bool = False):
        super().__init__()
        inner = model.model
        self.layers, self.blocks = inner.layers, inner.gated_cross_attn_layers
        self.norm, self.head = inner.norm, model.lm_head
        self.interval, self.tokens, self.attention = inner.cross_layer_interval, tokens, attention
        self.register_buffer("inv_freq", inner.layers[0].self_attn.rotary_emb.inv_freq, persistent=True)

    def forward(self, inputs_embeds, attention_mask, image_attention_mask, cross_attention_gate,
                num_logits_to_keep, *past):
        length = inputs_embeds.shape[1]
        own, cross = past[:2 * len(self.layers)], past[2 * len(self.layers):]
        mask = causal_mask(attention_mask, length)
        media = flamingo.media_mask(image_attention_mask, self.tokens)
        angle = position_ids(attention_mask, length).clamp(min=0)[..., None].float() * self.inv_freq
        angle = torch.cat([angle, angle], -1)[:, None]
        cos, sin = angle.cos(), angle.sin()
        x, present, self_maps, cross_maps = inputs_embeds, [], [], []
        for i, layer in enumerate(self.layers):
            if i % self.interval == 0:
                j = i // self.interval
                x, probabilities = self.cross(self.blocks[j], x, cross[2 * j], cross[2 * j + 1],
                                              media, cross_attention_gate)
                cross_maps.append(probabilities)
            a, h = layer.self_attn, layer.input_layernorm(x)
            query, key, value = (flamingo.split_heads(p(h), a.num_heads) for p in (a.q_proj, a.k_proj, a.v_proj))
            key = torch.cat([own[2 * i], rotate(key, cos, sin)], 2)
            value = torch.cat([own[2 * i + 1], value], 2)
            present += [key, value]
            query = rotate(query, cos, sin)
            if a.qk_layer_norms:
                query, key = a.q_layer_norm(query), a.k_layer_norm(key)
            h, probabilities = flamingo.attend(query, key, value, mask, a.scaling)
            self_maps.append(probabilities)
            x = x + a.o_proj(h)
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        maps = (*self_maps, *cross_maps) if self.attention else ()
        return self.head(self.norm(last_positions(x, num_logits_to_keep))), *present, *maps

    def cross(self, block, x, key, value, media, gate):
        a = block.cross_attn
        query = flamingo.split_heads(a.q_proj(block.input_layernorm(x)), a.num_heads)
        if a.qk_layer_norms:
            query = a.q_layer_norm(query)
        h, probabilities = flamingo.attend(query, key, value, media, a.scaling)
        x = x + torch.tanh(block.alpha_cross_attn) * (a.o_proj(h) * gate[..., None])
        return x + torch.tanh(block.alpha_dense) * block.mlp(block.post_attention_layernorm(x)), probabilities


def tokens_per_image(config) -> int:
    """What the resampler makes of an image, or else its patches and the class token."""
    if config.use_resampler:
        return config.perceiver_config.resampler_n_latents
    return (config.vision_config.image_size // config.vision_config.patch_size) ** 2 + 1


def decoder_spec(model: nn.Module, attention: bool) -> GraphSpec:
    config, heads = model.config, model.config.num_attention_heads
    dim, tokens = config.hidden_size // heads, tokens_per_image(config)
    return flamingo.decoder_spec(Decoder(model, tokens, attention).eval(), width=config.hidden_size,
                                 vocab=config.vocab_size + config.additional_vocab_size,
                                 layers=config.num_hidden_layers, heads=heads, dim=dim,
                                 cross_layers=len(model.model.gated_cross_attn_layers),
                                 cross_heads=heads, cross_dim=dim, tokens=tokens,
                                 attention=attention)


def export(model: nn.Module, bundle: Bundle, attention: bool) -> None:
    """IdeficsForVisionText2Text."""
    config, inner = model.config, model.model
    vision, tokens = config.vision_config, tokens_per_image(config)
    heads = config.num_attention_heads
    decoder, cross_kv = decoder_spec(model, attention), CrossKV(inner.gated_cross_attn_layers).eval()
    _check(model, decoder.module, cross_kv, tokens)

    bundle.meta |= {"variant": "idefics", "tasks": ["caption", "answer", "converse"],
                    "tokens_per_image": tokens,
                    "prompts": {"caption": "An image of", "answer": "Question: {} Answer:"},
                    "markup": {"begin": "<s>",
                               "image": "<fake_token_around_image><image><fake_token_around_image>",
                               "next_image": "<image><fake_token_around_image>", "end": "\n",
                               "add_special_tokens": False},
                    "media": {"token": "<image>", "reset_after_eos": True},
                    "limits": {"max_positions": config.max_position_embeddings}}
    add_generation_config(bundle, model.generation_config)
    maps = [layer.self_attn for layer in inner.vision_model.encoder.layers] if attention else []
    bundle.add_graph("vision_encoder", flamingo.vision_spec(inner.vision_model, vision.image_size, maps))
    release(inner, "vision_model")
    if config.use_resampler:
        layers = len(inner.perceiver_resampler.blocks) if attention else 0
        bundle.add_graph("resampler", flamingo.resampler_spec(inner.perceiver_resampler, vision.embed_dim, layers))
        release(inner, "perceiver_resampler")
    bundle.add_graph("cross_kv", flamingo.cross_kv_spec(cross_kv, vision.embed_dim,
                                                        len(inner.gated_cross_attn_layers), heads,
                                                        config.hidden_size // heads))
    table = inner.embed_tokens
    extra = [table.additional_embedding.weight] if table.num_additional_embeddings else []
    embedding = nn.Embedding.from_pretrained(torch.cat([table.weight, *extra]).detach())
    bundle.add_graph("embed_tokens", embed_spec(embedding, embedding.num_embeddings))
    release(inner, "embed_tokens")
    bundle.add_graph("decoder", decoder)


def _check(model: nn.Module, decoder: nn.Module, cross_kv: nn.Module, tokens: int) -> None:
    config = model.config
    torch.manual_seed(0)
    ids = torch.randint(3, config.vocab_size, (2, 6))
    mask = torch.tensor([[0, 1, 1, 1, 1, 1], [1] * 6])
    images = flamingo.one_image_each(2, 6, 2)
    states = torch.randn(2, 2, tokens, config.vision_config.embed_dim)
    with torch.no_grad():
        given = {"perceiver_embeddings" if config.use_resampler else "image_encoder_embeddings": states}
        want = model(input_ids=ids, attention_mask=mask, image_attention_mask=images, use_cache=False, **given).logits
        heads = config.num_attention_heads
        empty = [torch.zeros(2, heads, 0, config.hidden_size // heads)] * (2 * config.num_hidden_layers)
        kv = cross_kv(states.flatten(1, 2))
        every = torch.tensor(0)
        got = decoder(model.model.embed_tokens(ids), mask, images, images.any(-1).float(), every, *empty, *kv)[0]
    flamingo.check_against("idefics", got[mask.bool()], want[mask.bool()], LIMIT)
