"""Golden files of CLAP: sounds shorter, as long and longer than a clip, with texts."""

from __future__ import annotations

import wave
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import transformers as tf

from . import core, tokens
from .core import Golden

RATE, HOP, MELS = 8000, 256, 64  # the extractor shrinks to 64 mels, whatever feature_size says
SECONDS = (0.3, 1.0, 2.7)  # of clips of one
TEXTS = ["the sound of a dog", "Rain on the roof, and WIND!", "a red train", "caf\u00e9", "a"]


def sounds() -> list[np.ndarray]:
    """Tones that rise and fall, in noise: what a WAV of 16 bits holds."""
    rng, made = np.random.default_rng(3), []
    for i, seconds in enumerate(SECONDS):
        t = np.arange(int(seconds * RATE)) / RATE
        tone = np.sin(2 * np.pi * ((300 + 350 * i) * t + 60 * np.sin(5 * t))) * (0.6 + 0.4 * np.sin(9 * t + i))
        made.append(np.round((0.4 * tone + 0.05 * rng.normal(size=len(t))) * 32767).clip(-32768, 32767) / 32768)
    return [s.astype(np.float32) for s in made]


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.round(samples * 32768).astype("<i2").tobytes())


def read_wav(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


def write_sounds(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, samples in enumerate(sounds()):
        write_wav(folder / f"sound{i}.wav", samples)


def heard(extractor, samples: np.ndarray):
    """The features of one sound, with the middle in place of each random choice, as in Go."""
    with (mock.patch("numpy.random.choice", lambda places: places[len(places) // 2]),
          mock.patch("numpy.random.randint", lambda low, high: (low + high - 1) // 2)):
        return extractor(samples, sampling_rate=extractor.sampling_rate, return_tensors="pt")


def tiny(fused: bool, padding: str, seed: int, checkpoint: Path):
    """The seeded model, saved and loaded again, with its tokenizer and feature extractor."""
    tokenizer = tokens.roberta()
    text = {"vocab_size": len(tokenizer), "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2,
            "max_position_embeddings": 66, "projection_dim": 20}
    audio = {"num_mel_bins": MELS, "spec_size": 128, "patch_size": 8, "patch_stride": [8, 8], "window_size": 4, "hidden_size": 32,
             "patch_embeds_hidden_size": 16, "depths": [2, 2], "num_attention_heads": [2, 4], "projection_dim": 20,
             "enable_fusion": fused, "num_classes": 4}
    model = tf.ClapModel(tf.ClapConfig(text_config=text, audio_config=audio, projection_dim=20))
    core.randomise(model, seed, gain=1.3)
    g = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=g) * 0.2)
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=g) + 0.5)
    norm = model.audio_model.audio_encoder.batch_norm  # of decibels
    norm.running_mean.mul_(20).sub_(25)
    norm.running_var.mul_(300)
    model.logit_scale_a.data.fill_(2.0)
    model.logit_scale_t.data.fill_(1.5)
    core.save_rounded(model, checkpoint)
    tokenizer.save_pretrained(checkpoint)
    extractor = tf.ClapFeatureExtractor(feature_size=MELS, sampling_rate=RATE, hop_length=HOP, max_length_s=1, fft_window_size=512,
                                        frequency_min=50, frequency_max=3800, truncation="fusion" if fused else "rand_trunc",
                                        padding=padding)
    extractor.save_pretrained(checkpoint)
    return tf.ClapModel.from_pretrained(checkpoint, attn_implementation="eager").eval(), tokenizer, extractor


def clap(fused: bool):
    """With fusion of longer sounds, or without."""

    def make(seed: int, checkpoint: Path, golden: Golden, _images: list[Path]) -> None:
        model, tokenizer, extractor = tiny(fused, "repeatpad" if fused else "repeat", seed, checkpoint)
        read = tokenizer(TEXTS, padding=True, return_tensors="pt")
        made = [heard(extractor, s) for s in sounds()]
        features, longer = (torch.cat([m[n] for m in made]) for n in ("input_features", "is_longer"))
        with torch.no_grad():
            out = model(input_ids=read.input_ids, attention_mask=read.attention_mask, input_features=features.float(), is_longer=longer)
            alone = [model(input_ids=read.input_ids, attention_mask=read.attention_mask, input_features=m["input_features"].float(),
                           is_longer=m["is_longer"]).logits_per_audio for m in made]
        logits = out.logits_per_audio
        if float(logits.std()) < 0.3 or float((out.audio_embeds[0] - out.audio_embeds[1]).abs().max()) < 0.02:
            raise core.Unsuitable(f"all pairs alike: {logits}")
        if float((torch.cat(alone) - logits).abs().max()) > 2e-5:
            raise RuntimeError("transformers' batch differs from its single rows")
        golden.array("input_features", features.float())
        golden.array("audio_embeds", out.audio_embeds)
        golden.array("text_embeds", out.text_embeds)
        golden.array("logits_per_audio", logits)
        golden.array("probabilities", logits.softmax(-1))
        write_sounds(golden.folder)
        golden.data["rows"] = [{"audio": f"sound{i}.wav", "is_longer": bool(m["is_longer"])} for i, m in enumerate(made)]
        golden.data["texts"] = [{"text": t, "input_ids": tokenizer(t).input_ids} for t in TEXTS]

    return make
