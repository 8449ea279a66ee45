"""BLIP-2 and InstructBLIP: vision encoder -> Q-Former -> projection (in Go) -> language model.

The wrappers take modules, so a model that is only BLIP-2 in shape (another vision
encoder, a small language model) is exported by the same `add_parts`.
"""

from __future__ import annotations

import torch
from tokenizers import Tokenizer
from torch import nn

from ..bundle import Bundle
from ..graph import ExportError, GraphSpec
from . import causal, t5
from .common import add_generation_config, release


class Captured:
    """Collects attention probabilities, output 1 of the modules, during one forward pass.

    ask: the modules give them only when told output_attentions.
    """

    def __init__(self, modules: list[nn.Module], ask: bool = False):
        self.maps: list[torch.Tensor] = []
        self.hooks = [m.register_forward_hook(lambda _m, _i, out: self.maps.append(out[1])) for m in modules]
        if ask:
            self.hooks += [
                m.register_forward_pre_hook(
                    lambda _m, args, kwargs: (args, kwargs | {"output_attentions": True}),
                    with_kwargs=True) for m in modules]

    def __enter__(self) -> list[torch.Tensor]:
        return self.maps

    def __exit__(self, *_):
        for hook in self.hooks:
            hook.remove()


class VisionEncoder(nn.Module):
    """pixel_values [B,3,H,W] -> image_embeds [B,N,Dv]

    vision returns a tensor, an output with last_hidden_state, or a tensor and image_places
    [B,N,cells]: from where in the picture each token comes. attention names the modules
    whose maps become self_attn.{i} [B,heads,N,N].
    """

    def __init__(self, vision: nn.Module, attention: list[nn.Module] = ()):
        super().__init__()
        self.vision, self.attention = vision, list(attention)

    def forward(self, pixel_values):
        with Captured(self.attention) as maps:
            out = self.vision(pixel_values)
        if type(out) is tuple:
            return *out, *maps
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


class QFormerWithText(nn.Module):
    """image_embeds [B,N,Dv], qformer_input_ids [B,T], qformer_attention_mask [B,T] -> query_output
    [B,Q,Dq]

    The instruction of InstructBLIP, or the text of BLIP-2's matching head; T may be 0 with the
    latter. embed maps ids and queries to the Q-Former's input where the Q-Former does not do it
    itself. With attention, the self maps are [B,heads,Q+T,Q+T].
    """

    def __init__(self, qformer: nn.Module, query_tokens: nn.Parameter,
                 embed: nn.Module | None = None, attention: bool = False):
        super().__init__()
        self.qformer, self.query_tokens, self.embed, self.attention = qformer, query_tokens, embed, attention

    def forward(self, image_embeds, qformer_input_ids, qformer_attention_mask):
        queries = self.query_tokens.expand(image_embeds.shape[0], -1, -1)
        count = self.query_tokens.shape[1]
        mask = torch.cat([torch.ones_like(queries[:, :, 0], dtype=torch.int64), qformer_attention_mask], dim=1)
        with Captured(qformer_attention(self.qformer) if self.attention else []) as maps:
            if self.embed is None:
                out = self.qformer(input_ids=qformer_input_ids, attention_mask=mask,
                                   query_embeds=queries, encoder_hidden_states=image_embeds)
            else:
                out = self.qformer(
                    query_embeds=self.embed(input_ids=qformer_input_ids, query_embeds=queries),
                    query_length=count, attention_mask=mask, encoder_hidden_states=image_embeds)
        return out.last_hidden_state[:, :count], *maps


class Scattered(nn.Module):
    """A Q-Former whose query_output [B,Q,E] is what transformers puts in the place of the image's
    tokens where the language model's embeddings, E wide, are narrower than its hidden states (OPT
    with word_embed_proj_dim).

    language_projection gives hidden states there, and masked_scatter fills the Q rows of E with the
    first of its numbers, in order.
    """

    def __init__(self, qformer: nn.Module, projection: nn.Linear, width: int):
        super().__init__()
        self.qformer, self.projection, self.width = qformer, projection, width

    def forward(self, *inputs):
        out = self.qformer(*inputs)
        queries, maps = (out[0], out[1:]) if isinstance(out, tuple) else (out, ())
        count = self.qformer.query_tokens.shape[1]
        flat = self.projection(queries).flatten(1)[:, :count * self.width]
        return flat.view(-1, count, self.width), *maps


class QFormerText(nn.Module):
    """input_ids [B,T], attention_mask [B,T] -> pooled_output [B,Dq], the state of the first
    token"""

    def __init__(self, qformer: nn.Module, embed: nn.Module):
        super().__init__()
        self.qformer, self.embed = qformer, embed

    def forward(self, input_ids, attention_mask):
        out = self.qformer(query_embeds=self.embed(input_ids=input_ids), query_length=0, attention_mask=attention_mask)
        return out.last_hidden_state[:, 0]


def qformer_attention(qformer: nn.Module) -> list[nn.Module]:
    """The attention modules in the order they run: per layer self, then cross where there is
    one."""
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


def vision_spec(vision: nn.Module, size: int, attention: list[nn.Module] = (), places: bool = False) -> GraphSpec:
    """size is the one square image size the encoder takes; places says that it gives image_places
    too."""
    maps = [f"self_attn.{i}" for i in range(len(attention))]
    axes = {"pixel_values": ["batch", 3, size, size], "image_embeds": ["batch", "tokens", "width"]}
    axes |= {m: ["batch", "heads", "tokens", "tokens"] for m in maps}
    if places:
        maps = ["image_places", *maps]
        axes["image_places"] = ["batch", "tokens", "cells"]
    return GraphSpec(VisionEncoder(vision, attention),
                     lambda s: {"pixel_values": torch.randn(s["batch"], 3, size, size)},
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


def qformer_text_spec(qformer: nn.Module, query_tokens: nn.Parameter, vocab: int, embed: nn.Module | None = None,
                      attention: bool = False) -> GraphSpec:
    width = qformer.config.encoder_hidden_size
    names = qformer_attention_names(qformer) if attention else []
    axes = {"image_embeds": ["batch", "tokens", width], "qformer_input_ids": ["batch", "length"],
            "qformer_attention_mask": ["batch", "length"], "query_output": ["batch", "queries", "width"]}
    axes |= {n: ["batch", "heads", "rows", "tokens" if n.startswith("cross") else "rows"] for n in names}

    def make(s):
        return {"image_embeds": torch.randn(s["batch"], s["tokens"], width),
                "qformer_input_ids": torch.randint(0, vocab, (s["batch"], s["length"])),
                "qformer_attention_mask": t5.right_padded(s["batch"], s["length"])}

    return GraphSpec(QFormerWithText(qformer, query_tokens, embed, attention), make,
                     ["query_output", *names], axes,
                     {"batch": 2, "tokens": 5, "length": 3},
                     [{"batch": 1, "tokens": 17, "length": 6},
                      {"batch": 3, "tokens": 9, "length": 4},
                      {"batch": 2, "tokens": 7, "length": 0}])


def text_spec(qformer: nn.Module, embed: nn.Module, vocab: int) -> GraphSpec:
    axes = {"input_ids": ["batch", "length"], "attention_mask": ["batch", "length"],
            "pooled_output": ["batch", "width"]}
    return GraphSpec(QFormerText(qformer, embed), lambda s: {
        "input_ids": torch.randint(0, vocab, (s["batch"], s["length"])),
        "attention_mask": t5.right_padded(s["batch"], s["length"])}, ["pooled_output"], axes,
                     {"batch": 2, "length": 3},
                     [{"batch": 1, "length": 7}, {"batch": 3, "length": 5}])


def add_language_model(bundle: Bundle, lm: nn.Module, attention: bool) -> None:
    """embed_tokens and decoder, and encoder where lm has one."""
    embedding = lm.get_input_embeddings()
    bundle.add_graph("embed_tokens", causal.embed_spec(embedding, embedding.num_embeddings))
    if lm.config.is_encoder_decoder:
        bundle.add_graph("encoder", t5.encoder_spec(lm, attention))
        bundle.add_graph("decoder", t5.decoder_spec(lm, attention))
    else:
        bundle.add_graph("decoder", causal.decoder_spec(lm, attention=attention))


def empty_text(bundle: Bundle) -> list[int]:
    """What the bundle's tokenizer makes of an empty text."""
    tokenizer = Tokenizer.from_file(str(bundle.dir / "tokenizer.json"))
    tokenizer.no_padding()
    return tokenizer.encode("").ids


def export(model: nn.Module, bundle: Bundle, attention: bool) -> None:
    """Blip2ForConditionalGeneration, InstructBlipForConditionalGeneration or
    Blip2ForImageTextRetrieval."""
    config, kind = model.config, type(model).__name__
    # The real checkpoints keep the Q-Former in float32 when the rest is float16.
    qformer_dtype = "fp32" if bundle.dtype == "fp16" else None
    model.set_attn_implementation({"vision_config": "eager", "text_config": "eager"})
    maps = [layer.self_attn for layer in model.vision_model.encoder.layers] if attention else []
    bundle.add_graph("vision_encoder", vision_spec(model.vision_model, config.vision_config.image_size, maps))
    release(model, "vision_model")
    bundle.meta["num_query_tokens"] = config.num_query_tokens
    bundle.meta["image_token_id"] = config.image_token_index

    if kind == "Blip2ForImageTextRetrieval":
        bundle.meta["tasks"] = ["match"]
        vocab = config.qformer_config.vocab_size
        bundle.add_graph("qformer", qformer_text_spec(model.qformer, model.query_tokens, vocab,
                                                      model.embeddings, attention),
                         dtype=qformer_dtype)
        bundle.add_graph("text_encoder", text_spec(model.qformer, model.embeddings, vocab), dtype=qformer_dtype)
        for name in ("itm_head", "vision_projection", "text_projection"):
            bundle.add_linear(name, getattr(model, name))
        return

    bundle.meta["tasks"] = ["caption", "answer"]
    bundle.meta["prompts"] = {"caption": "", "answer": "Question: {} Answer:"}
    begin = config.text_config.bos_token_id  # generate writes it where there is no text
    if begin is not None and [begin] != empty_text(bundle):
        bundle.meta["empty_text_ids"] = [begin]
    if kind == "InstructBlipForConditionalGeneration":
        bundle.meta["prompts"] = {"caption": "A short image description.", "answer": "{}"}
        spec = qformer_text_spec(model.qformer, model.query_tokens,
                                 config.qformer_config.vocab_size, attention=attention)
    else:
        spec = qformer_spec(model.qformer, model.query_tokens, attention)
    lm, projection = model.language_model, model.language_projection
    width = lm.get_input_embeddings().embedding_dim
    if width < projection.out_features:
        spec.module = Scattered(spec.module, projection, width)
        projection = nn.Linear(width, width)
        nn.init.eye_(projection.weight)
        nn.init.zeros_(projection.bias)
    elif width > projection.out_features:
        raise ExportError(f"the picture's tokens are {projection.out_features} wide, the language model's "
                          f"embeddings {width}: they cannot stand in their place")
    bundle.add_graph("qformer", spec, dtype=qformer_dtype)
    bundle.add_linear("language_projection", projection)
    release(model, "qformer")
    add_generation_config(bundle, lm.generation_config)
    if not lm.config.is_encoder_decoder:
        bundle.meta["limits"] = {"max_positions": lm.config.max_position_embeddings}
    add_language_model(bundle, lm, attention)


def add_parts(bundle: Bundle, *, vision: nn.Module, image_size: int, qformer: nn.Module,
              query_tokens: nn.Parameter, language_projection: nn.Linear, language_model: nn.Module,
              attention_maps: bool = False, vision_attention: list[nn.Module] = (),
              qformer_dtype: str | None = None, image_places: bool = False) -> None:
    """The four graphs and the projection of a BLIP-2; five with an encoder-decoder language model.

    qformer_dtype defaults to the bundle's; checkpoints of the real BLIP-2 keep it in fp32.
    image_places: vision gives these too.
    """
    bundle.add_graph("vision_encoder", vision_spec(vision, image_size,
                                                   vision_attention if attention_maps else [],
                                                   image_places))
    bundle.add_graph("qformer", qformer_spec(qformer, query_tokens, attention_maps), dtype=qformer_dtype)
    bundle.add_linear("language_projection", language_projection)
    add_language_model(bundle, language_model, attention_maps)
