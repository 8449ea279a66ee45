"""BLIP: a ViT and a BERT-type text model with cross-attention to the image (captioning),
to the encoded question (VQA), or with a matching head (retrieval)."""

from __future__ import annotations

import torch
from torch import nn

from ..bundle import Bundle
from ..graph import GraphSpec
from .blip2 import vision_spec
from .causal import cache_names, cache_tensors, causal_mask, embed_spec, heading_last, position_ids
from .common import add_generation_config, release
from .t5 import crossing_cache, crossing_spec, right_padded


class TextEncoder(nn.Module):
    """input_ids [B,T], attention_mask [B,T] (, image_embeds [B,N,Dv]) -> pooled_output [B,D], the
    state of the first token"""

    def __init__(self, text: nn.Module, attention: bool = False):
        super().__init__()
        self.text, self.attention = text, attention

    def forward(self, input_ids, attention_mask, image_embeds=None):
        out = self.text(input_ids=input_ids, attention_mask=attention_mask, encoder_hidden_states=image_embeds,
                        output_attentions=self.attention, return_dict=True)
        maps = (*out.attentions, *(out.cross_attentions or ())) if self.attention else ()
        return out.last_hidden_state[:, 0], *maps


class CrossKV(nn.Module):
    """encoder states [B,N,De] -> present.{i}.encoder.key, .value [B,heads,N,dim] of every decoder
    layer"""

    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.cross = nn.ModuleList(layer.crossattention.self for layer in decoder.bert.encoder.layer)

    def forward(self, states):
        out = []
        for m in self.cross:
            for projection in (m.key, m.value):
                out.append(
                    projection(states).view(states.shape[0], -1, m.num_attention_heads,
                                            m.attention_head_size).transpose(1, 2))
        return tuple(out)


class QuestionEncoder(nn.Module):
    """input_ids [B,S], attention_mask [B,S], image_embeds [B,N,Dv] -> encoder_hidden_states
    [B,S,D], present.{i}.encoder.key, .value"""

    def __init__(self, text: nn.Module, decoder: nn.Module, attention: bool = False):
        super().__init__()
        self.text, self.kv, self.attention = text, CrossKV(decoder), attention

    def forward(self, input_ids, attention_mask, image_embeds):
        out = self.text(input_ids=input_ids, attention_mask=attention_mask, encoder_hidden_states=image_embeds,
                        output_attentions=self.attention, return_dict=True)
        maps = (*out.attentions, *out.cross_attentions) if self.attention else ()
        return out.last_hidden_state, *self.kv(out.last_hidden_state), *maps


class Decoder(nn.Module):
    """The same inputs and outputs as t5.Decoder.

    transformers 4.57 drops encoder_attention_mask on its way to BLIP's cross-attention, so a batch
    of questions attends to the padding of the shorter ones. Here the mask arrives: with all ones
    the graph equals transformers, and a batch equals its rows.
    """

    def __init__(self, decoder: nn.Module, attention: bool = False):
        super().__init__()
        self.decoder, self.attention = decoder, attention
        for layer in decoder.bert.encoder.layer:
            layer.crossattention.self.register_forward_pre_hook(_deliver_mask, with_kwargs=True)

    def forward(self, inputs_embeds, attention_mask, encoder_attention_mask, num_logits_to_keep, *past):
        cache = crossing_cache(past)
        length = inputs_embeds.shape[1]
        visible = (causal_mask(attention_mask, length)[:, 0] == 0).float()  # the model subtracts 10,000 where this is 0
        with heading_last(self.decoder.cls, num_logits_to_keep):
            out = self.decoder(inputs_embeds=inputs_embeds.clone(),  # the model adds positions in place
                               attention_mask=visible, position_ids=position_ids(attention_mask, length).clamp(min=0),
                               # only its presence is read: the cache has the keys and values
                               encoder_hidden_states=inputs_embeds, encoder_attention_mask=encoder_attention_mask,
                               past_key_values=cache, use_cache=True, is_decoder=True,
                               output_attentions=self.attention, return_dict=True)
        maps = (*out.attentions, *out.cross_attentions) if self.attention else ()
        return out.logits, *cache_tensors(cache.self_attention_cache), *maps


def _deliver_mask(_module, args, kwargs):
    return args, kwargs | {"encoder_attention_mask": kwargs["attention_mask"]}


def _dims(text) -> tuple[int, int, int]:
    return text.num_hidden_layers, text.num_attention_heads, text.hidden_size // text.num_attention_heads


def decoder_spec(decoder: nn.Module, attention: bool) -> GraphSpec:
    layers, heads, dim = _dims(decoder.config)
    return crossing_spec(Decoder(decoder, attention), width=decoder.config.hidden_size, vocab=decoder.config.vocab_size,
                         layers=layers, heads=heads, dim=dim, attention=attention, spread=0.1)


def text_spec(text: nn.Module, attention: bool, image_width: int = 0, decoder: nn.Module | None = None) -> GraphSpec:
    """image_width adds the image_embeds input; decoder makes it the question encoder of VQA."""
    config = text.config

    def make(s):
        inputs = {"input_ids": torch.randint(0, config.vocab_size, (s["batch"], s["length"])),
                  "attention_mask": right_padded(s["batch"], s["length"])}
        if image_width:
            inputs["image_embeds"] = torch.randn(s["batch"], s["tokens"], image_width)
        return inputs

    layers, heads, dim = _dims(config)
    axes = {"input_ids": ["batch", "length"], "attention_mask": ["batch", "length"],
            "image_embeds": ["batch", "tokens", image_width],
            "pooled_output": ["batch", config.hidden_size],
            "encoder_hidden_states": ["batch", "length", config.hidden_size]}
    maps = [f"self_attn.{i}" for i in range(layers)] if attention else []
    axes |= {m: ["batch", heads, "length", "length"] for m in maps}
    if image_width and attention:
        cross = [f"cross_attn.{i}" for i in range(layers)]
        axes |= {m: ["batch", heads, "length", "tokens"] for m in cross}
        maps += cross
    outputs = ["pooled_output"]
    module = TextEncoder(text, attention)
    if decoder is not None:
        kv = cache_names("present", layers, ".encoder")
        axes |= {n: ["batch", heads, "length", dim] for n in kv}
        outputs, module = ["encoder_hidden_states", *kv], QuestionEncoder(text, decoder, attention)
    return GraphSpec(module, make, [*outputs, *maps], axes, {"batch": 2, "length": 5, "tokens": 7},
                     [{"batch": 1, "length": 3, "tokens": 10}, {"batch": 3, "length": 9, "tokens": 4}])


def cross_kv_spec(decoder: nn.Module, width: int) -> GraphSpec:
    layers, heads, dim = _dims(decoder.config)
    kv = cache_names("present", layers, ".encoder")
    axes = {"image_embeds": ["batch", "tokens", width]} | {n: ["batch", heads, "tokens", dim] for n in kv}
    return GraphSpec(CrossKV(decoder),
                     lambda s: {"image_embeds": torch.randn(s["batch"], s["tokens"], width)}, kv,
                     axes,
                     {"batch": 2, "tokens": 5},
                     [{"batch": 1, "tokens": 17}, {"batch": 3, "tokens": 9}])


def vision_attention(vision: nn.Module, attention: bool) -> list[nn.Module]:
    return [layer.self_attn for layer in vision.encoder.layers] if attention else []


def export(model: nn.Module, bundle: Bundle, attention: bool) -> None:
    """BlipForConditionalGeneration, BlipForQuestionAnswering or BlipForImageTextRetrieval."""
    config, kind = model.config, type(model).__name__
    width = config.vision_config.hidden_size
    bundle.add_graph("vision_encoder", vision_spec(model.vision_model,
                                                   config.vision_config.image_size,
                                                   vision_attention(model.vision_model, attention)))
    release(model, "vision_model")

    if kind == "BlipForImageTextRetrieval":
        bundle.meta["tasks"] = ["match"]
        bundle.add_graph("matcher", text_spec(model.text_encoder, attention, width))
        bundle.add_graph("text_encoder", text_spec(model.text_encoder, attention))
        for name in ("itm_head", "vision_proj", "text_proj"):
            bundle.add_linear(name, getattr(model, name))
        return

    text = config.text_config
    bundle.meta["decoder_start_token_id"] = text.bos_token_id
    # generate is asked of the decoder, which has keys of text_config and none of the checkpoint's file
    add_generation_config(bundle, model.text_decoder.generation_config, bos_token_id=text.bos_token_id,
                          eos_token_id=text.sep_token_id, pad_token_id=text.pad_token_id)
    if kind == "BlipForQuestionAnswering":
        bundle.meta |= {"tasks": ["answer"], "prompts": {"answer": "{}"},
                        "limits": {"max_positions": text.max_position_embeddings}}
        bundle.add_graph("question_encoder", text_spec(model.text_encoder, attention, width, model.text_decoder))
        release(model, "text_encoder")
    else:
        bundle.meta |= {"tasks": ["caption"], "prompts": {"caption": ""},
                        "limits": {"max_positions": text.max_position_embeddings}}
        bundle.add_graph("cross_kv", cross_kv_spec(model.text_decoder, width))
    bundle.add_graph("embed_tokens", embed_spec(model.text_decoder.get_input_embeddings(), text.vocab_size))
    bundle.add_graph("decoder", decoder_spec(model.text_decoder, attention))
