"""CLAP: two graphs up to the embeddings, of sounds and of texts; norms and the scale are applied in Go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import ClapFeatureExtractor

from .. import checkpoint, replay_families, scores
from ..bundle import Bundle
from ..graph import ExportError, GraphSpec
from ..replay import Replay
from .bridgetower import most_text
from .causal import padded_mask
from .common import Front, release

TEXTS = ("the sound of a dog", "rain")


class Fused(nn.Module):
    """ClapAudioPatchEmbed of a model with fusion. It fuses all rows, and takes those that is_longer names:
    transformers picks rows by their numbers, of which there would be any number in a graph."""

    def __init__(self, embed: nn.Module):
        super().__init__()
        self.embed, self.is_longer = embed, None

    def forward(self, mels, _numbers):
        whole, crops = self.embed.proj(mels[:, :1]), mels[:, 1:]
        parts = self.embed.mel_conv2d(crops.reshape(-1, 1, *crops.shape[2:]))
        parts = parts.reshape(crops.shape[0], crops.shape[1], *parts.shape[1:]).permute(0, 2, 3, 1, 4).flatten(3)
        parts = functional.pad(parts, (0, whole.shape[-1] - parts.shape[-1]))
        seen = torch.where(self.is_longer.reshape(-1, 1, 1, 1), self.embed.fusion_model(whole, parts), whole)
        return self.embed.norm(seen.flatten(2).transpose(1, 2) if self.embed.flatten else seen)


class Audio(nn.Module):
    """input_features [B,clips,frames,mels] and, with fusion, is_longer [B,1] bool -> audio_embeds [B,E]"""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.audio, self.projection = model.audio_model, model.audio_projection
        encoder = self.audio.audio_encoder
        self.fused = Fused(encoder.patch_embed) if encoder.enable_fusion else None
        if self.fused:
            encoder.patch_embed = self.fused

    def forward(self, input_features, is_longer=None):
        if self.fused:
            self.fused.is_longer = is_longer
        return self.projection(self.audio(input_features=input_features, is_longer=is_longer).pooler_output)


class Text(nn.Module):
    """input_ids, attention_mask [B,T] -> text_embeds [B,E]"""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.text, self.projection = model.text_model, model.text_projection

    def forward(self, input_ids, attention_mask):
        return self.projection(self.text(input_ids=input_ids, attention_mask=attention_mask).pooler_output)


def _sizes(config, extractor) -> tuple[int, int]:
    """The clips and frames of a sound. Raises ExportError where the extractor makes others than the model
    takes."""
    audio = config.audio_config
    fused, mels = extractor.truncation == "fusion", extractor.feature_size
    frames = extractor.nb_max_samples // extractor.hop_length + 1
    most = audio.spec_size * (audio.spec_size // audio.num_mel_bins)
    if fused != audio.enable_fusion or mels != audio.num_mel_bins or frames > most:
        raise ExportError(f"the feature extractor makes {frames} frames of {mels} mels {'with' if fused else 'without'} "
                          f"fusion, and the model takes up to {most} of {audio.num_mel_bins} "
                          f"{'with' if audio.enable_fusion else 'without'}")
    return 4 if fused else 1, frames


def export(model: nn.Module, bundle: Bundle, _attention: bool) -> None:
    """ClapModel."""
    config = model.config
    extractor = ClapFeatureExtractor(**checkpoint.feature_extractor(bundle.dir))
    clips, frames = _sizes(config, extractor)
    bundle.meta |= {"tasks": ["classify", "match", "embed"], "scores": "softmax", "text_padding": "masked",
                    "limits": {"max_text": most_text(config)}, "prompts": {"classify": "This is a sound of {}."}}
    bundle.add_projection({"logit_scale": model.logit_scale_a.reshape(1)})
    mels, width = config.audio_config.num_mel_bins, config.projection_dim
    audio = Audio(model)

    def hear(s):
        # decibels, in the range of sounds; rows that are longer and rows that are not
        inputs = {"input_features": torch.randn(s["batch"], clips, frames, mels) * 20 - 30}
        if audio.fused:
            inputs["is_longer"] = (torch.arange(s["batch"]) % 2 == s["first"]).reshape(-1, 1)
        return inputs

    axes = {"input_features": ["batch", clips, frames, mels], "is_longer": ["batch", 1], "audio_embeds": ["batch", width]}
    if not audio.fused:
        del axes["is_longer"]
    bundle.add_graph("audio_encoder", GraphSpec(audio, hear, ["audio_embeds"], axes, {"batch": 2, "first": 0},
                                                [{"batch": 1, "first": 0}, {"batch": 1, "first": 1}, {"batch": 3, "first": 1}]))
    release(model, "audio_model")
    text = config.text_config

    def read(s):
        mask = padded_mask(s["batch"], 0, s["length"]).flip(1)  # behind
        ids = torch.randint(text.pad_token_id + 1, text.vocab_size, mask.shape)
        return {"input_ids": torch.where(mask == 1, ids, text.pad_token_id), "attention_mask": mask}

    bundle.add_graph("text_encoder", GraphSpec(
        Text(model), read, ["text_embeds"],
        {"input_ids": ["batch", "length"], "attention_mask": ["batch", "length"], "text_embeds": ["batch", width]},
        {"batch": 2, "length": 5}, [{"batch": 1, "length": 7}, {"batch": 3, "length": min(most_text(config), 16)}]))


def end_to_end(model: nn.Module, front: Front):
    """The model's own logits of two sounds, one of them longer than a clip, with two texts."""
    rng, clip = np.random.default_rng(0), front.sounds.nb_max_samples
    np.random.seed(0)  # the extractor crops at random
    noise = [rng.normal(0, 0.1, n).astype(np.float32) for n in (clip * 3 // 2, clip * 2 // 5)]
    heard = front.sounds(noise, sampling_rate=front.sounds.sampling_rate, return_tensors="pt")
    read = front.tokenizer(list(TEXTS), padding=True, return_tensors="pt")
    read = {n: read[n] for n in ("input_ids", "attention_mask")}
    given = {"input_features": heard["input_features"].float(), "is_longer": heard["is_longer"]}
    with torch.no_grad():
        want = model(**given, **read).logits_per_audio.numpy()

    def check(folder: Path, dtype: str) -> dict:
        got = scores.clap(Replay(folder), {n: v.numpy() for n, v in given.items()}, {n: v.numpy() for n, v in read.items()})
        return replay_families.verdict(got["logits_per_audio"], want, dtype)

    return check
