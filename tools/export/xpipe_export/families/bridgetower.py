"""BridgeTower: the upper layers of a vision and of a text encoder are bridged to layers of two-way
cross-attention.

The retrieval model's text encoder runs with the cross-attention in one graph, `matcher`, over the
picture's states, which are made once for all texts. The contrastive model's two embeddings come from
the encoders alone, so it is a bundle of the family clip; its third, of the two together
(cross_embeds), is left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from .. import replay_families
from ..bundle import Bundle
from ..graph import ExportError, GraphSpec
from ..replay import Replay
from .common import Front, release
from .t5 import right_padded


class Vision(nn.Module):
    """pixel_values [B,3,H,W] -> image_embeds [B,L,N,D], what each of the L layers of cross-attention
    is given; or, alone, of the last pooled_output [B,D], its first place, and last_hidden_state [B,N,D]"""

    def __init__(self, model: nn.Module, alone: bool = False):
        super().__init__()
        self.alone = alone
        self.visual = model.vision_model.visual
        self.transform = model.cross_modal_image_transform
        self.register_buffer("kind", model.token_type_embeddings.weight[1].detach().clone(), persistent=False)
        self.first = len(self.visual.transformer.resblocks) - model.config.num_hidden_layers

    def forward(self, pixel_values):
        states, seen = self.visual.forward_pre(pixel_values), []
        for i, block in enumerate(self.visual.transformer.resblocks):
            states = block(states)
            if i >= self.first:
                seen.append(self.transform(self.visual.forward_post(states)) + self.kind)
        return (seen[-1][:, 0], seen[-1]) if self.alone else torch.stack(seen, 1)


class Words(nn.Module):
    """Text states: iterates over the layers, as BridgeTowerModel does."""

    def __init__(self, text: nn.Module):
        super().__init__()
        self.text = text

    def mask(self, attention_mask):
        return (1.0 - attention_mask[:, None, None].float()) * torch.finfo(torch.float32).min

    def states(self, input_ids, mask):
        states = self.text.embeddings(input_ids=input_ids)
        for layer in self.text.encoder.layer:
            states = layer(states, mask)[0]
            yield states


class Text(Words):
    """input_ids [B,T], attention_mask [B,T] -> pooled_output [B,D], the first token's state"""

    def forward(self, input_ids, attention_mask):
        *_, last = self.states(input_ids, self.mask(attention_mask))
        return last[:, 0]


class Matcher(Words):
    """input_ids [B,T], attention_mask [B,T], image_embeds [B,L,N,D] -> pooled_output [B,2D]
    (, cross_attn.{i} [B,heads,T,N] words over patches)"""

    def __init__(self, model: nn.Module, attention: bool = False):
        super().__init__(model.text_model)
        self.model, self.attention = model, attention
        self.first = len(model.text_model.encoder.layer) - model.config.num_hidden_layers
        self.register_buffer("kind", model.token_type_embeddings.weight[0].detach().clone(), persistent=False)

    def forward(self, input_ids, attention_mask, image_embeds):
        m, mask = self.model, self.mask(attention_mask)
        every = torch.zeros_like(image_embeds[:, 0, :, 0])[:, None, None]  # patches are never hidden
        text = image = None
        maps = []
        for i, states in enumerate(self.states(input_ids, mask)):
            at = i - self.first
            if at < 0:
                continue
            words = m.cross_modal_text_transform(states) + self.kind
            if at == 0:
                words = m.cross_modal_text_layernorm(words)
                patches = m.cross_modal_image_layernorm(image_embeds[:, 0])
            else:
                words = m.cross_modal_text_link_tower[at - 1](words, text, mask)
                patches = m.cross_modal_image_link_tower[at - 1](image_embeds[:, at], image, every)
            out = m.cross_modal_text_layers[at](words, patches, attention_mask=mask, encoder_attention_mask=every,
                                                output_attentions=self.attention)
            text = out[0]
            if self.attention:
                maps.append(out[2])
            image = m.cross_modal_image_layers[at](patches, words, attention_mask=every, encoder_attention_mask=mask)[0]
        return m.get_cls_features(text, image), *maps


def vision_spec(model: nn.Module, alone: bool = False) -> GraphSpec:
    size, width = model.config.vision_config.image_size, model.config.hidden_size
    outputs = {"image_embeds": ["batch", model.config.num_hidden_layers, "tokens", width]}
    if alone:
        outputs = {"pooled_output": ["batch", width], "last_hidden_state": ["batch", "tokens", width]}
    return GraphSpec(Vision(model, alone), lambda s: {"pixel_values": torch.randn(s["batch"], 3, size, size)},
                     list(outputs), {"pixel_values": ["batch", 3, size, size]} | outputs,
                     {"batch": 2}, [{"batch": 1}, {"batch": 3}])


def text_spec(module: nn.Module, config, layers: int = 0, maps: tuple = ()) -> GraphSpec:
    """layers: of cross-attention, for a Matcher."""
    text, tokens = config.text_config, (config.vision_config.image_size // config.vision_config.patch_size) ** 2 + 1

    def make(s):
        inputs = {"input_ids": torch.randint(2, text.vocab_size, (s["batch"], s["length"])),  # no padding among them
                  "attention_mask": right_padded(s["batch"], s["length"])}
        if layers:
            inputs["image_embeds"] = torch.randn(s["batch"], layers, tokens, config.hidden_size)
        return inputs

    axes = {"input_ids": ["batch", "length"], "attention_mask": ["batch", "length"],
            "image_embeds": ["batch", layers, "tokens", config.hidden_size], "pooled_output": ["batch", "width"]}
    axes |= {n: ["batch", "heads", "length", "tokens"] for n in maps}
    return GraphSpec(module, make, ["pooled_output", *maps], axes if layers else
                     {n: a for n, a in axes.items() if n != "image_embeds"}, {"batch": 2, "length": 5},
                     [{"batch": 1, "length": 7}, {"batch": 3, "length": 4}])


def most_text(config) -> int:
    """How many tokens a text may have: RoBERTa's positions begin behind that of padding."""
    text = config.text_config
    return text.max_position_embeddings - text.pad_token_id - 1


def export(model: nn.Module, bundle: Bundle, attention: bool) -> None:
    """BridgeTowerForImageAndTextRetrieval or BridgeTowerForContrastiveLearning."""
    config, inner = model.config, model.bridgetower
    for layers in (inner.vision_model.visual.transformer.resblocks, inner.text_model.encoder.layer):
        if len(layers) != len(inner.text_model.encoder.layer) or len(layers) < config.num_hidden_layers:
            raise ExportError("bridgetower whose encoders have other numbers of layers than one another, or fewer than "
                              "the cross-attention: not supported")
    if not isinstance(inner.cross_modal_text_transform, nn.Linear):
        raise ExportError("bridgetower with share_cross_modal_transformer_layers false: transformers cannot run it")
    bundle.meta["limits"] = {"max_text": most_text(config)}
    if hasattr(model, "itm_score"):
        bundle.meta["tasks"] = ["match"]
        bundle.add_linear("itm_head", model.itm_score.fc)
        bundle.add_graph("vision_encoder", vision_spec(inner))
        release(inner.vision_model.visual, "transformer")
        maps = tuple(f"cross_attn.{i}" for i in range(config.num_hidden_layers)) if attention else ()
        bundle.add_graph("matcher", text_spec(Matcher(inner, attention), config, config.num_hidden_layers, maps))
        return
    bundle.meta |= {"tasks": ["classify", "match", "embed"], "scores": "softmax", "text_padding": "masked",
                    "prompts": {"classify": "a photo of a {}"}}
    bundle.add_projection({"logit_scale": model.logit_scale.reshape(1)})
    bundle.add_linear("visual_projection", model.itc_image_head.fc)
    bundle.add_linear("text_projection", model.itc_text_head.fc)
    bundle.add_graph("vision_encoder", vision_spec(inner, alone=True))
    release(inner.vision_model.visual, "transformer")
    bundle.add_graph("text_encoder", text_spec(Text(inner.text_model), config))


def end_to_end(model: nn.Module, front: Front):
    """The model's own logits, or embeddings, of a picture with two texts."""
    size = model.config.vision_config.image_size
    picture = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    pixels = front.images(images=[picture], do_center_crop=True, return_tensors="pt")["pixel_values"]
    texts = [front.tokenizer(t).input_ids for t in ("a photo of a cat", "two dogs")]
    with torch.no_grad():
        made = [model(input_ids=torch.tensor([t]), pixel_values=pixels) for t in texts]
    retrieval = hasattr(model, "itm_score")
    want = (torch.cat([m.logits if retrieval else torch.stack([m.text_embeds, m.image_embeds], 1) for m in made]).numpy())

    def check(folder: Path, dtype: str) -> dict:
        run = replay_families.match if retrieval else replay_families.embed
        return replay_families.verdict(run(Replay(folder), pixels.numpy(), texts), want, dtype)

    return check
