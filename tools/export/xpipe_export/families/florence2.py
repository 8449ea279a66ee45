"""Florence-2: DaViT's features and a text behind them go through BART's encoder, and its decoder
answers with text and places."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutput

from .. import checkpoint, replay_families
from ..bundle import Bundle
from ..graph import LIMIT, ExportError, GraphSpec
from .causal import cache_tensors, causal_mask, embed_spec, last_positions, padded_mask, position_ids
from .common import Front, add_generation_config, release
from .flamingo import check_against
from .t5 import crossing_cache, crossing_spec, right_padded
from .vision_encoder_decoder import CrossKV, Positions, cross_kv_spec


class Vision(nn.Module):
    """pixel_values [B,3,H,W] -> image_features [B,N,D], in the text's width"""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.tower, self.projector = model.vision_tower, model.multi_modal_projector

    def forward(self, pixel_values):
        return self.projector(self.tower(pixel_values))


class Encoder(nn.Module):
    """inputs_embeds [B,S,D], attention_mask [B,S] -> last_hidden_state [B,S,D]"""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, inputs_embeds, attention_mask):
        return self.encoder(inputs_embeds=inputs_embeds, attention_mask=attention_mask).last_hidden_state


class Decoder(nn.Module):
    """The same inputs and outputs as t5.Decoder."""

    def __init__(self, decoder: nn.Module, head: nn.Module, attention: bool = False):
        super().__init__()
        self.decoder, self.head, self.attention = decoder, head, attention
        self.positions = decoder.embed_positions = Positions(decoder.embed_positions)

    def forward(self, inputs_embeds, attention_mask, encoder_attention_mask, num_logits_to_keep, *past):
        cache = crossing_cache(past)
        length = inputs_embeds.shape[1]
        self.positions.ids = position_ids(attention_mask, length).clamp(min=0)
        # of the encoder's states only the presence is read: the cache has the keys and values
        out = self.decoder(inputs_embeds=inputs_embeds, attention_mask=causal_mask(attention_mask, length),
                           encoder_hidden_states=inputs_embeds, encoder_attention_mask=encoder_attention_mask,
                           past_key_values=cache, use_cache=True,
                           cache_position=torch.arange(length) + (attention_mask.shape[1] - length),
                           output_attentions=self.attention, return_dict=True)
        maps = (*out.attentions, *out.cross_attentions) if self.attention else ()
        return (self.head(last_positions(out.last_hidden_state, num_logits_to_keep)),
                *cache_tensors(cache.self_attention_cache), *maps)


def vision_spec(model: nn.Module, height: int, width: int) -> GraphSpec:
    axes = {"pixel_values": ["batch", 3, height, width], "image_features": ["batch", "tokens", "width"]}
    return GraphSpec(Vision(model), lambda s: {"pixel_values": torch.randn(s["batch"], 3, height, width)},
                     ["image_features"], axes, {"batch": 2}, [{"batch": 1}, {"batch": 3}])


def encoder_spec(encoder: nn.Module, width: int) -> GraphSpec:
    axes = {"inputs_embeds": ["batch", "source", width], "attention_mask": ["batch", "source"],
            "last_hidden_state": ["batch", "source", width]}
    return GraphSpec(Encoder(encoder), lambda s: {"inputs_embeds": torch.randn(s["batch"], s["source"], width),
                                                  "attention_mask": right_padded(s["batch"], s["source"])},
                     ["last_hidden_state"], axes, {"batch": 2, "source": 5},
                     [{"batch": 1, "source": 40}, {"batch": 3, "source": 11}])


def picture_size(settings: dict) -> tuple[int, int]:
    """Height and width of what an image processor makes, by its settings; the model's config has none."""
    size = settings.get("crop_size" if settings.get("do_center_crop") else "size")
    if not isinstance(size, dict) or not {"height", "width"} <= size.keys():
        raise ExportError(f"florence2 with pictures of the size {size}: height and width are needed")
    return size["height"], size["width"]


def export(model: nn.Module, bundle: Bundle, attention: bool) -> None:
    """Florence2ForConditionalGeneration."""
    config, inner, lm = model.config.text_config, model.model, model.model.language_model
    table = lm.get_input_embeddings()
    if not torch.equal(lm.decoder.embed_tokens.weight, table.weight):
        raise ExportError("florence2 whose decoder has embeddings of its own: not supported")
    layers, heads = config.decoder_layers, config.decoder_attention_heads
    dim = config.d_model // heads
    cross = CrossKV([layer.encoder_attn for layer in lm.decoder.layers])
    reference = _reference(model)
    decoder = crossing_spec(Decoder(lm.decoder, model.lm_head, attention), width=config.d_model, vocab=config.vocab_size,
                            layers=layers, heads=heads, dim=dim, attention=attention)
    _check(reference, table, cross, decoder.module, (layers, heads, dim))

    start = model.generation_config.decoder_start_token_id
    bundle.meta |= {"tasks": ["caption", "answer"], "prompts": {"caption": "<CAPTION>", "answer": "{}"},
                    "decoder_start_token_id": config.decoder_start_token_id if start is None else start,
                    "keep_special_tokens": True,
                    "limits": {"max_positions": config.max_position_embeddings,
                               "max_text": config.max_position_embeddings}}
    add_generation_config(bundle, model.generation_config)
    bundle.add_graph("vision_encoder", vision_spec(inner, *picture_size(checkpoint.image_processor(bundle.dir))))
    release(inner, "vision_tower", "multi_modal_projector")
    bundle.add_graph("encoder", encoder_spec(lm.encoder, config.d_model))
    release(lm, "encoder")
    bundle.add_graph("cross_kv", cross_kv_spec(cross, config.d_model, layers, heads, dim))
    bundle.add_graph("embed_tokens", embed_spec(table, table.num_embeddings))
    bundle.add_graph("decoder", decoder)


def _reference(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States, ids and the model's own logits for them, before any part is replaced."""
    config = model.config.text_config
    torch.manual_seed(0)
    states, ids = torch.randn(1, 5, config.d_model), torch.randint(3, config.vocab_size, (1, 6))
    with torch.no_grad():
        out = model(encoder_outputs=BaseModelOutput(last_hidden_state=states), attention_mask=torch.ones(1, 5, dtype=torch.int64),
                    decoder_input_ids=ids, use_cache=False)
    return states, ids, out.logits


def _check(reference, table: nn.Module, cross: nn.Module, decoder: nn.Module, sizes) -> None:
    """The decoder written here must be the model's: a prompt padded on the left, then a step more."""
    states, ids, want = reference
    layers, heads, dim = sizes
    decoder.eval()
    with torch.no_grad():
        kv, seen, every = cross(states), torch.ones(1, 5, dtype=torch.int64), torch.tensor(0)
        empty = [torch.zeros(1, heads, 0, dim)] * (2 * layers)
        padded = torch.cat([ids[:, :2], ids[:, :-1]], 1)
        mask = padded_mask(1, 0, padded.shape[1], first=2)
        first = decoder(table(padded), mask, seen, every, *empty, *kv)
        mask = torch.cat([mask, mask[:, -1:]], 1)
        last = decoder(table(ids[:, -1:]), mask, seen, every, *first[1:1 + len(empty)], *kv)
    check_against("florence2", torch.cat([first[0][:, 2:], last[0]], 1), want, LIMIT)


def end_to_end(model: nn.Module, front: Front):
    """What the model's own generate writes about a picture and a text."""
    picture_size(front.images.to_dict())
    generator = np.random.default_rng(0)
    picture = generator.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    pixels = front.images(images=[picture], return_tensors="pt")["pixel_values"]
    row = {"input_ids": front.tokenizer("What does the image describe?").input_ids}
    with torch.no_grad():
        count = model.get_image_features(pixels).shape[1]
    ids = torch.tensor([[model.config.image_token_id] * count + row["input_ids"]])
    return replay_families.ask(
        model.generate, {"pixel_values": pixels, "input_ids": ids, "attention_mask": torch.ones_like(ids)},
        lambda bundle, steps, forced: replay_families.florence(bundle, {"rows": [row]}, {"pixel_values": pixels.numpy()},
                                                               [0], steps, forced))
