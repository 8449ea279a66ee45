"""SigLIP 2's NaFlex form (Tschannen et al., 2502.14786): a picture in about its own aspect, as a padded list of
patches with their number of rows and columns. The rest of the model is SigLIP's, of families/clip.py."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import torch
from torch import nn

from .. import endtoend, scores
from ..graph import ExportError, GraphSpec
from ..replay import Replay
from ..replay_families import verdict
from .common import Front

INPUTS = ("pixel_values", "pixel_attention_mask", "spatial_shapes")


def resized_positions(positions: torch.Tensor, shapes: torch.Tensor, length: int) -> torch.Tensor:
    """What Siglip2VisionEmbeddings.resize_positional_embeddings computes, as products with the weights
    of bilinear interpolation with antialiasing, so that a graph holds it for any shapes.

    positions [S,S,D], shapes [B,2] rows and columns -> [B,length,D].
    """
    size = positions.shape[0]

    def weights(target: torch.Tensor) -> torch.Tensor:  # [B] -> [B,length,size]
        scale = (size / target.float())[:, None, None]
        centre = scale * (torch.arange(length)[None, :, None] + 0.5)
        support = scale.clamp(min=1.0)
        low = (centre - support + 0.5).clamp(min=0).floor()
        high = (centre + support + 0.5).clamp(max=size).floor()
        at = torch.arange(size)[None, None, :]
        w = (1 - ((at - centre + 0.5) / support).abs()).clamp(min=0)
        w = torch.where((at >= low) & (at < high), w, torch.zeros(()))
        return w / w.sum(-1, keepdim=True).clamp(min=1e-6)

    down, across = weights(shapes[:, 0]), weights(shapes[:, 1])
    place = torch.arange(length)[None, :]
    columns = shapes[:, 1:2]
    row, column = torch.div(place, columns, rounding_mode="floor"), place % columns
    pick = lambda w, index: torch.gather(w, 1, index[:, :, None].expand(-1, -1, size).clamp(max=length - 1))
    full = torch.einsum("blr,blc,rcd->bld", pick(down, row), pick(across, column), positions)
    inside = (place < shapes[:, 0:1] * columns)[:, :, None]
    return torch.where(inside, full, full[:, :1])


def settle(vision: nn.Module) -> None:
    """Resize positions by products, which a graph holds for any shapes."""
    vision.embeddings.resize_positional_embeddings = lambda positions, shapes, max_length: resized_positions(
        positions, shapes, max_length)


def vision_spec(module: nn.Module, config, names: list[str], patches: int) -> GraphSpec:
    """The graph of a module of pixel_values [B,P,S*S*3], pixel_attention_mask [B,P], spatial_shapes [B,2] ->
    pooled_output [B,D], last_hidden_state [B,P,D] and names, attention maps. The P patches that the image
    processor makes are fixed: torch's attention of the probe is."""
    width, side = config.num_channels * config.patch_size ** 2, int(patches ** 0.5)
    sizes = torch.tensor([[side, patches // side], [patches // side, side - 1], [1, side]])

    def make(s):
        shapes = sizes[s["first"]:s["first"] + s["batch"]]
        mask = (torch.arange(patches)[None] < shapes.prod(1)[:, None]).long()
        return dict(zip(INPUTS, (torch.randn(s["batch"], patches, width), mask, shapes)))

    axes = {"pixel_values": ["batch", patches, width], "pixel_attention_mask": ["batch", patches],
            "spatial_shapes": ["batch", 2], "pooled_output": ["batch", "width"],
            "last_hidden_state": ["batch", patches, "width"]}
    axes |= {n: ["batch", "heads", 1 if n.startswith("cross") else patches, patches] for n in names}
    return GraphSpec(module, make, ["pooled_output", "last_hidden_state", *names], axes,
                     {"batch": 2, "first": 0}, [{"batch": 1, "first": 2}, {"batch": 3, "first": 0}])


def end_to_end(model: nn.Module, front: Front) -> Callable[[Path, str], dict]:
    """Compares a bundle with Siglip2Model's own logits of two pictures and two texts."""
    config = model.config
    if front.images.patch_size != config.vision_config.patch_size:
        raise ExportError(f"the image processor cuts patches of {front.images.patch_size} pixels, the model takes "
                          f"those of {config.vision_config.patch_size}")
    made = front.images(images=list(endtoend.pictures((90, 130), 2)), return_tensors="pt")
    seen = {n: made[n].float() if n == INPUTS[0] else made[n].long() for n in INPUTS}
    ids = front.tokenizer(endtoend.TEXTS, padding="max_length", truncation=True, return_tensors="pt",
                          max_length=config.text_config.max_position_embeddings).input_ids
    with torch.no_grad():
        want = model(input_ids=ids, **seen).logits_per_image.numpy()
    given, ids = {n: v.numpy() for n, v in seen.items()}, ids.numpy()

    def compare(folder: Path, dtype: str) -> dict:
        return verdict(scores.dual_encoder(Replay(folder), given, ids)["logits_per_image"], want, dtype)

    return compare
