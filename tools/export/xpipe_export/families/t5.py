"""T5-type encoder-decoder language models: an encoder graph that also makes the
cross-attention keys and values, and a decoder graph with the same loop as a
decoder-only model's."""

from __future__ import annotations

import torch
from torch import nn
from transformers.cache_utils import EncoderDecoderCache

from ..graph import GraphSpec
from .causal import KEEP, cache_names, cache_tensors, causal_mask, last_positions, padded_mask, past_cache


class Encoder(nn.Module):
    """inputs_embeds [B,S,D], attention_mask [B,S] -> encoder_hidden_states [B,S,D],
    present.{i}.encoder.key, .value [B,heads,S,dim]"""

    def __init__(self, lm: nn.Module, attention: bool = False):
        super().__init__()
        self.encoder, self.attention = lm.encoder, attention
        self.cross = nn.ModuleList(block.layer[1].EncDecAttention for block in lm.decoder.block)

    def forward(self, inputs_embeds, attention_mask):
        out = self.encoder(inputs_embeds=inputs_embeds, attention_mask=attention_mask,
                           output_attentions=self.attention, return_dict=True)
        hidden = out.last_hidden_state
        kv = []
        for module in self.cross:
            for projection in (module.k, module.v):
                kv.append(
                    projection(hidden).view(hidden.shape[0], -1, module.n_heads,
                                            module.key_value_proj_dim).transpose(1, 2))
        return hidden, *kv, *(out.attentions if self.attention else ())


def crossing_cache(past: tuple[torch.Tensor, ...]) -> EncoderDecoderCache:
    """past is the growing tensors of each layer, then the encoder's, which are made already."""
    half = len(past) // 2
    cache = EncoderDecoderCache(past_cache(past[:half]), past_cache(past[half:]))
    cache.is_updated = {i: True for i in range(half // 2)}
    return cache


class Decoder(nn.Module):
    """inputs_embeds [B,T,D], attention_mask [B,P+T], encoder_attention_mask [B,S],
    num_logits_to_keep [], past decoder and encoder tensors -> logits [B,K,V],
    present.{i}.decoder.key, .value

    past holds the 2L self-attention tensors [B,heads,P,dim], then the 2L tensors of the encoder
    graph [B,heads,S,dim].
    """

    def __init__(self, lm: nn.Module, attention: bool = False):
        super().__init__()
        self.decoder, self.lm_head, self.attention = lm.decoder, lm.lm_head, attention
        # Tied T5 scales before the head; untied (Flan-T5) does not.
        self.scale = lm.model_dim ** -0.5 if lm.config.tie_word_embeddings else 1.0

    def forward(self, inputs_embeds, attention_mask, encoder_attention_mask, num_logits_to_keep, *past):
        cache = crossing_cache(past)
        length = inputs_embeds.shape[1]
        # Of the encoder's states only the presence is read: the cache has the keys and values.
        out = self.decoder(inputs_embeds=inputs_embeds, attention_mask=causal_mask(attention_mask, length),
                           past_key_values=cache, use_cache=True, encoder_hidden_states=inputs_embeds,
                           encoder_attention_mask=encoder_attention_mask,
                           cache_position=torch.arange(length) + (attention_mask.shape[1] - length),
                           output_attentions=self.attention, return_dict=True)
        logits = self.lm_head(last_positions(out.last_hidden_state, num_logits_to_keep) * self.scale)
        maps = (*out.attentions, *out.cross_attentions) if self.attention else ()
        return logits, *cache_tensors(cache.self_attention_cache), *maps


def right_padded(batch: int, length: int) -> torch.Tensor:
    mask = torch.ones(batch, length, dtype=torch.int64)
    for row in range(batch):
        mask[row, max(1, length - row):] = 0
    return mask


def encoder_spec(lm: nn.Module, attention: bool = False) -> GraphSpec:
    config = lm.config
    layers, width = config.num_decoder_layers, config.d_model
    names = cache_names("present", layers, ".encoder")
    maps = [f"self_attn.{i}" for i in range(config.num_layers)] if attention else []
    axes = {"inputs_embeds": ["batch", "source", width], "attention_mask": ["batch", "source"],
            "encoder_hidden_states": ["batch", "source", width]}
    axes |= {n: ["batch", config.num_heads, "source", config.d_kv] for n in names}
    axes |= {n: ["batch", config.num_heads, "source", "source"] for n in maps}
    return GraphSpec(Encoder(lm, attention), lambda s: {
        "inputs_embeds": torch.randn(s["batch"], s["source"], width),
        "attention_mask": right_padded(s["batch"], s["source"])},
                     ["encoder_hidden_states", *names, *maps], axes, {"batch": 2, "source": 5},
                     [{"batch": 1, "source": 40}, {"batch": 3, "source": 11}])


def decoder_spec(lm: nn.Module, attention: bool = False) -> GraphSpec:
    config = lm.config
    return crossing_spec(Decoder(lm, attention), width=config.d_model, vocab=config.vocab_size,
                         layers=config.num_decoder_layers, heads=config.num_heads, dim=config.d_kv,
                         attention=attention)


def crossing_spec(module: nn.Module, *, width: int, vocab: int, layers: int, heads: int, dim: int, attention: bool,
                  spread: float = 1.0) -> GraphSpec:
    """The decoder graph of any model whose cross-attention reads an encoder's states.

    module's forward is that of Decoder above. spread is the standard deviation of the embeddings it
    is tried on.
    """
    own, cross = cache_names("past_key_values", layers, ".decoder"), cache_names("past_key_values", layers, ".encoder")
    present = cache_names("present", layers, ".decoder")

    def make(s):
        inputs = {"inputs_embeds": torch.randn(s["batch"], s["length"], width) * spread,
                  "attention_mask": padded_mask(s["batch"], s["past"], s["length"]),
                  "encoder_attention_mask": right_padded(s["batch"], s["source"]), KEEP: torch.tensor(s["keep"])}
        inputs |= {n: torch.randn(s["batch"], heads, s["past"], dim) for n in own}
        return inputs | {n: torch.randn(s["batch"], heads, s["source"], dim) for n in cross}

    maps = [f"{kind}.{i}" for kind in ("self_attn", "cross_attn") for i in range(layers)] if attention else []
    axes = {"inputs_embeds": ["batch", "length", width], "attention_mask": ["batch", "total"],
            "encoder_attention_mask": ["batch", "source"], KEEP: [], "logits": ["batch", "kept", vocab]}
    axes |= {n: ["batch", heads, "past", dim] for n in own} | {n: ["batch", heads, "source", dim] for n in cross}
    axes |= {n: ["batch", heads, "total", dim] for n in present}
    axes |= {n: ["batch", heads, "length", "source" if n.startswith("cross") else "total"] for n in maps}
    return GraphSpec(module, make, ["logits", *present, *maps], axes,
                     {"batch": 2, "length": 4, "past": 5, "source": 7, "keep": 3},
                     [{"batch": 1, "length": 1, "past": 0, "source": 9, "keep": 1},
                      {"batch": 3, "length": 4, "past": 0, "source": 2, "keep": 0},
                      {"batch": 3, "length": 1, "past": 23, "source": 6, "keep": 1},
                      {"batch": 2, "length": 2, "past": 4, "source": 33, "keep": 2}])
