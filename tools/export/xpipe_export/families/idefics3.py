"""Idefics3 (Laurençon et al., 2408.12637) and SmolVLM: pictures in tiles, whose patches a connector
shuffles and projects."""

from __future__ import annotations

import torch
from torch import nn

from ..graph import GraphSpec
from . import image_tokens


class Tiles(nn.Module):
    """pixel_values [N,3,S,S] of tiles -> image_features [N,L,D]. The image processor leaves no part
    of a tile empty, so all of its patches count."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.vision, self.connector = model.model.vision_model, model.model.connector

    def forward(self, pixel_values):
        states = self.vision.embeddings(pixel_values, None)
        states = self.vision.encoder(inputs_embeds=states, attention_mask=None).last_hidden_state
        return self.connector(self.vision.post_layernorm(states))


def settle(model: nn.Module) -> None:
    """Number a tile's patches 0, 1, 2 ... as the models were trained and transformers 5 does; 4.57.6
    rounds all but the first of a row and a column down to the one before."""
    embeddings = model.model.vision_model.embeddings

    def forward(pixel_values, patch_attention_mask):
        patches = embeddings.patch_embedding(pixel_values).flatten(2).transpose(1, 2)
        return patches + embeddings.position_embedding.weight

    embeddings.forward = forward


def vision(model: nn.Module) -> GraphSpec:
    return image_tokens.whole_pictures(Tiles(model), model.config)


def prompts(model: nn.Module, chats: bool) -> dict:
    return {"caption": "Describe the image.", "answer": "{}"}


export = image_tokens.exporter(image_tokens.Kind(vision, prompts, settle=settle))
