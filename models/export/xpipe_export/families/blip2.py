"""BLIP-2: vision encoder -> Q-Former -> projection (in Go) -> language model.

The wrappers take modules, so a model that is only BLIP-2 in shape (another vision
encoder, a small language model) is exported by the same `add_parts`.
"""

from __future__ import annotations

import torch
from torch import nn

from ..bundle import Bundle
from ..graph import GraphSpec
from . import causal


class Captured:
    """Collects attention probabilities, output 1 of named modules, during one forward pass."""

    def __init__(self, modules: list[nn.Module]):
        self.maps: list[torch.Tensor] = []
        self.hooks = [m.register_forward_hook(lambda _m, _i, out: self.maps.append(out[1])) for m in modules]

    def __enter__(self) -> list[torch.Tensor]:
        return self.maps

    def __exit__(self, *_):
        for hook in self.hooks:
            hook.remove()


class VisionEncoder(nn.Module):
    """pixel_values [B,3,H,W] -> image_embeds [B,N,Dv]

    vision returns a tensor or an output with last_hidden_state. attention names the
    modules whose maps become self_attn.{i} [B,heads,N,N].
    """

    def __init__(self, vision: nn.Module, attention: list[nn.Module] = ()):
        super().__init__()
        self.vision, self.attention = vision, list(attention)

    def forward(self, pixel_values):
        with Captured(self.attention) as maps:
            out = self.vision(pixel_values)
        embeds = out if isinstance(out, torch.Tensor) else out.last_hidden_state
        return (embeds, *maps) if maps else embeds


class QFormer(nn.Module):
    """image_embeds [B,N,Dv] -> query_output [B,Q,Dq]

    qformer is a Blip2QFormerModel, query_tokens its [1,Q,Dq] parameter. attention adds
    self_attn.{i} [B,heads,Q,Q] of every layer and cross_attn.{i} [B,heads,Q,N] of the
    layers that have it (i is the layer's number).
    """

    def __init__(self, qformer: nn.Module, query_tokens: nn.Parameter, attention: bool = False):
        super().__init__()
        self.qformer, self.query_tokens, self.attention = qformer, query_tokens, attention

    def forward(self, image_embeds):
        queries = self.query_tokens.expand(image_embeds.shape[0], -1, -1)
        with Captured(qformer_attention(self.qformer) if self.attention else []) as maps:
            out = self.qformer(query_embeds=queries, encoder_hidden_states=image_embeds)
        return (out.last_hidden_state, *maps) if maps else out.last_hidden_state


def qformer_attention(qformer: nn.Module) -> list[nn.Module]:
    """The attention modules in the order they run: per layer self, then cross where there is one."""
    found = []
    for layer in qformer.encoder.layer:
        found.append(layer.attention.attention)
        if layer.has_cross_attention:
            found.append(layer.crossattention.attention)
    return found


def qformer_attention_names(qformer: nn.Module) -> list[str]:
    names = []
    for i, layer in enumerate(qformer.encoder.layer):
        names.append(f"self_attn.{i}")
        if layer.has_cross_attention:
            names.append(f"cross_attn.{i}")
    return names


def vision_spec(vision: nn.Module, size: int, attention: list[nn.Module] = ()) -> GraphSpec:
    """size is the one square image size the encoder takes."""
    maps = [f"self_attn.{i}" for i in range(len(attention))]
    axes = {"pixel_values": ["batch", 3, size, size], "image_embeds": ["batch", "tokens", "width"]}
    axes |= {m: ["batch", "heads", "tokens", "tokens"] for m in maps}
    return GraphSpec(VisionEncoder(vision, attention), lambda s: {"pixel_values": torch.randn(s["batch"], 3, size, size)},
                     ["image_embeds", *maps], axes, {"batch": 2}, [{"batch": 1}, {"batch": 3}])


def qformer_spec(qformer: nn.Module, query_tokens: nn.Parameter, attention: bool = False) -> GraphSpec:
    width = qformer.config.encoder_hidden_size
    names = qformer_attention_names(qformer) if attention else []
    axes = {"image_embeds": ["batch", "tokens", width], "query_output": ["batch", "queries", "width"]}
    axes |= {n: ["batch", "heads", "queries", "tokens" if n.startswith("cross") else "queries"] for n in names}
    return GraphSpec(QFormer(qformer, query_tokens, attention),
                     lambda s: {"image_embeds": torch.randn(s["batch"], s["tokens"], width)},
                     ["query_output", *names], axes, {"batch": 2, "tokens": 5},
                     [{"batch": 1, "tokens": 17}, {"batch": 3, "tokens": 9}])


def add_parts(bundle: Bundle, *, vision: nn.Module, image_size: int, qformer: nn.Module, query_tokens: nn.Parameter,
              language_projection: nn.Linear, language_model: nn.Module, attention_maps: bool = False,
              vision_attention: list[nn.Module] = (), qformer_dtype: str | None = None) -> None:
    """The four graphs and the projection of a BLIP-2 with a decoder-only language model.

    qformer_dtype defaults to the bundle's; checkpoints of the real BLIP-2 keep it in fp32.
    """
    bundle.add_graph("vision_encoder", vision_spec(vision, image_size, vision_attention if attention_maps else []))
    bundle.add_graph("qformer", qformer_spec(qformer, query_tokens, attention_maps), dtype=qformer_dtype)
    bundle.add_linear("language_projection", language_projection)
    embedding = language_model.get_input_embeddings()
    bundle.add_graph("embed_tokens", causal.embed_spec(embedding, embedding.num_embeddings))
    bundle.add_graph("decoder", causal.decoder_spec(language_model, attention=attention_maps))
