"""Gemma 3 (2503.19786): pictures of one size, whose rows see each other; the layers of the language
model attend to all before, or within a window."""

from __future__ import annotations

from torch import nn

from . import image_tokens, paligemma


def prompts(model: nn.Module, chats: bool) -> dict:
    return {"caption": "Describe this image in detail.", "answer": "{}"}


export = image_tokens.exporter(image_tokens.Kind(paligemma.vision, prompts, pictures_see=True))
