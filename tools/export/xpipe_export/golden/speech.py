"""python -m xpipe_export.golden.speech SOUND [--out DIR] [--only NAME ...]: tiny Whispers with the
features, the languages and the order of tokens of real ones, and the ids that transformers writes.

english-80 is laid out as tiny.en (80 mels), languages-128 as large-v3 (128 mels, 100 languages); both
hear windows of 2 s. SOUND is testdata/speech/jfk.flac, which soundfile 0.14.0 reads.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
import transformers as tf
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from ..cli import export_checkpoint
from . import core
from .whisper_family import randomise, tokenizer_of

SECONDS, RATE, POSITIONS, NEW = 2, 16000, 64, 12
TIMES = SECONDS * 50 + 1
CLIPS = [4800, 51200, 128000]
"""First samples of clips as long as a window."""
PROMPT = "a photo of a red boat"
MODELS = {
    # name: (mels, languages, first seed)
    "english-80": (80, [], 24),
    "languages-128": (128, list(LANGUAGES), 3),
}


def tiny(mels: int, languages: list[str]):
    tokenizer = tokenizer_of(languages)
    token = lambda word: tokenizer.convert_tokens_to_ids(f"<|{word}|>")
    end, none = token("endoftext"), token("notimestamps")
    config = tf.WhisperConfig(
        vocab_size=none + 1 + TIMES, num_mel_bins=mels, encoder_layers=1, encoder_attention_heads=2, decoder_layers=1,
        decoder_attention_heads=2, d_model=16, encoder_ffn_dim=32, decoder_ffn_dim=32,
        max_source_positions=SECONDS * 50, max_target_positions=POSITIONS,
        decoder_start_token_id=token("startoftranscript"), pad_token_id=end, bos_token_id=end, eos_token_id=end,
        suppress_tokens=None, begin_suppress_tokens=None)
    generation = tf.GenerationConfig(
        decoder_start_token_id=token("startoftranscript"), pad_token_id=end, bos_token_id=end, eos_token_id=end,
        max_length=POSITIONS, is_multilingual=bool(languages), no_timestamps_token_id=none,
        prev_sot_token_id=token("startofprev"), max_initial_timestamp_index=50, return_timestamps=False,
        forced_decoder_ids=[[1, None], [2, token("transcribe")]] if languages else [[1, none]])
    if languages:
        generation.lang_to_id = {f"<|{l}|>": token(l) for l in languages}
        generation.task_to_id = {t: token(t) for t in ("translate", "transcribe")}
    return tf.WhisperForConditionalGeneration(config), generation, tokenizer


def shape(table: torch.Tensor, generation: tf.GenerationConfig) -> None:
    """Let texts end as often as not, and times be written where they may and not where they may not: each
    is unlikely then, but not all together."""
    end, first = generation.eos_token_id, generation.no_timestamps_token_id + 1
    with torch.no_grad():
        table[end] *= 1.6
        table[end + 1:first] *= 0.5
        table[first:] *= 0.3


class Reference:
    """A model's texts about a sound, by transformers' own generate."""

    def __init__(self, model, tokenizer, extractor, sound: np.ndarray):
        self.model, self.tokenizer, self.extractor, self.sound = model, tokenizer, extractor, sound
        self.noise = None

    def features(self, clip: int | None) -> dict:
        if clip is None:
            made = self.extractor(self.sound, sampling_rate=RATE, return_tensors="pt", truncation=False,
                                  padding="longest", return_attention_mask=True)
        else:
            part = self.sound[CLIPS[clip]:CLIPS[clip] + SECONDS * RATE]
            made = self.extractor(part, sampling_rate=RATE, return_tensors="pt")
        if self.noise is not None:
            made["input_features"] += 2e-4 * torch.randn(made["input_features"].shape, generator=self.noise)
        return dict(made)

    def write(self, clip: int | None, *, times=False, prompt=False, conditioned=False, beams=1, **given) -> list[int]:
        if prompt:
            given["prompt_ids"] = torch.tensor(self.tokenizer.get_prompt_ids(PROMPT))
        if conditioned:
            given["condition_on_prev_tokens"] = True
        with torch.no_grad():
            made = self.model.generate(
                **self.features(clip), generation_config=copy.deepcopy(self.model.generation_config), num_beams=beams,
                return_timestamps=times, return_segments=times, max_new_tokens=NEW, **given)
        if not times:
            ids = [i for i in made[0].tolist() if i != self.end]
            if len(ids) < 2 or any(i > self.end for i in ids):
                raise core.Unsuitable(f"no text: {ids}")
            return ids
        ids, segments = [], made["segments"][0]
        if clip is not None:  # what follows of a clip is heard with zeros behind it, and by xpipe with silence
            segments = [s for s in segments if s["result"] is segments[0]["result"]]
        for segment in segments:
            piece = segment["tokens"].tolist()
            if len(piece) > 2 and min(piece[-2:]) > self.end:
                piece.pop()  # the beginning of a piece that is heard again
            text = [i for i in piece if i < self.end]
            if float(segment["start"]) == float(segment["end"]) or not self.tokenizer.decode(text).strip():
                raise core.Unsuitable("a piece of nothing, which openai-whisper leaves out")
            ids += piece
        return ids

    @property
    def end(self) -> int:
        return self.model.generation_config.eos_token_id


def cases(languages: list[str]) -> list[dict]:
    """What is asked for, in the words of Reference.write."""
    rows = []
    for clip in range(len(CLIPS)):
        say = {"language": ["fr", "yue", "en"][clip], "task": "transcribe"} if languages else {}
        ways = [say, say | {"prompt": True}, say | {"beams": 5}]
        if languages:
            ways += [{"task": "transcribe"}, say | {"task": "translate"}]
        rows += [{"clip": clip} | way | times for way in ways for times in ({}, {"times": True})]
    say = {"language": "de", "task": "transcribe"} if languages else {}
    return rows + [{"clip": None, "times": True} | say | more for more in (
        {}, {"conditioned": True}, {"conditioned": True, "prompt": True}, {"beams": 5})]


def lists(reference: Reference) -> dict:
    """Lists that matter: of ids that the texts have without them."""
    free = [reference.write(clip) for clip in range(len(CLIPS))]
    found = [i for ids in free for i in ids[1:]]
    often = sorted(set(found), key=lambda i: (-found.count(i), i))
    token = reference.tokenizer.convert_tokens_to_ids
    marks = ("startoftranscript", "translate", "transcribe", "startoflm", "startofprev", "nospeech")
    return {"suppress_tokens": sorted(often[:2] + [token(f"<|{w}|>") for w in marks]),
            "begin_suppress_tokens": sorted({free[0][0], token("Ġ"), reference.end})}


def build(name: str, out: Path, sound: np.ndarray) -> None:
    mels, languages, first = MODELS[name]

    def attempt(seed: int) -> None:
        shutil.rmtree(out / name, ignore_errors=True)
        with tempfile.TemporaryDirectory() as tmp:
            checkpoint, bundle = Path(tmp) / "checkpoint", Path(tmp) / "bundle"
            model, generation, tokenizer = tiny(mels, languages)
            randomise(model, seed)
            shape(model.model.decoder.embed_tokens.weight, generation)
            extractor = tf.WhisperFeatureExtractor(feature_size=mels, chunk_length=SECONDS)
            model.generation_config = generation
            core.save_rounded(model, checkpoint)
            model = type(model).from_pretrained(checkpoint).eval()
            reference = Reference(model, tokenizer, extractor, sound)
            chosen = lists(reference)
            free = [{"clip": clip, "ids": reference.write(clip)} for clip in range(len(CLIPS))]
            for key, ids in chosen.items():
                setattr(model.generation_config, key, ids)
            rows = [row | {"ids": reference.write(**row)} for row in cases(languages)]
            if any(reference.write(f["clip"]) == f["ids"] for f in free):
                raise core.Unsuitable("the lists change nothing")
            if len({tuple(r["ids"]) for r in rows}) < 0.7 * len(rows) or min(len(r["ids"]) for r in rows) < 4:
                raise core.Unsuitable("texts alike, or short")
            if all(len(r["ids"]) == NEW for r in rows if r["clip"] is not None):
                raise core.Unsuitable("no text ends")
            for noise in range(3):
                reference.noise = torch.Generator().manual_seed(noise)
                for row in rows:
                    if reference.write(**{k: v for k, v in row.items() if k != "ids"}) != row["ids"]:
                        raise core.Unsuitable(f"a near tie: {row}")
            model.save_pretrained(checkpoint)
            tokenizer.save_pretrained(checkpoint)
            extractor.save_pretrained(checkpoint)
            export_checkpoint(str(checkpoint), str(bundle), name=f"tiny-{name}", dtype="fp16", progress=False)
            shutil.move(bundle, out / name)
            about = {"script": f"python -m xpipe_export.golden.speech jfk.flac --only {name}", "seed": seed,
                     "versions": core.versions(), "clips": CLIPS, "samples": SECONDS * RATE, "prompt": PROMPT,
                     "max_new_tokens": NEW}
            (out / name / "golden.json").write_text(json.dumps(about | {"free": free, "rows": rows}) + "\n")

    seed = core.search(attempt, first)
    print(name, "seed", seed, sum(f.stat().st_size for f in (out / name).rglob("*") if f.is_file()), "bytes")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m xpipe_export.golden.speech")
    parser.add_argument("sound", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[4] / "testdata" / "speech")
    parser.add_argument("--only", nargs="*", choices=list(MODELS), default=list(MODELS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    tf.utils.logging.set_verbosity_error()
    sound, _ = soundfile.read(args.sound, dtype="float32")
    for name in args.only:
        build(name, args.out, sound)


if __name__ == "__main__":
    main()
