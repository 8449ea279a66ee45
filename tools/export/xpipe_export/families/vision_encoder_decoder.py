"""VisionEncoderDecoderModel: a vision transformer and a text decoder whose cross-attention reads
its states.

ViT and GPT-2 (captioning), TrOCR (a line of text), Donut (Swin and mBART: pages, by task prompt).
Keys and values of the cross-attention are made once for all steps, for GPT-2, too, where
transformers makes them again at every step.
"""

from __future__ import annotations

import json

import torch
from torch import nn
from torch.nn import functional as F

from ..bundle import Bundle
from ..graph import LIMIT, ExportError, GraphSpec
from .blip2 import VisionEncoder
from .causal import (cache_names, cache_tensors, causal_mask, embed_spec, heading_last, padded_mask,
                     position_ids)
from .common import add_generation_config, release
from .flamingo import check_against, split_heads
from .t5 import crossing_cache, crossing_spec

DECODERS = {"gpt2": "n_positions", "trocr": "max_position_embeddings",
            "mbart": "max_position_embeddings"}
"""model_type of a decoder -> the key of its config that says how many positions it has."""

DONUT_ANSWER = "<s_docvqa><s_question>{}</s_question><s_answer>"
DONUT_TASKS = ("<s_cord-v2>", "<s_cord-v1>", "<s_zhtrainticket>", "<s_rvlcdip>", "<s_synthdog>",
               "<s_iitcdip>")
"""Task tokens of the released Donut checkpoints that need no text; those of pre-training, which all
of them have, come last."""


class Encoder(nn.Module):
    """pixel_values [B,3,H,W] -> the last hidden states [B,N,De], or [B,N,D] where the model
    projects them for the decoder"""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.encoder, self.project = model.encoder, getattr(model, "enc_to_dec_proj", nn.Identity())
        if hasattr(model.encoder.config, "window_size"):
            _settle_windows(model.encoder)

    def forward(self, pixel_values):
        return self.project(self.encoder(pixel_values).last_hidden_state)


class Windows(nn.Module):
    """The additive mask [windows,w*w,w*w] of a shifted Swin layer: a window's places see those of
    their own region alone.

    Kept as the number of each place's region: at Donut's size the mask itself takes 123 MB in one
    layer.
    """

    def __init__(self, height: int, width: int, window: int, shift: int):
        super().__init__()
        rows, columns = (
            torch.bucketize(torch.arange(n), torch.tensor([n - window, n - shift]), right=True)
            for n in (height, width))
        numbers = (rows[:, None] * 3 + columns).view(height // window, window, width // window,
                                                     window)
        self.register_buffer("regions",
                             numbers.transpose(1, 2).reshape(-1, window * window).float())

    def forward(self):
        return (self.regions[:, None] != self.regions[:, :, None]).float() * -100.0


def _settle_windows(swin: nn.Module) -> None:
    """Fix what a Swin computes from its input's size at each call; a graph has one size."""
    embeddings = swin.embeddings.patch_embeddings
    embeddings.register_forward_hook(lambda _m, _i, out: (out[0], tuple(embeddings.grid_size)))
    for stage in swin.encoder.layers:
        for layer in stage.blocks:
            height, width = layer.input_resolution
            layer.set_shift_and_window_size((height, width))
            layer.set_shift_and_window_size = lambda _resolution: None
            if layer.shift_size:
                window = layer.window_size
                padded = (-(-n // window) * window for n in (height, width))
                layer.mask = Windows(*padded, window, layer.shift_size)
            layer.get_attn_mask = _mask_of(layer)


def _mask_of(layer: nn.Module):
    return lambda *_args, **_kwargs: layer.mask() if layer.shift_size else None


class CrossKV(nn.Module):
    """image_embeds [B,N,D] -> present.{i}.encoder.key, .value [B,heads,N,dim] of every decoder
    layer"""

    def __init__(self, cross: list[nn.Module]):
        super().__init__()
        self.cross = nn.ModuleList(cross)

    def forward(self, image_embeds):
        out = []
        for m in self.cross:
            if hasattr(m, "c_attn"):  # GPT-2's, one matrix for both
                made = m.c_attn(image_embeds).split(m.split_size, 2)
            else:
                made = m.k_proj(image_embeds), m.v_proj(image_embeds)
            out += [split_heads(x, m.num_heads) for x in made]
        return tuple(out)


class Positions(nn.Module):
    """In the place of a decoder's own embed_positions, which counts padding, too: rows [B,T,D] for
    ids [B,T] set before."""

    def __init__(self, own: nn.Module):
        super().__init__()
        if hasattr(own, "weights"):  # TrOCR's sinusoids; the first position follows the padding's
            self.register_buffer("table", own.weights.detach())
            self.offset = own.padding_idx + 1
        else:
            self.table, self.offset = own.weight, own.offset

    def forward(self, *_args, **_kwargs):
        return F.embedding(self.ids + self.offset, self.table)


class Decoder(nn.Module):
    """The same inputs and outputs as t5.Decoder. decoder is a causal language model with
    cross-attention."""

    def __init__(self, decoder: nn.Module, attention: bool = False):
        super().__init__()
        self.decoder, self.attention, self.kind = decoder, attention, decoder.config.model_type
        self.positions = None
        if self.kind == "gpt2":
            for block in decoder.transformer.h:
                # The mask given is causal already: without this its table of n_positions^2 is in
                # every layer of the graph.
                block.attn.is_cross_attention = True
        else:
            inner = decoder.get_decoder()
            self.positions = inner.embed_positions = Positions(inner.embed_positions)

    def forward(self, inputs_embeds, attention_mask, encoder_attention_mask, num_logits_to_keep,
                *past):
        cache = crossing_cache(past)
        length = inputs_embeds.shape[1]
        mask = causal_mask(attention_mask, length)
        positions = position_ids(attention_mask, length).clamp(min=0)
        given = {"attention_mask": mask}
        if self.kind == "trocr":
            given["attention_mask"] = (mask == 0).float()
        if self.positions is None:
            given["position_ids"] = positions
        else:
            self.positions.ids = positions
        with heading_last(self.decoder.get_output_embeddings(), num_logits_to_keep):
            # of the encoder's states only the presence is read: the cache has the keys and values
            out = self.decoder(
                inputs_embeds=inputs_embeds, encoder_hidden_states=inputs_embeds,
                encoder_attention_mask=encoder_attention_mask, past_key_values=cache, use_cache=True,
                cache_position=torch.arange(length) + (attention_mask.shape[1] - length),
                output_attentions=self.attention, return_dict=True, **given)
        maps = (*out.attentions, *out.cross_attentions) if self.attention else ()
        return out.logits, *cache_tensors(cache.self_attention_cache), *maps


def cross_attention(decoder: nn.Module) -> list[nn.Module]:
    """The cross-attention module of each layer."""
    if decoder.config.model_type == "gpt2":
        return [block.crossattention for block in decoder.transformer.h]
    return [layer.encoder_attn for layer in decoder.get_decoder().layers]


def image_size(config) -> tuple[int, int]:
    """Height and width of the pictures a vision encoder takes."""
    size = config.image_size
    return tuple(size) if isinstance(size, (list, tuple)) else (size, size)


def patches(config) -> dict:
    """The manifest's `patches`: what the encoder's states stand for."""
    side = config.patch_size if isinstance(config.patch_size, int) else config.patch_size[0]
    if hasattr(config, "depths"):  # Swin: every stage after the first halves the grid
        side *= 2 ** (len(config.depths) - 1)
        return {"before": 0, "grids": [[-(-n // side) for n in image_size(config)]]}
    return {"before": 2 if config.model_type == "deit" else 1,
            "grids": [[n // side for n in image_size(config)]]}


def vision_spec(model: nn.Module, attention: list[nn.Module]) -> GraphSpec:
    height, width = image_size(model.config.encoder)
    maps = [f"self_attn.{i}" for i in range(len(attention))]
    axes = {"pixel_values": ["batch", 3, height, width],
            "image_embeds": ["batch", "tokens", "width"]}
    axes |= {m: ["batch", "heads", "tokens", "tokens"] for m in maps}
    return GraphSpec(VisionEncoder(Encoder(model), attention),
                     lambda s: {"pixel_values": torch.randn(s["batch"], 3, height, width)},
                     ["image_embeds", *maps], axes, {"batch": 2}, [{"batch": 1}, {"batch": 3}])


def cross_kv_spec(module: nn.Module, width: int, layers: int, heads: int, dim: int) -> GraphSpec:
    kv = cache_names("present", layers, ".encoder")
    axes = {"image_embeds": ["batch", "tokens", width]}
    axes |= {n: ["batch", heads, "tokens", dim] for n in kv}
    return GraphSpec(
        module, lambda s: {"image_embeds": torch.randn(s["batch"], s["tokens"], width)}, kv, axes,
        {"batch": 2, "tokens": 5}, [{"batch": 1, "tokens": 17}, {"batch": 3, "tokens": 9}])


def prompts(bundle: Bundle, donut: bool) -> dict:
    """The manifest's keys about tasks and prompts, from the checkpoint's tokenizer where it is
    Donut's."""
    known = {"tasks": ["caption"], "prompts": {"caption": ""}, "prompt_special_tokens": False}
    if not donut:
        return known
    file, added = bundle.dir / "tokenizer.json", set()
    if file.exists():
        added = {t["content"] for t in json.loads(file.read_text())["added_tokens"]}
    tasks = {"caption": next((t for t in DONUT_TASKS if t in added), "")}
    if "<s_docvqa>" in added:
        tasks["answer"] = DONUT_ANSWER
    return known | {"tasks": sorted(tasks, reverse=True), "prompts": tasks,
                    "prompt_replaces_start": True, "keep_special_tokens": True}


def export(model: nn.Module, bundle: Bundle, attention: bool) -> None:
    """VisionEncoderDecoderModel."""
    config, decoder, kind = model.config, model.decoder, model.config.decoder.model_type
    if kind not in DECODERS:
        raise ExportError(f"VisionEncoderDecoderModel with a decoder of type {kind!r}; "
                          f"known are {', '.join(DECODERS)}")
    cross = cross_attention(decoder)
    layers, heads, dim = len(cross), cross[0].num_heads, cross[0].head_dim
    embedding, vocab = decoder.get_input_embeddings(), decoder.get_output_embeddings().out_features
    width = embedding.embedding_dim
    seen = config.encoder.hidden_size if not hasattr(model, "enc_to_dec_proj") else width
    reference = _reference(model)

    generation = model.generation_config
    start = generation.decoder_start_token_id
    bundle.meta |= prompts(bundle, "donut" in config.encoder.model_type)
    bundle.meta |= {"decoder_start_token_id": generation.bos_token_id if start is None else start,
                    "limits": {"max_positions": getattr(config.decoder, DECODERS[kind])},
                    "patches": patches(config.encoder)}
    add_generation_config(bundle, generation)
    maps = []
    if attention and config.encoder.model_type in ("vit", "deit"):  # Swin's are of windows
        maps = [layer.attention.attention for layer in model.encoder.encoder.layer]
    vision, cross_kv = vision_spec(model, maps), CrossKV(cross)
    own = Decoder(decoder, attention)
    _check(reference, vision.module, cross_kv, own, embedding, (layers, heads, dim))
    bundle.add_graph("vision_encoder", vision)
    del vision
    release(model, "encoder")
    bundle.add_graph("cross_kv", cross_kv_spec(cross_kv, seen, layers, heads, dim))
    bundle.add_graph("embed_tokens", embed_spec(embedding, embedding.num_embeddings))
    bundle.add_graph("decoder", crossing_spec(own, width=width, vocab=vocab, layers=layers,
                                              heads=heads, dim=dim, attention=attention))


def _reference(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A picture, ids and the model's own logits for them, before any part of it is replaced."""
    torch.manual_seed(0)
    pixels = torch.randn(1, 3, *image_size(model.config.encoder))
    ids = torch.randint(3, model.config.decoder.vocab_size, (1, 6))
    with torch.no_grad():
        out = model(pixel_values=pixels, decoder_input_ids=ids, use_cache=False)
    return pixels, ids, out.logits


def _check(reference, vision: nn.Module, cross_kv: nn.Module, decoder: nn.Module, embed: nn.Module,
           sizes) -> None:
    """The parts together must be the model: a prompt padded on the left, then one step more."""
    pixels, ids, want = reference
    layers, heads, dim = sizes
    for module in (vision, cross_kv, decoder):
        module.eval()
    with torch.no_grad():
        embeds = vision(pixels)
        embeds = embeds[0] if isinstance(embeds, tuple) else embeds
        kv = cross_kv(embeds)
        seen = torch.ones(embeds.shape[:2], dtype=torch.int64)
        every, empty = torch.tensor(0), [torch.zeros(1, heads, 0, dim)] * (2 * layers)
        padded = torch.cat([ids[:, :2], ids[:, :-1]], 1)
        mask = padded_mask(1, 0, padded.shape[1], first=2)
        first = decoder(embed(padded), mask, seen, every, *empty, *kv)
        mask = torch.cat([mask, mask[:, -1:]], 1)
        last = decoder(embed(ids[:, -1:]), mask, seen, every, *first[1:1 + 2 * layers], *kv)
    got = torch.cat([first[0][:, 2:], last[0]], 1)
    check_against("vision-encoder-decoder", got, want, LIMIT)
