"""Pix2Struct (Lee et al., 2210.03347): a vision encoder that takes a list of patches with their rows and
columns, and a decoder of T5's type whose cross-attention reads its states. Those that caption pictures;
for questions the processor writes the text above the picture, in a font that no checkpoint has."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from .. import checkpoint, replay_families
from ..bundle import Bundle
from ..graph import ExportError, GraphSpec
from .causal import cache_tensors, causal_mask, embed_spec, heading_last
from .common import Front, add_generation_config, release
from .t5 import crossing_cache, crossing_spec, right_padded
from .vision_encoder_decoder import cross_kv_spec


class Encoder(nn.Module):
    """flattened_patches [B,P,2+S*S*3], attention_mask [B,P] float32 -> image_embeds [B,P,D]"""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, flattened_patches, attention_mask):
        return self.encoder(flattened_patches, attention_mask).last_hidden_state


class CrossKV(nn.Module):
    """image_embeds [B,P,D] -> present.{i}.encoder.key, .value [B,heads,P,dim] of every decoder layer"""

    def __init__(self, cross: list[nn.Module]):
        super().__init__()
        self.cross = nn.ModuleList(cross)

    def forward(self, image_embeds):
        return tuple(
            projection(image_embeds).view(image_embeds.shape[0], -1, m.n_heads, m.key_value_proj_dim).transpose(1, 2)
            for m in self.cross for projection in (m.key, m.value))


class Decoder(nn.Module):
    """The same inputs and outputs as t5.Decoder."""

    def __init__(self, decoder: nn.Module, attention: bool = False):
        super().__init__()
        self.decoder, self.attention = decoder, attention

    def forward(self, inputs_embeds, attention_mask, encoder_attention_mask, num_logits_to_keep, *past):
        cache = crossing_cache(past)
        length = inputs_embeds.shape[1]
        with heading_last(self.decoder.lm_head, num_logits_to_keep):
            # of the encoder's states only the presence is read: the cache has the keys and values
            out = self.decoder(
                inputs_embeds=inputs_embeds, attention_mask=causal_mask(attention_mask, length), past_key_values=cache,
                use_cache=True, encoder_hidden_states=inputs_embeds, encoder_attention_mask=encoder_attention_mask,
                cache_position=torch.arange(length) + (attention_mask.shape[1] - length),
                output_attentions=self.attention, return_dict=True)
        maps = (*out.attentions, *out.cross_attentions) if self.attention else ()
        return out.logits, *cache_tensors(cache.self_attention_cache), *maps


def encoder_spec(encoder: nn.Module) -> GraphSpec:
    config = encoder.config
    width = encoder.embeddings.patch_projection.in_features

    def make(s):
        mask = right_padded(s["batch"], s["patches"]).float()
        places = torch.arange(s["patches"])
        places = torch.stack([places // s["columns"] + 1, places % s["columns"] + 1], -1).float()
        patches = torch.cat([places.expand(s["batch"], -1, -1), torch.randn(s["batch"], s["patches"], width)], -1)
        return {"flattened_patches": patches * mask[..., None], "attention_mask": mask}

    return GraphSpec(Encoder(encoder), make, ["image_embeds"],
                     {"flattened_patches": ["batch", "patches", 2 + width], "attention_mask": ["batch", "patches"],
                      "image_embeds": ["batch", "patches", config.hidden_size]},
                     {"batch": 2, "patches": 7, "columns": 3},
                     [{"batch": 1, "patches": 5, "columns": 5}, {"batch": 3, "patches": 12, "columns": 4}])


def check(model: nn.Module, images: dict) -> None:
    """Refuse models for questions, and lists of patches that the model has no rows or columns for."""
    if model.config.is_vqa or images.get("is_vqa"):
        raise ExportError("Pix2Struct with is_vqa: the processor writes the question above the picture, in the font "
                          "Arial of a repository beside the checkpoint; only models that caption pictures are exported")
    vision = model.config.vision_config
    most, places = images.get("max_patches", 2048), vision.seq_len
    if most >= places:
        raise ExportError(f"the image processor's max_patches is {most}, and the model has rows and columns for {places - 1}")
    size = images.get("patch_size") or {"height": 16, "width": 16}
    if size["height"] != size["width"] or 3 * size["height"] * size["width"] != vision.patch_embed_hidden_size:
        raise ExportError(f"the image processor's patch_size is {size}, and the model takes squares of "
                          f"{vision.patch_embed_hidden_size} numbers")


def export(model: nn.Module, bundle: Bundle, attention: bool) -> None:
    config, decoder = model.config.text_config, model.decoder
    check(model, checkpoint.image_processor(bundle.dir) or {})
    cross = [layer.encoder_decoder_attention.attention for layer in decoder.layer]
    heads, dim = config.num_heads, config.d_kv
    generation = model.generation_config
    start = generation.decoder_start_token_id
    bundle.meta |= {"tasks": ["caption"], "prompts": {"caption": ""}, "prompt_special_tokens": False,
                    "decoder_start_token_id": model.config.decoder_start_token_id if start is None else start}
    add_generation_config(bundle, generation)
    bundle.add_graph("vision_encoder", encoder_spec(model.encoder))
    release(model, "encoder")
    bundle.add_graph("cross_kv", cross_kv_spec(CrossKV(cross), model.config.vision_config.hidden_size, len(cross), heads, dim))
    embedding = decoder.get_input_embeddings()
    bundle.add_graph("embed_tokens", embed_spec(embedding, embedding.num_embeddings))
    bundle.add_graph("decoder", crossing_spec(Decoder(decoder, attention), width=config.hidden_size,
                                              vocab=decoder.lm_head.out_features, layers=len(cross), heads=heads,
                                              dim=dim, attention=attention))


def end_to_end(model: nn.Module, front: Front):
    """What the model's own generate writes about a picture, behind a text."""
    check(model, front.images.to_dict())
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    made = front.images(images=[picture], return_tensors="pt")
    ids = [front.tokenizer("a photo of", add_special_tokens=False).input_ids]
    arrays = {k: made[k].numpy() for k in ("flattened_patches", "attention_mask")}
    return replay_families.ask(
        model.generate, {**made, "decoder_input_ids": torch.tensor(ids)},
        lambda bundle, steps, forced: replay_families.pix2struct(bundle, {"rows": [{"input_ids": ids[0]}]}, arrays,
                                                                 [0], steps, forced))
