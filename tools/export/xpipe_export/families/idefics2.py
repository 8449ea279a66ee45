"""Idefics2 (Laurençon et al., 2405.02246): pictures in their own shape, and their quarters, of each of
which a perceiver resampler makes as many rows as it has latents, by cross-attention."""

from __future__ import annotations

import torch
from torch import nn

from ..graph import GraphSpec
from . import image_tokens


class Latents(nn.Module):
    """pixel_values [N,3,H,W], pixel_attention_mask [N,H,W] bool -> image_features [N,L,D]

    get_image_features of modeling_idefics2.py, without its search for pictures that are all padding.
    Patches that padding reaches into do not count.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.vision, self.connector = model.model.vision_model, model.model.connector

    def forward(self, pixel_values, pixel_attention_mask):
        size = self.vision.config.patch_size
        count, height, width = pixel_attention_mask.shape
        down, across = height // size, width // size
        whole = pixel_attention_mask[:, :down * size, :across * size].reshape(count, down, size, across, size)
        seen = whole.float().sum((2, 4)) == size * size
        states = self.vision.embeddings(pixel_values, seen)
        flat = seen.reshape(count, -1)
        states = self.vision.encoder(inputs_embeds=states, attention_mask=hidden(flat)).last_hidden_state
        context = self.connector.modality_projection(self.vision.post_layernorm(states))
        resampler = self.connector.perceiver_resampler
        latents = resampler.latents[None] + context[:, :1] * 0
        mask = hidden(torch.cat([flat, torch.ones_like(latents[..., 0]).bool()], 1))
        for layer in resampler.layers:
            latents = layer(latents, context, attention_mask=mask)
        return resampler.norm(latents)


def hidden(seen: torch.Tensor) -> torch.Tensor:
    """What attention adds to its scores, [N,1,1,L], of which positions are seen [N,L]."""
    return torch.where(seen, 0.0, torch.finfo(torch.float32).min)[:, None, None]


def settle(model: nn.Module) -> None:
    """Number patches as the models were trained and transformers 5 does: 4.57.6 puts those that stand at
    the boundary of two positions of the table to the one before."""
    embeddings = model.model.vision_model.embeddings
    side = embeddings.num_patches_per_side
    bounds = torch.arange(1 / side, 1.0, 1 / side)

    def places(count, length):  # of [N] patches in a line of length -> [N,length]
        at = (torch.arange(length).float()[None] * (1.0 / count.float())[:, None]).clamp(max=1 - 1e-6)
        return (bounds <= at[..., None]).long().sum(-1)

    def forward(pixel_values, patch_attention_mask):
        patches = embeddings.patch_embedding(pixel_values)
        down, across = patches.shape[2:]
        rows = places(patch_attention_mask[:, :, 0].long().sum(1), down)
        columns = places(patch_attention_mask[:, 0].long().sum(1), across)
        numbers = (rows[:, :, None] * side + columns[:, None]) * patch_attention_mask.long()
        return patches.flatten(2).transpose(1, 2) + embeddings.position_embedding(numbers.flatten(1))

    embeddings.forward = forward


def vision(model: nn.Module) -> GraphSpec:
    size = model.config.vision_config.patch_size

    def make(s):
        height, width = s["height"] * size + 3, s["width"] * size
        mask = torch.ones(s["parts"], height, width, dtype=torch.bool)
        mask[0, height - s["pad"]:] = False
        mask[-1, :, width - s["pad"]:] = False
        return {"pixel_values": torch.randn(s["parts"], 3, height, width) * mask[:, None],
                "pixel_attention_mask": mask}

    return GraphSpec(Latents(model), make, ["image_features"],
                     {"pixel_values": ["parts", 3, "height", "width"],
                      "pixel_attention_mask": ["parts", "height", "width"],
                      "image_features": ["parts", model.config.perceiver_config.resampler_n_latents, "features"]},
                     {"parts": 2, "height": 3, "width": 4, "pad": 5},
                     [{"parts": 1, "height": 1, "width": 2, "pad": 0}, {"parts": 5, "height": 7, "width": 5, "pad": 9},
                      {"parts": 3, "height": 2, "width": 9, "pad": 1}])


def prompts(model: nn.Module, chats: bool) -> dict:
    """Without a template the model is the one before it was taught to chat."""
    if chats:
        return {"caption": "Describe the image.", "answer": "{}"}
    return {"caption": "In this image, we can see", "answer": "Question: {} Answer:"}


export = image_tokens.exporter(image_tokens.Kind(vision, prompts, settle=settle))
