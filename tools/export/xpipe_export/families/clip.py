"""CLIP and SigLIP: two graphs up to the pooled states; projections, norms and the scale are applied
in Go."""

from __future__ import annotations

import torch
from torch import nn

from .. import checkpoint
from ..bundle import Bundle
from ..graph import GraphSpec
from . import naflex
from .blip2 import Captured
from .common import release


class Vision(nn.Module):
    """pixel_values [B,3,H,W], or what naflex.INPUTS names -> pooled_output [B,D], last_hidden_state
    [B,N,D] (, self_attn.{i} [B,heads,N,N])

    SigLIP pools by a probe that attends to the patches: with attention, cross_attn.0 [B,heads,1,N]
    is behind the others.
    """

    def __init__(self, vision: nn.Module, attention: list[nn.Module] = ()):
        super().__init__()
        self.vision, self.attention = vision, list(attention)
        self.probe = getattr(getattr(vision, "head", None), "attention", None) if attention else None
        if self.probe is not None:  # an nn.MultiheadAttention gives the mean over heads unless told otherwise
            self.probe.register_forward_pre_hook(
                lambda _m, args, kwargs: (args, kwargs | {"average_attn_weights": False}),
                with_kwargs=True)

    def forward(self, *seen):
        with Captured(self.attention, ask=True) as maps, Captured(
            [self.probe] if self.probe is not None else []) as probe:
            out = self.vision(*seen)
        return out.pooler_output, out.last_hidden_state, *maps, *probe


class Text(nn.Module):
    """input_ids [B,T] -> pooled_output [B,D] (, self_attn.{i} [B,heads,T,T])

    CLIP is causal and pooled at the first end of text, SigLIP was trained with padding in sight:
    neither takes a mask. head False leaves out SigLIP's last projection.
    """

    def __init__(self, text: nn.Module, attention: list[nn.Module] = ()):
        super().__init__()
        self.text, self.attention = text, list(attention)
        if isinstance(getattr(text, "head", None), nn.Linear):
            self.text.head = nn.Identity()

    def forward(self, input_ids):
        with Captured(self.attention, ask=True) as maps:
            out = self.text(input_ids)
        return out.pooler_output, *maps


def _attention(module: nn.Module, wanted: bool) -> list[nn.Module]:
    return [layer.self_attn for layer in module.encoder.layers] if wanted else []


def _vision_spec(encoder: nn.Module, config, names: list[str]) -> GraphSpec:
    size = config.image_size
    axes = {"pixel_values": ["batch", 3, size, size], "pooled_output": ["batch", "width"],
            "last_hidden_state": ["batch", "tokens", "width"]}
    axes |= {n: ["batch", "heads", 1 if n.startswith("cross") else "tokens", "tokens"] for n in names}
    return GraphSpec(encoder, lambda s: {"pixel_values": torch.randn(s["batch"], 3, size, size)},
                     ["pooled_output", "last_hidden_state", *names], axes, {"batch": 2}, [{"batch": 1}, {"batch": 3}])


def export(model: nn.Module, bundle: Bundle, attention: bool) -> None:
    """CLIPModel, SiglipModel or Siglip2Model."""
    config = model.config
    siglip, flexible = config.model_type != "clip", config.model_type == "siglip2"
    text = config.text_config
    bundle.meta["tasks"] = ["classify", "match", "embed"]
    bundle.meta["scores"] = "sigmoid" if siglip else "softmax"
    bundle.meta["text_padding"] = "max_length" if siglip else "longest"
    bundle.meta["limits"] = {"max_text": text.max_position_embeddings}
    bundle.meta["prompts"] = {"classify": "This is a photo of {}." if siglip else "a photo of a {}"}
    bundle.add_projection({"logit_scale": model.logit_scale.reshape(1)})
    if siglip:
        bundle.add_projection({"logit_bias": model.logit_bias.reshape(1)})
        bundle.add_linear("text_projection", model.text_model.head)
    else:
        bundle.add_linear("visual_projection", model.visual_projection)
        bundle.add_linear("text_projection", model.text_projection)

    if flexible:
        naflex.settle(model.vision_model)
    maps = _attention(model.vision_model, attention)
    names = [f"self_attn.{i}" for i in range(len(maps))]
    encoder = Vision(model.vision_model, maps)
    if encoder.probe is not None:
        names.append("cross_attn.0")
    if flexible:
        patches = (checkpoint.image_processor(bundle.dir) or {}).get("max_num_patches", 256)
        spec = naflex.vision_spec(encoder, config.vision_config, names, patches)
    else:
        spec = _vision_spec(encoder, config.vision_config, names)
    bundle.add_graph("vision_encoder", spec)
    release(model, "vision_model")

    maps = _attention(model.text_model, attention)
    names = [f"self_attn.{i}" for i in range(len(maps))]
    axes = ({"input_ids": ["batch", "length"], "pooled_output": ["batch", "width"]}
            | {n: ["batch", "heads", "length", "length"] for n in names})
    eos = text.eos_token_id

    def make(s):
        ids = torch.randint(0, text.vocab_size, (s["batch"], s["length"]))
        if not siglip:  # one end of text in each row, at a different place, padding behind
            ids = ids % (eos if eos > 2 else text.vocab_size - 1)
            for row in range(s["batch"]):
                ids[row, max(1, s["length"] - 1 - row):] = eos if eos > 2 else text.vocab_size - 1
        return {"input_ids": ids}

    longest = min(text.max_position_embeddings, 16)
    bundle.add_graph("text_encoder", GraphSpec(Text(model.text_model, maps), make,
                                               ["pooled_output", *names], axes,
                                               {"batch": 2, "length": 5},
                                               [{"batch": 1, "length": 7},
                                                {"batch": 3, "length": longest}]))
