"""Decoder-only language models as one graph with a cache (OPT, Llama, GPT-NeoX, ...).

The causal and padding mask and the position ids are built here from attention_mask
and handed over ready made: the models' own mask builders do not trace.
"""

from __future__ import annotations

from contextlib import contextmanager

import torch
from torch import nn
from transformers.cache_utils import DynamicCache, DynamicLayer

from ..graph import ExportError, GraphSpec


class PastLayer(DynamicLayer):
    """A cache layer that starts out with a graph's past inputs."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor):
        super().__init__()
        self.keys, self.values = keys, values
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True

    def get_seq_length(self):
        # The base class answers 0 for an empty cache by a Python branch, which tracing would
        # freeze.
        return self.keys.shape[-2]


def past_cache(past: tuple[torch.Tensor, ...]) -> DynamicCache:
    """past is key, value, key, value ... of each layer, [B,heads,P,dim]."""
    cache = DynamicCache()
    cache.layers = [PastLayer(k, v) for k, v in zip(past[::2], past[1::2])]
    return cache


def cache_tensors(cache: DynamicCache) -> list[torch.Tensor]:
    return [t for layer in cache.layers for t in (layer.keys, layer.values)]


def causal_mask(attention_mask: torch.Tensor, length, window: int | None = None,
                also: torch.Tensor | None = None) -> torch.Tensor:
    """attention_mask [B,P+T] (1 = token, 0 = padding) to an additive [B,1,T,P+T] mask.

    With window a token sees itself and the window - 1 positions before it, padding counted. also
    is what it sees beside that, bool [B,1,T,P+T] or of a shape that spreads to it.

    Hidden positions get the lowest float32 and not -inf, as in transformers: a
    row of padding that sees nothing becomes uniform and not NaN.
    """
    total = attention_mask.shape[1]
    rows = torch.arange(length) + (total - length)
    visible = torch.arange(total)[None, :] <= rows[:, None]
    if window:
        visible = visible & (torch.arange(total)[None, :] > rows[:, None] - window)
    visible = visible[None, None]
    if also is not None:
        visible = visible | also
    visible = visible & attention_mask.bool()[:, None, None, :]
    return torch.where(visible, 0.0, torch.finfo(torch.float32).min)


def position_ids(attention_mask: torch.Tensor, length) -> torch.Tensor:
    """Positions [B,T] that count tokens and not padding; padding itself gets -1 (OPT's offset makes
    that a row)."""
    counted = attention_mask.cumsum(1) * attention_mask - 1
    return counted[:, attention_mask.shape[1] - length:]


def windows(config) -> dict[str, int | None]:
    """Each way in which layers of a language model attend -> its window, None for all positions.

    The names are transformers' layer types. Raises ExportError for other ways, and for models with
    two ways whose code takes no mask for each.
    """
    window = getattr(config, "sliding_window", None)
    if not window or not getattr(config, "use_sliding_window", True):
        return {"full_attention": None}
    kinds = sorted(set(getattr(config, "layer_types", None) or ["sliding_attention"]))
    if unknown := set(kinds) - {"sliding_attention", "full_attention"}:
        raise ExportError(f"a language model of type {config.model_type} whose layers attend by "
                          f"{', '.join(sorted(unknown))}: not supported")
    if len(kinds) > 1 and config.model_type not in MIXED:
        raise ExportError(f"a language model of type {config.model_type} whose layers attend in "
                          f"different ways ({', '.join(kinds)}): not supported; of those that do, "
                          f"{', '.join(MIXED)} are")
    return {k: window if k == "sliding_attention" else None for k in kinds}


MIXED = ("cohere2", "exaone4", "gemma2", "gemma3_text", "ministral", "olmo3", "qwen2", "qwen3",
         "smollm3")
"""Types whose code takes a mask for each type of layer."""

KEEP = "num_logits_to_keep"
"""The decoders' input that says of how many last positions logits are wanted (transformers.js'
name)."""


def last_positions(hidden: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """The last keep (int64 scalar) rows of hidden [B,T,D]; all of them where keep is 0 or above
    T."""
    return hidden[:, -keep:]


@contextmanager
def heading_last(head: nn.Module, keep: torch.Tensor):
    """While entered, the head of a language model reads the last keep positions alone.

    The hidden states are cut before the head, which at OPT-2.7B's size costs 129 MMAC a position.
    A hook and not the models' own logits_to_keep, which OPT, MPT, T5 and BLIP do not have.
    """
    hook = head.register_forward_pre_hook(lambda _m, args: (last_positions(args[0], keep), *args[1:]))
    try:
        yield
    finally:
        hook.remove()


LENGTHS = ("dynamic", "longrope")
"""Kinds of RoPE whose frequencies depend on how long a text has become, which a graph fixes."""


def check_rope(config) -> None:
    """Refuse a language model whose positions a graph cannot hold. Raises ExportError."""
    scaling = getattr(config, "rope_scaling", None) or {}
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind in (*LENGTHS, "su"):  # the first name of longrope
        raise ExportError(f"a language model of type {config.model_type} with rope_scaling of type {kind!r}, whose "
                          "frequencies change with a text's length: not supported")


class CausalDecoder(nn.Module):
    """inputs_embeds [B,T,D], attention_mask [B,P+T], num_logits_to_keep [], past [B,heads,P,dim]...
    -> logits [B,K,V], present...

    lm is any transformers decoder-only model with a head. Positions come out of attention_mask, so
    prefill (P = 0), steps, batches and left padding are one graph. K is num_logits_to_keep, or T
    where that is 0. attention adds self_attn.{i} [B,heads,T,P+T] behind the present tensors.
    """

    def __init__(self, lm: nn.Module, attention: bool = False):
        super().__init__()
        check_rope(lm.config)
        lm.set_attn_implementation("eager")
        self.lm, self.attention, self.kind = lm, attention, lm.config.model_type
        self.windows = windows(lm.config)

    def forward(self, inputs_embeds, attention_mask, num_logits_to_keep, *past):
        length = inputs_embeds.shape[1]
        cache = past_cache(past)
        masks = {k: causal_mask(attention_mask, length, w) for k, w in self.windows.items()}
        mask = masks if len(masks) > 1 else next(iter(masks.values()))
        positions = position_ids(attention_mask, length)
        if self.kind != "opt":
            positions = positions.clamp(min=0)  # padding; OPT alone has a row for -1
        if self.kind == "mpt":  # ALiBi: no positions; and its mask is one of ones
            given = {"attention_mask": (mask == 0).float()}
        else:
            given = {"attention_mask": mask, "position_ids": positions}
        with heading_last(self.lm.get_output_embeddings(), num_logits_to_keep):
            out = self.lm(inputs_embeds=inputs_embeds, past_key_values=cache, use_cache=True, return_dict=True,
                          cache_position=torch.arange(length) + (attention_mask.shape[1] - length),
                          output_attentions=self.attention, **given)
        maps = out.attentions if self.attention else ()
        return out.logits, *cache_tensors(cache), *maps


class EmbedTokens(nn.Module):
    """input_ids [B,T] -> inputs_embeds [B,T,D]"""

    def __init__(self, embedding: nn.Module):
        super().__init__()
        self.embedding = embedding

    def forward(self, input_ids):
        return self.embedding(input_ids)


def cache_names(prefix: str, layers: int, infix: str = "") -> list[str]:
    return [f"{prefix}.{i}{infix}.{kv}" for i in range(layers) for kv in ("key", "value")]


def cache_shape(config) -> tuple[int, int, int]:
    """Layers, key-value heads, head dimension of a text config."""
    heads = config.num_attention_heads
    dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    return config.num_hidden_layers, getattr(config, "num_key_value_heads", None) or heads, dim


def padded_mask(batch: int, past: int, length: int, first: int = 0) -> torch.Tensor:
    """An int64 [B,P+T] mask whose rows have 0, 1, 2 ... padding positions on the left."""
    total = past + length
    mask = torch.ones(batch, total, dtype=torch.int64)
    for row in range(batch):
        mask[row, : min(row + first, total - 1)] = 0
    return mask


def embed_spec(embedding: nn.Module, vocab: int) -> GraphSpec:
    return GraphSpec(
        EmbedTokens(embedding),
        lambda s: {"input_ids": torch.randint(0, vocab, (s["batch"], s["length"]))},
        ["inputs_embeds"],
        {"input_ids": ["batch", "length"], "inputs_embeds": ["batch", "length", "hidden"]},
        {"batch": 2, "length": 3}, [{"batch": 1, "length": 1}, {"batch": 3, "length": 7}])


def decoder_spec(lm: nn.Module, embed_dim: int | None = None, attention: bool = False) -> GraphSpec:
    """embed_dim: width of inputs_embeds where it is not the hidden size (OPT-350m)."""
    config = lm.config
    layers, heads, dim = cache_shape(config)
    width = embed_dim or getattr(config, "word_embed_proj_dim", None) or config.hidden_size

    def make(s):
        inputs = {"inputs_embeds": torch.randn(s["batch"], s["length"], width) * 0.1,
                  "attention_mask": padded_mask(s["batch"], s["past"], s["length"]),
                  KEEP: torch.tensor(s["keep"])}
        for name in cache_names("past_key_values", layers):
            inputs[name] = torch.randn(s["batch"], heads, s["past"], dim)
        return inputs

    axes = {"inputs_embeds": ["batch", "length", width], "attention_mask": ["batch", "total"], KEEP: [],
            "logits": ["batch", "kept", config.vocab_size]}
    axes |= {n: ["batch", heads, "past", dim] for n in cache_names("past_key_values", layers)}
    axes |= {n: ["batch", heads, "total", dim] for n in cache_names("present", layers)}
    maps = [f"self_attn.{i}" for i in range(layers)] if attention else []
    axes |= {n: ["batch", config.num_attention_heads, "length", "total"] for n in maps}
    return GraphSpec(CausalDecoder(lm, attention), make,
                     ["logits", *cache_names("present", layers), *maps], axes,
                     {"batch": 2, "length": 4, "past": 5, "keep": 3},
                     [{"batch": 1, "length": 7, "past": 0, "keep": 1},
                      {"batch": 3, "length": 4, "past": 0, "keep": 0},
                      {"batch": 1, "length": 1, "past": 11, "keep": 1},
                      {"batch": 3, "length": 2, "past": 6, "keep": 2}])
