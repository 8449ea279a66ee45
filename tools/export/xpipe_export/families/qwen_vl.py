"""Qwen2-VL (Wang et al., 2409.12191) and Qwen2.5-VL: pictures of any size as lists of patches, whose
rows have places in time, row and column."""

from __future__ import annotations

import torch
from torch import nn
from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_rotary_pos_emb_vision

from ..graph import GraphSpec
from . import image_tokens


class Patches(nn.Module):
    """pixel_values [P,3*F*S*S], image_grid_thw [1,3] -> image_features [P/m/m,D] of one picture.

    In Qwen2-VL all patches see each other. In Qwen2.5-VL most layers attend within windows: that is
    a mask here, where transformers sorts patches by window and back.
    """

    def __init__(self, vision: nn.Module):
        super().__init__()
        self.vision = vision
        config = vision.config
        self.whole = getattr(config, "fullatt_block_indexes", range(len(vision.blocks)))
        self.window = None
        if len(set(self.whole)) < len(vision.blocks):
            self.window = config.window_size // config.patch_size  # patches a side

    def forward(self, pixel_values, image_grid_thw):
        vision, m = self.vision, self.vision.spatial_merge_size
        height, width = image_grid_thw[0, 1], image_grid_thw[0, 2]
        rows = torch.arange(height)[:, None].expand(height, width)
        columns = torch.arange(width)[None, :].expand(height, width)
        # those that merge lie one behind another
        rows, columns = (x.reshape(height // m, m, width // m, m).permute(0, 2, 1, 3).flatten()
                         for x in (rows, columns))
        places = torch.stack([rows, columns], -1).float()
        angles = (places[:, :, None] * vision.rotary_pos_emb.inv_freq).flatten(1)
        angles = torch.cat((angles, angles), -1)
        mask = None
        if self.window:
            size = self.window // m * m
            number = (rows // size) * width + columns // size
            mask = torch.where(number[:, None] == number[None], 0.0, torch.finfo(torch.float32).min)
        states = vision.patch_embed(pixel_values)
        for i, block in enumerate(vision.blocks):
            own = None if i in self.whole else mask
            states = states + _attend(block.attn, block.norm1(states), angles, own)
            states = states + block.mlp(block.norm2(states))
        return vision.merger(states)


def _attend(attn: nn.Module, states: torch.Tensor, angles: torch.Tensor, mask) -> torch.Tensor:
    q, k, v = attn.qkv(states).reshape(-1, 3, attn.num_heads, attn.head_dim).permute(1, 0, 2, 3).unbind(0)
    q, k = apply_rotary_pos_emb_vision(q, k, angles.cos(), angles.sin())
    q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    scores = q @ k.transpose(1, 2) * attn.scaling
    if mask is not None:
        scores = scores + mask
    return attn.proj((scores.softmax(-1) @ v).transpose(0, 1).reshape(-1, attn.dim))


def vision(model: nn.Module) -> GraphSpec:
    config = model.config.vision_config
    m, width = config.spatial_merge_size, config.in_channels * config.temporal_patch_size * config.patch_size ** 2

    def make(s):
        return {"pixel_values": torch.randn(s["rows"] * s["columns"] * m * m, width),
                "image_grid_thw": torch.tensor([[1, m * s["rows"], m * s["columns"]]])}

    return GraphSpec(Patches(model.model.visual), make, ["image_features"],
                     {"pixel_values": ["patches", width], "image_grid_thw": [1, 3],
                      "image_features": ["rows", "width"]},
                     {"rows": 2, "columns": 3},
                     [{"rows": 1, "columns": 1}, {"rows": 5, "columns": 4}, {"rows": 3, "columns": 7}])


def prompts(model: nn.Module, chats: bool) -> dict:
    return {"caption": "Describe this image.", "answer": "{}"}


def frame(config) -> tuple[list[int], list[int]]:
    return [config.vision_start_token_id], [config.vision_end_token_id]


export = image_tokens.exporter(image_tokens.Kind(vision, prompts, places=True, frame=frame))
