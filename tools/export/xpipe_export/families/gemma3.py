"""Gemma 3 (2503.19786): pictures of one size, whose rows see each other; the layers of the language
model attend to all before, or within a window."""

from __future__ import annotations

from torch import nn

from .. import checkpoint
from ..bundle import Bundle
from ..graph import ExportError
from . import image_tokens, paligemma


def prompts(model: nn.Module, chats: bool) -> dict:
    return {"caption": "Describe this image in detail.", "answer": "{}"}


def export(model: nn.Module, bundle: Bundle, attention: bool) -> None:
    """Gemma3ForConditionalGeneration."""
    if (checkpoint.image_processor(bundle.dir) or {}).get("do_pan_and_scan"):
        raise ExportError("the image processor cuts crops of a picture (do_pan_and_scan): not supported")
    kind = image_tokens.Kind(paligemma.vision, prompts, pictures_see=True)
    image_tokens.export(model, bundle, attention, kind)
