"""PaliGemma (Beyer et al., 2407.07726): rows of one picture, then a prompt that is seen as a whole,
and the text that follows."""

from __future__ import annotations

from torch import nn

from ..graph import GraphSpec
from . import image_tokens


class Features(nn.Module):
    """pixel_values [N,3,S,S] -> image_features [N,L,D]. Of PaliGemma and Gemma 3."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.inner = model.model

    def forward(self, pixel_values):
        return self.inner.get_image_features(pixel_values)


def vision(model: nn.Module) -> GraphSpec:
    return image_tokens.whole_pictures(Features(model), model.config)


def prompts(model: nn.Module, chats: bool) -> dict:
    """Those of the model card."""
    return {"caption": "caption en", "answer": "answer en {}"}


export = image_tokens.exporter(image_tokens.Kind(vision, prompts, prompt_sees=True, first=1))
