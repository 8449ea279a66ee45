"""Models whose prompt has rows of a picture in the place of tokens (LLaVA's kind), as three graphs.

A vision encoder with its projection gives rows in the language model's width; embed_tokens and a
causal decoder with a cache are the rest. What differs between them is a Kind: how pictures become
rows, which positions see which, and what is counted.
"""

from __future__ import annotations

from typing import Callable, NamedTuple

import numpy as np
import torch
from torch import nn
from transformers import AutoImageProcessor

from .. import endtoend
from ..bundle import Bundle
from ..graph import ExportError, GraphSpec
from . import causal, tied
from .common import add_generation_config, release

TEXTS = ("llama", "mistral", "qwen2", "gemma", "gemma2", "gemma3_text", "qwen2_vl_text",
         "qwen2_5_vl_text")
"""model_types of the language models that were compared."""

TOKEN_TYPES = "token_type_ids"
"""The decoder's input [B,T] that is 1 where a new position is a row of a picture."""


class Kind(NamedTuple):
    """How the models of one class are exported."""

    vision: Callable[[nn.Module], GraphSpec]
    """The vision encoder's graph, with the projection; of its inputs pixel_values is the first."""
    prompts: Callable[[nn.Module, bool], dict]
    """The manifest's prompts, given whether there is a chat template."""
    places: bool = False
    """Positions are those of time, row and column, given as position_ids [3,B,T]."""
    pictures_see: bool = False
    """A picture's rows see each other, also those behind: the decoder takes token_type_ids."""
    prompt_sees: bool = False
    """A prompt's positions see each other, also those behind and beyond a window."""
    first: int = 0
    """The position of a prompt's first token."""
    frame: Callable[[object], tuple[list[int], list[int]]] = lambda config: ([], [])
    """Ids that stand around a picture's rows where the model itself looks for them."""
    settle: Callable[[nn.Module], None] = lambda model: None
    """Changes what transformers 4.57 does otherwise than the checkpoint was trained for."""
    prepare: Callable[[nn.Module, Bundle], None] = lambda model, bundle: None
    """Refuses what does not fit, and adds to the bundle what is in no graph."""
    squares: bool = False
    """A picture is a row of squares, and image_sizes tells its height and width."""
    amid: bool = False
    """A picture that is one of several is another square, which stands behind those of one alone."""


class TextDecoder(nn.Module):
    """inputs_embeds [B,T,D], attention_mask [B,P+T], num_logits_to_keep [], past [B,heads,P,dim]...
    -> logits [B,K,V], present...

    As causal.CausalDecoder, for a language model whose head is the whole model's. With places,
    position_ids [3,B,T] come behind num_logits_to_keep; with pictures_see, token_type_ids [B,T].
    """

    def __init__(self, model: nn.Module, kind: Kind, attention: bool = False):
        super().__init__()
        self.text, self.head = text_model(model), model.lm_head
        self.config, self.kind, self.attention = self.text.config, kind, attention
        self.text.set_attn_implementation("eager")
        self.windows = causal.windows(self.config)

    def forward(self, inputs_embeds, attention_mask, num_logits_to_keep, *more):
        length, past = inputs_embeds.shape[1], list(more)
        if self.kind.places:
            positions = past.pop(0)
        else:
            positions = causal.position_ids(attention_mask, length).clamp(min=0) + self.kind.first
        also = None
        if self.kind.pictures_see:
            also = same_picture(past.pop(0), attention_mask)
        elif self.kind.prompt_sees:
            also = nothing_before(attention_mask, length)
        masks = {k: causal.causal_mask(attention_mask, length, w, also) for k, w in self.windows.items()}
        mask = masks if len(masks) > 1 else next(iter(masks.values()))
        cache = causal.past_cache(tuple(past))
        out = self.text(inputs_embeds=inputs_embeds, attention_mask=mask, position_ids=positions,
                        past_key_values=cache, use_cache=True, output_attentions=self.attention,
                        cache_position=torch.arange(length) + (attention_mask.shape[1] - length))
        logits = self.head(causal.last_positions(out.last_hidden_state, num_logits_to_keep))
        maps = out.attentions if self.attention else ()
        return logits, *causal.cache_tensors(cache), *maps


def nothing_before(attention_mask: torch.Tensor, length) -> torch.Tensor:
    """[1,1,1,1]: whether the new positions are the first ones, a prompt."""
    first = (torch.arange(length) + (attention_mask.shape[1] - length))[:1]
    return (first == 0)[None, None, None]


def same_picture(token_types: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """[B,1,T,P+T]: whether both positions are rows of one picture, of token_types [B,T]. Pictures
    stand apart from each other; positions of the past are none of a picture that is new."""
    rows = token_types == 1
    before = torch.cat([torch.zeros_like(rows[:, :1]), rows[:, :-1]], 1)
    number = torch.where(rows, (rows & ~before).long().cumsum(1), 0)
    past = attention_mask[:, : attention_mask.shape[1] - token_types.shape[1]] * 0
    seen = torch.cat([past, number], 1)
    return ((number[:, :, None] == seen[:, None]) & rows[:, :, None])[:, None]


def text_model(model: nn.Module) -> nn.Module:
    """The language model without its head."""
    inner = model.model
    return inner.text_model if hasattr(inner, "text_model") else inner.language_model


def decoder_spec(module: nn.Module, config, vocab: int, attention: bool = False, *, places: bool = False,
                 pictures_see: bool = False) -> GraphSpec:
    """The graph of a module with TextDecoder's inputs and outputs. config is the language model's."""
    layers, heads, dim = causal.cache_shape(config)
    width = config.hidden_size
    past, present = (causal.cache_names(p, layers) for p in ("past_key_values", "present"))
    maps = [f"self_attn.{i}" for i in range(layers)] if attention else []

    def make(s):
        batch, length = s["batch"], s["length"]
        mask = causal.padded_mask(batch, s["past"], length)
        inputs = {"inputs_embeds": torch.randn(batch, length, width) * 0.1, "attention_mask": mask,
                  causal.KEEP: torch.tensor(s["keep"])}
        if places:
            inputs["position_ids"] = torch.randint(0, 40, (3, batch, length))
        if pictures_see:
            inputs[TOKEN_TYPES] = torch.randint(0, 2, (batch, length))
        return inputs | {n: torch.randn(batch, heads, s["past"], dim) for n in past}

    axes = {"inputs_embeds": ["batch", "length", width], "attention_mask": ["batch", "total"],
            causal.KEEP: [], "position_ids": [3, "batch", "length"],
            TOKEN_TYPES: ["batch", "length"], "logits": ["batch", "kept", vocab]}
    axes |= {n: ["batch", heads, "past", dim] for n in past}
    axes |= {n: ["batch", heads, "total", dim] for n in present}
    axes |= {n: ["batch", config.num_attention_heads, "length", "total"] for n in maps}
    return GraphSpec(module, make, ["logits", *present, *maps], axes,
                     {"batch": 2, "length": 4, "past": 5, "keep": 3},
                     [{"batch": 1, "length": 7, "past": 0, "keep": 1},
                      {"batch": 3, "length": 6, "past": 0, "keep": 0},
                      {"batch": 1, "length": 1, "past": 11, "keep": 1},
                      {"batch": 3, "length": 2, "past": 6, "keep": 2}])


def whole_pictures(module: nn.Module, config) -> GraphSpec:
    """The graph of a vision encoder that takes pictures of one size: pixel_values [N,3,S,S] ->
    image_features [N,L,D]."""
    side = config.vision_config.image_size
    return GraphSpec(module, lambda s: {"pixel_values": torch.randn(s["pictures"], 3, side, side)},
                     ["image_features"],
                     {"pixel_values": ["pictures", 3, side, side],
                      "image_features": ["pictures", "rows", "width"]},
                     {"pictures": 2}, [{"pictures": 1}, {"pictures": 3}])


def exporter(kind: Kind) -> Callable[[nn.Module, Bundle, bool], None]:
    """What cli.Family calls to export models of a kind."""
    return lambda model, bundle, attention: export(model, bundle, attention, kind)


def export(model: nn.Module, bundle: Bundle, attention: bool, kind: Kind) -> None:
    config, text = model.config, text_model(model)
    if text.config.model_type not in TEXTS:
        raise ExportError(f"{type(model).__name__} with a language model of type "
                          f"{text.config.model_type!r}; known are {', '.join(TEXTS)}")
    causal.check_rope(text.config)
    kind.settle(model)
    kind.prepare(model, bundle)
    vision = kind.vision(model)
    chats = any((bundle.dir / n).is_file() and "chat_template" in (n + (bundle.dir / n).read_text())
                for n in ("chat_template.jinja", "chat_template.json", "processor_config.json",
                          "tokenizer_config.json"))
    bundle.meta |= {"tasks": ["caption", "answer", "converse"] if chats else ["caption", "answer"],
                    "prompts": kind.prompts(model, chats), "image_token_id": config.image_token_id,
                    "limits": {"max_positions": text.config.max_position_embeddings}}
    add_generation_config(bundle, model.generation_config)
    want = _reference(model, kind, bundle)
    bundle.verify = lambda folder: endtoend.check(folder, want, bundle.dtype)
    bundle.add_graph("vision_encoder", vision)
    del vision
    release(model.model, *(n for n in ("vision_tower", "vision_model", "visual",
                                       "multi_modal_projector", "connector")
                           if hasattr(model.model, n)))
    embedding = model.get_input_embeddings()
    decoder = decoder_spec(TextDecoder(model, kind, attention), text.config, model.lm_head.out_features,
                           attention, places=kind.places, pictures_see=kind.pictures_see)
    bundle.add_graph("embed_tokens", causal.embed_spec(embedding, embedding.num_embeddings))
    bundle.add_graph("decoder", decoder)
    share_table(bundle, embedding, model.lm_head)


def among_others(images, picture) -> torch.Tensor:
    """[1,3,S,S] of a picture that is one of several in a prompt."""
    return images(images=[[picture, picture]], return_tensors="pt")["pixel_values"][0, :1]


def shown(masks: torch.Tensor) -> list[list[int]]:
    """Height and width of parts of a picture in their masks [N,H,W]."""
    return [[int(m[:, 0].sum()), int(m[0].sum())] for m in masks]


def share_table(bundle: Bundle, embedding: nn.Module, head: nn.Module) -> None:
    """Store the weights of embeddings and head once where they are one."""
    if head.weight.data_ptr() == embedding.weight.data_ptr():
        tied.share(bundle.dir / bundle.graphs["embed_tokens"], bundle.dir / bundle.graphs["decoder"])


def _reference(model: nn.Module, kind: Kind, bundle: Bundle) -> endtoend.Reference:
    """What the checkpoint's own generate writes for a picture between texts, by the image processor
    that the bundle has."""
    config = model.config
    picture = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    images = AutoImageProcessor.from_pretrained(bundle.dir, use_fast=False)
    made = images(images=[picture], return_tensors="pt")
    given = {k: v for k, v in made.items()
             if k in ("pixel_values", "pixel_attention_mask", "image_grid_thw", "image_sizes")}
    with torch.no_grad():
        rows = model.get_image_features(**given)
    count = sum(r.numel() for r in rows) // text_model(model).config.hidden_size
    before, behind = kind.frame(config)
    some = [i for i in range(3, 40) if i not in (config.image_token_id, *before, *behind)]
    ids = [*some[:3], *before, *[config.image_token_id] * count, *behind, *some[3:8]]
    row = {"input_ids": ids}
    if "pixel_attention_mask" in given:
        row["shown"] = [shown(given["pixel_attention_mask"][0])]
    pixels = given["pixel_values"]
    if "image_grid_thw" in given:
        row["grids"] = given["image_grid_thw"].tolist()
    if kind.squares:
        row["sizes"] = given["image_sizes"].tolist()
    if pixels.dim() == 5:
        pixels = pixels.flatten(0, 1)
    if kind.amid:
        pixels = torch.cat([pixels, among_others(images, picture)])
    row["pixels"] = [[0, len(pixels)]]
    ids = torch.tensor([ids])
    given |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    window = getattr(text_model(model).config, "sliding_window", None) or 0
    steps = endtoend.STEPS + (window if window <= 64 else 0)
    if kind.pictures_see or kind.prompt_sees:
        given[TOKEN_TYPES] = (ids == config.image_token_id).long()
    with torch.no_grad():
        out = model.generate(**given, max_new_tokens=steps, min_new_tokens=2,
                             do_sample=False, num_beams=1, repetition_penalty=1.0, output_logits=True,
                             return_dict_in_generate=True)
    logits = torch.stack(out.logits, 1).float().numpy()
    return endtoend.written(row, pixels.float().numpy(),
                             out.sequences[:, -logits.shape[1]:].numpy(), logits)
