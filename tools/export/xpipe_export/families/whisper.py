"""Whisper: an encoder of sound, and a text decoder whose cross-attention reads its states.

The decoder takes ids: its table of embeddings and its head are one matrix, which a graph of its own
for embeddings would store a second time.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from transformers import GenerationMixin

from .. import replay_families
from ..bundle import Bundle
from ..graph import LIMIT, GraphSpec
from .causal import KEEP, cache_names, cache_tensors, causal_mask, last_positions, padded_mask, position_ids
from .common import Front, add_generation_config, release
from .flamingo import check_against
from .t5 import crossing_cache
from .vision_encoder_decoder import CrossKV, cross_kv_spec


class Encoder(nn.Module):
    """input_features [B,mels,frames] -> last_hidden_state [B,N,D]"""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, input_features):
        return self.encoder(input_features).last_hidden_state


class Decoder(nn.Module):
    """input_ids [B,T], attention_mask [B,P+T], position_ids [B,T], num_logits_to_keep [], past decoder
    and encoder tensors -> logits [B,K,V], present.{i}.decoder.key, .value (, the maps)

    past is that of t5.Decoder. Every state of the encoder may be read: there is no mask of them.
    """

    def __init__(self, model: nn.Module, attention: bool = False):
        super().__init__()
        self.decoder, self.head, self.attention = model.model.decoder, model.proj_out, attention
        self.register_buffer("none", torch.zeros(1), persistent=False)

    def forward(self, input_ids, attention_mask, position_ids, num_logits_to_keep, *past):
        cache = crossing_cache(past)
        length = input_ids.shape[1]
        # of the encoder's states only the presence is read: the cache has the keys and values
        out = self.decoder(input_ids=input_ids, attention_mask=causal_mask(attention_mask, length),
                           position_ids=position_ids, encoder_hidden_states=past[0], past_key_values=cache,
                           cache_position=torch.arange(length) + (attention_mask.shape[1] - length),
                           use_cache=True, output_attentions=self.attention, return_dict=True)
        hidden = last_positions(out.last_hidden_state, num_logits_to_keep)
        # As a matrix, the product reads the table as it lies (Gemm with transB), and the file has it once.
        logits = torch.addmm(self.none, hidden.reshape(-1, hidden.shape[-1]), self.head.weight.t())
        maps = (*out.attentions, *out.cross_attentions) if self.attention else ()
        return (logits.reshape(hidden.shape[0], -1, logits.shape[-1]),
                *cache_tensors(cache.self_attention_cache), *maps)


def encoder_spec(model: nn.Module) -> GraphSpec:
    config = model.config
    mels, frames = config.num_mel_bins, 2 * config.max_source_positions  # the second convolution halves them
    axes = {"input_features": ["batch", mels, frames],
            "last_hidden_state": ["batch", config.max_source_positions, config.d_model]}
    return GraphSpec(Encoder(model.model.encoder), lambda s: {"input_features": torch.randn(s["batch"], mels, frames)},
                     ["last_hidden_state"], axes, {"batch": 2}, [{"batch": 1}, {"batch": 3}], unpack=True)


def decoder_spec(model: nn.Module, attention: bool) -> GraphSpec:
    config = model.config
    layers, heads = config.decoder_layers, config.decoder_attention_heads
    dim = config.d_model // heads
    own, cross = (cache_names("past_key_values", layers, f".{side}") for side in ("decoder", "encoder"))
    present = cache_names("present", layers, ".decoder")

    def make(s):
        mask = padded_mask(s["batch"], s["past"], s["length"])
        inputs = {"input_ids": torch.randint(0, config.vocab_size, (s["batch"], s["length"])), "attention_mask": mask,
                  "position_ids": position_ids(mask, s["length"]).clamp(min=0), KEEP: torch.tensor(s["keep"])}
        inputs |= {n: torch.randn(s["batch"], heads, s["past"], dim) for n in own}
        return inputs | {n: torch.randn(s["batch"], heads, s["source"], dim) for n in cross}

    maps = [f"{kind}.{i}" for kind in ("self_attn", "cross_attn") for i in range(layers)] if attention else []
    axes = {"input_ids": ["batch", "length"], "attention_mask": ["batch", "total"], "position_ids": ["batch", "length"],
            KEEP: [], "logits": ["batch", "kept", config.vocab_size]}
    axes |= {n: ["batch", heads, "past", dim] for n in own} | {n: ["batch", heads, "source", dim] for n in cross}
    axes |= {n: ["batch", heads, "total", dim] for n in present}
    axes |= {n: ["batch", "heads", "length", "source" if n.startswith("cross") else "total"] for n in maps}
    return GraphSpec(Decoder(model, attention), make, ["logits", *present, *maps], axes,
                     {"batch": 2, "length": 4, "past": 5, "source": 7, "keep": 3},
                     [{"batch": 1, "length": 1, "past": 0, "source": 9, "keep": 1},
                      {"batch": 3, "length": 4, "past": 0, "source": 2, "keep": 0},
                      {"batch": 3, "length": 1, "past": 9, "source": 6, "keep": 1}])


def export(model: nn.Module, bundle: Bundle, attention: bool) -> None:
    """WhisperForConditionalGeneration."""
    config = model.config
    layers, heads = config.decoder_layers, config.decoder_attention_heads
    cross = CrossKV([layer.encoder_attn for layer in model.model.decoder.layers])
    decoder = decoder_spec(model, attention)
    _check(model, cross, decoder.module)
    start = model.generation_config.decoder_start_token_id
    bundle.meta |= {"decoder_start_token_id": config.decoder_start_token_id if start is None else start,
                    "limits": {"max_positions": config.max_target_positions}}
    add_generation_config(bundle, model.generation_config)
    # A text goes wrong sooner by what few bits cost in the encoder than by what they cost in the decoder.
    bundle.add_graph("encoder", encoder_spec(model), dtype="int8-fp16" if bundle.dtype == "int4-fp16" else None)
    release(model.model, "encoder")
    spec = cross_kv_spec(cross, config.d_model, layers, heads, config.d_model // heads)
    bundle.add_graph("cross_kv", replace(spec, unpack=True))
    bundle.add_graph("decoder", decoder)


def _check(model: nn.Module, cross: nn.Module, decoder: nn.Module) -> None:
    """The decoder written here must be the model's: a start padded on the left, then a step more."""
    config = model.config
    torch.manual_seed(0)
    ids = torch.randint(3, config.vocab_size, (1, 6))
    states = torch.randn(1, config.max_source_positions, config.d_model)
    heads = config.decoder_attention_heads
    empty = [torch.zeros(1, heads, 0, config.d_model // heads)] * (2 * config.decoder_layers)
    decoder.eval()
    with torch.no_grad():
        want = model(encoder_outputs=(states,), decoder_input_ids=ids, use_cache=False).logits
        kv, every = cross(states), torch.tensor(0)
        padded = torch.cat([ids[:, :2], ids[:, :-1]], 1)
        mask = padded_mask(1, 0, padded.shape[1], first=2)
        first = decoder(padded, mask, position_ids(mask, 7).clamp(min=0), every, *empty, *kv)
        mask = torch.cat([mask, mask[:, -1:]], 1)
        last = decoder(ids[:, -1:], mask, position_ids(mask, 1), every, *first[1:1 + len(empty)], *kv)
    check_against("whisper", torch.cat([first[0][:, 2:], last[0]], 1), want, LIMIT)


def end_to_end(model: nn.Module, front: Front):
    """What the model writes about features of noise, behind its start token."""
    config = model.config
    torch.manual_seed(0)
    features = torch.randn(1, config.num_mel_bins, 2 * config.max_source_positions)
    start = torch.tensor([[config.decoder_start_token_id]])
    plain = type(model.generation_config)(eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id)
    row = {"start": start[0].tolist()}
    return replay_families.ask(
        # not Whisper's own generate, which goes on to a next segment
        lambda **given: GenerationMixin.generate(model, generation_config=plain, **given),
        {"input_features": features, "decoder_input_ids": start},
        lambda bundle, steps, forced: replay_families.whisper(bundle, {"rows": [row]}, {"input_features": features.numpy()},
                                                              [0], steps, forced))
