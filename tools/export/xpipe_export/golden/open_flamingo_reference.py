"""Flamingo as OpenFlamingo computes it: the other side of the comparison.

Written apart from families/open_flamingo.py and in the original's terms: media and
media locations condition the layers, keys and values are made anew at every
step, and the media mask comes from counting media tokens. Facts and parameter
names from mlfoundations/open_flamingo; decoding is transformers' generate().
"""

from __future__ import annotations

import torch
from torch import nn


class FeedForward(nn.Sequential):
    def __init__(self, dim: int):
        super().__init__(nn.LayerNorm(dim), nn.Linear(dim, 4 * dim, bias=False), nn.GELU(),
                         nn.Linear(4 * dim, dim, bias=False))


def heads_first(x: torch.Tensor, heads: int) -> torch.Tensor:
    """[..., n, heads*dim] -> [..., heads, n, dim]"""
    return x.unflatten(-1, (heads, -1)).transpose(-2, -3)


class PerceiverAttention(nn.Module):
    def __init__(self, dim: int, heads: int, dim_head: int):
        super().__init__()
        self.heads, self.scale = heads, dim_head ** -0.5
        self.norm_media, self.norm_latents = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, heads * dim_head, bias=False)
        self.to_kv = nn.Linear(dim, 2 * heads * dim_head, bias=False)
        self.to_out = nn.Linear(heads * dim_head, dim, bias=False)

    def forward(self, x, latents):
        x, latents = self.norm_media(x), self.norm_latents(latents)
        k, v = self.to_kv(torch.cat((x, latents), dim=-2)).chunk(2, dim=-1)
        q, k, v = (heads_first(t, self.heads) for t in (self.to_q(latents), k, v))
        weights = torch.einsum("...id,...jd->...ij", q * self.scale, k).softmax(-1)
        return self.to_out(torch.einsum("...ij,...jd->...id", weights, v).transpose(-2, -3).flatten(-2))


class PerceiverResampler(nn.Module):
    """x [B,T,v,D] -> [B,T,n,D]"""

    def __init__(self, dim: int, latents: int, depth: int, heads: int, dim_head: int):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(latents, dim))
        self.layers = nn.ModuleList(
            nn.ModuleList([PerceiverAttention(dim, heads, dim_head), FeedForward(dim)])
            for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x):
        latents = self.latents.expand(*x.shape[:2], -1, -1)
        for attn, ff in self.layers:
            latents = attn(x, latents) + latents
            latents = ff(latents) + latents
        return self.norm(latents)


class MaskedCrossAttention(nn.Module):
    def __init__(self, dim: int, visual: int, heads: int, dim_head: int):
        super().__init__()
        self.heads, self.scale = heads, dim_head ** -0.5
        self.norm = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, heads * dim_head, bias=False)
        self.to_kv = nn.Linear(visual, 2 * heads * dim_head, bias=False)
        self.to_out = nn.Linear(heads * dim_head, dim, bias=False)

    def forward(self, x, media, text_time):
        """x [B,T,D], media [B,I,n,Dv], text_time [B,T]: how many media tokens came up to each
        token."""
        images, n = media.shape[1:3]
        k, v = self.to_kv(media.flatten(1, 2)).chunk(2, dim=-1)
        q, k, v = (heads_first(t, self.heads) for t in (self.to_q(self.norm(x)), k, v))
        sim = torch.einsum("bhid,bhjd->bhij", q * self.scale, k)
        media_time = (torch.arange(images) + 1).repeat_interleave(n)
        sim = sim.masked_fill(text_time[:, None, :, None] != media_time, -torch.finfo(sim.dtype).max)
        attn = sim.softmax(-1).masked_fill((text_time == 0)[:, None, :, None], 0.0)
        return self.to_out(torch.einsum("bhij,bhjd->bhid", attn, v).transpose(1, 2).flatten(2))


class GatedCrossAttentionBlock(nn.Module):
    def __init__(self, dim: int, visual: int, heads: int, dim_head: int):
        super().__init__()
        self.attn, self.attn_gate = MaskedCrossAttention(dim, visual, heads, dim_head), nn.Parameter(torch.zeros(1))
        self.ff, self.ff_gate = FeedForward(dim), nn.Parameter(torch.zeros(1))

    def forward(self, x, media, text_time):
        x = self.attn(x, media, text_time) * self.attn_gate.tanh() + x
        return self.ff(x) * self.ff_gate.tanh() + x


class FlamingoLayer(nn.Module):
    def __init__(self, gated_cross_attn_layer, decoder_layer, condition: dict):
        super().__init__()
        self.gated_cross_attn_layer, self.decoder_layer = gated_cross_attn_layer, decoder_layer
        self.condition = condition

    def forward(self, x, *args, **kwargs):
        if self.gated_cross_attn_layer is not None:
            x = self.gated_cross_attn_layer(x, self.condition["media"], self.condition["text_time"])
        return self.decoder_layer(x, *args, **kwargs)


def init_flamingo(lm: nn.Module, layers: str, every: int, media_token_id: int, visual: int,
                  heads: int, dim_head: int) -> None:
    """Put a gated block before every `every`-th layer of lm, where (index + 1) % every == 0."""
    blocks = lm.get_submodule(layers)
    lm.condition = {"media_token_id": media_token_id}
    for i, layer in enumerate(blocks):
        gated = None
        if (i + 1) % every == 0:
            gated = GatedCrossAttentionBlock(lm.config.hidden_size, visual, heads, dim_head)
        blocks[i] = FlamingoLayer(gated, layer, lm.condition)
    lm.register_forward_pre_hook(_locate_media, with_kwargs=True)


def _locate_media(lm, _args, kwargs):
    """Before each forward: the prompt's media locations, or, for cached decoding, the last image
    for every new token."""
    ids, condition = kwargs["input_ids"], lm.condition
    locations = ids == condition["media_token_id"]
    past = kwargs.get("past_key_values")
    if past is None or past.get_seq_length() == 0:
        condition["text_time"] = locations.cumsum(-1)
        condition["images"] = locations.sum(-1)
    else:
        count = condition["images"]
        count = count.repeat_interleave(len(ids) // len(count)) if len(count) != len(ids) else count
        condition["text_time"] = count[:, None].expand_as(ids)


class Flamingo(nn.Module):
    def __init__(self, vision_encoder, lang_encoder, dim: int, latents: int, depth: int, heads: int,
                 dim_head: int, skip: int):
        super().__init__()
        self.vision_encoder, self.lang_encoder, self.skip = vision_encoder, lang_encoder, skip
        self.perceiver = PerceiverResampler(dim, latents, depth, heads, dim_head)

    def patches(self, pixels):
        """[N,3,H,W] -> [N,v,D], without the class token where skip is 1"""
        return self.vision_encoder(pixels).last_hidden_state[:, self.skip:]

    def see(self, vision_x):
        """vision_x [B,I,3,H,W]"""
        states = self.patches(vision_x.flatten(0, 1)).unflatten(0, vision_x.shape[:2])
        self.lang_encoder.condition["media"] = self.perceiver(states)

    def forward(self, vision_x, lang_x, attention_mask):
        self.see(vision_x)
        return self.lang_encoder(input_ids=lang_x, attention_mask=attention_mask, use_cache=False)

    @torch.no_grad()
    def generate(self, vision_x, lang_x, attention_mask, num_beams: int = 1, **parameters):
        self.see(vision_x.repeat_interleave(num_beams, dim=0))
        return self.lang_encoder.generate(input_ids=lang_x, attention_mask=attention_mask,
                                          num_beams=num_beams, **parameters)
