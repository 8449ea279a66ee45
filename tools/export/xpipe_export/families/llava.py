"""LLaVA 1.5 (Liu et al., 2310.03744): one picture of one size, a layer's states of its encoder and a
projection of two layers. LLaVA-NeXT (1.6): the same of a picture as a whole and of its squares, whose
rows are laid out line by line by who reads the bundle. LLaVA-OneVision (2408.03326): the same, but for
pictures that are one of several, each of which is one square."""

from __future__ import annotations

import re

import torch
from torch import nn

from .. import checkpoint
from ..bundle import Bundle
from ..graph import ExportError, GraphSpec
from . import image_tokens


class Features(nn.Module):
    """pixel_values [N,3,S,S] -> image_features [N,L,D]

    get_image_features of modeling_llava.py, without its list of pictures, which tracing would
    freeze.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.tower, self.projector = model.model.vision_tower, model.model.multi_modal_projector
        layers = model.config.vision_feature_layer
        self.layers = [layers] if isinstance(layers, int) else list(layers)
        # the class token goes before the patches
        self.first = 1 if model.config.vision_feature_select_strategy == "default" else 0

    def forward(self, pixel_values):
        states = self.tower(pixel_values, output_hidden_states=True).hidden_states
        return self.projector(torch.cat([states[i][:, self.first:] for i in self.layers], -1))


def vision(model: nn.Module) -> GraphSpec:
    kind = model.config.vision_config.model_type
    if kind not in ("clip_vision_model", "siglip_vision_model"):
        raise ExportError(f"LLaVA with a vision encoder of type {kind!r}; known are "
                          "clip_vision_model, siglip_vision_model")
    return image_tokens.whole_pictures(Features(model), model.config)


def prompts(model: nn.Module, chats: bool) -> dict:
    """Without a template, the prompt that LLaVA 1.5's model card gives."""
    around = "{}" if chats else "USER: <image>\n{} ASSISTANT:"
    return {"caption": around.replace("{}", "Describe the image."), "answer": around}


def check_squares(model: nn.Module, bundle: Bundle) -> None:
    """Refuse a LLaVA-NeXT whose image processor cuts other squares than the model lays out, and add the
    row that ends a line."""
    config = model.config
    images = checkpoint.image_processor(bundle.dir) or {}
    if images.get("image_grid_pinpoints", config.image_grid_pinpoints) != config.image_grid_pinpoints:
        raise ExportError("image_grid_pinpoints of the image processor are not those of config.json")
    bundle.add_projection({"image_newline": model.model.image_newline})


def check_views(model: nn.Module, bundle: Bundle) -> None:
    """As check_squares; and have the bundle's image processor make squares, which without the key is one
    view."""
    check_squares(model, bundle)
    if not re.fullmatch(r"anyres_max_[1-9]\d*", model.config.vision_aspect_ratio):
        raise ExportError(f"vision_aspect_ratio {model.config.vision_aspect_ratio!r} of config.json is not anyres_max_N")
    bundle.add_json("preprocessor_config.json", checkpoint.image_processor(bundle.dir) | {"do_image_splitting": True})


def view_prompts(model: nn.Module, chats: bool) -> dict:
    """Without a template, the prompt that the model card gives."""
    around = "{}" if chats else "<|im_start|>user <image>\n{}<|im_end|><|im_start|>assistant\n"
    return {"caption": around.replace("{}", "Describe the image."), "answer": around}


export = image_tokens.exporter(image_tokens.Kind(vision, prompts))
export_next = image_tokens.exporter(image_tokens.Kind(vision, prompts, prepare=check_squares, squares=True))
export_onevision = image_tokens.exporter(
    image_tokens.Kind(vision, view_prompts, prepare=check_views, squares=True, amid=True))
