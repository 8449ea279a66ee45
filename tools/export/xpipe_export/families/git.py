"""GIT (Wang et al., 2205.14100): rows of one picture, then a text that sees them and itself causally."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from .. import endtoend
from ..bundle import Bundle
from ..graph import ExportError
from . import causal, image_tokens
from .common import add_generation_config, release


class Features(nn.Module):
    """pixel_values [N,3,S,S] -> image_features [N,L,D]"""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.vision, self.project = model.git.image_encoder, model.git.visual_projection

    def forward(self, pixel_values):
        return self.project(self.vision(pixel_values).last_hidden_state)


class Decoder(nn.Module):
    """The inputs and outputs of image_tokens.TextDecoder. The first L positions are the picture's rows,
    which see each other; those of text have places from 0 behind them.

    transformers encodes the picture again at every step and caches the text alone; here all is cached.
    """

    def __init__(self, model: nn.Module, attention: bool = False):
        super().__init__()
        git = model.git
        self.embeddings, self.encoder, self.head = git.embeddings, git.encoder, model.output
        self.rows, self.attention = git.encoder.layer[0].attention.self.image_patch_tokens, attention

    def forward(self, inputs_embeds, attention_mask, num_logits_to_keep, *past):
        length = inputs_embeds.shape[1]
        counted = causal.position_ids(attention_mask, attention_mask.shape[1])
        own = causal.position_ids(attention_mask, length)
        at = self.embeddings.position_embeddings((own - self.rows).clamp(min=0))
        text = self.embeddings.LayerNorm(inputs_embeds + at)
        states = torch.where((own >= self.rows)[:, :, None], text, inputs_embeds)
        also = ((own < self.rows)[:, :, None] & (counted < self.rows)[:, None])[:, None]
        cache = causal.past_cache(past)
        out = self.encoder(states, attention_mask=causal.causal_mask(attention_mask, length, None, also),
                           past_key_values=cache, use_cache=True, output_attentions=self.attention)
        logits = self.head(causal.last_positions(out.last_hidden_state, num_logits_to_keep))
        return logits, *causal.cache_tensors(cache), *(out.attentions if self.attention else ())


def export(model: nn.Module, bundle: Bundle, attention: bool) -> None:
    """GitForCausalLM."""
    config = model.config
    if config.num_image_with_embedding is not None:
        raise ExportError(f"a GIT that sees {config.num_image_with_embedding} frames of a film: those of "
                          "one picture alone are supported")
    if config.position_embedding_type != "absolute":
        raise ExportError(f"a GIT with {config.position_embedding_type!r} positions; known is 'absolute'")
    decoder = Decoder(model, attention)
    bundle.meta |= {"tasks": ["caption", "answer"], "prompts": {"caption": "", "answer": "{}"},
                    "limits": {"max_positions": decoder.rows + config.max_position_embeddings}}
    add_generation_config(bundle, model.generation_config)
    want = _reference(model, decoder.rows)
    bundle.verify = lambda folder: endtoend.check(folder, want, bundle.dtype)
    bundle.add_graph("vision_encoder", image_tokens.whole_pictures(Features(model), config))
    release(model.git, "image_encoder", "visual_projection")
    embedding = model.get_input_embeddings()
    bundle.add_graph("embed_tokens", causal.embed_spec(embedding, config.vocab_size))
    bundle.add_graph("decoder", image_tokens.decoder_spec(decoder, config, config.vocab_size, attention))
    image_tokens.share_table(bundle, embedding, model.output)


def _reference(model: nn.Module, rows: int) -> endtoend.Reference:
    """What the model's own generate writes behind a few words about random pixels."""
    torch.manual_seed(0)
    side = model.config.vision_config.image_size
    pixels, ids = torch.randn(1, 3, side, side), [model.config.bos_token_id, 5, 6, 7]
    with torch.no_grad():
        out = model.generate(pixel_values=pixels, input_ids=torch.tensor([ids]), do_sample=False, num_beams=1,
                             repetition_penalty=1.0, attention_mask=torch.ones(1, len(ids), dtype=torch.int64), output_logits=True,
                             max_new_tokens=endtoend.STEPS, min_new_tokens=2, return_dict_in_generate=True)
    logits = torch.stack(out.logits, 1).float().numpy()
    row = {"input_ids": [-1] * rows + ids, "pixels": [[0, 1]]}
    return endtoend.written(row, pixels.numpy(), np.asarray(out.sequences[:, -logits.shape[1]:]), logits)
