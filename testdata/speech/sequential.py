"""Make sequential.json: the windows that openai-whisper's transcribe hears, and the segments it makes, where
each window's text is drawn here instead of decoded.

    python sequential.py
"""

import json
import pathlib
import types

import numpy as np
import torch
import whisper
from whisper.decoding import DecodingResult
from whisper.tokenizer import get_tokenizer

RANDOM = np.random.default_rng(11)
TOKENIZER = get_tokenizer(False)
WORDS = TOKENIZER.encode(" the cat sat on a mat and then it slept all day")
BLANK = TOKENIZER.encode(" ")[0]
FIRST = TOKENIZER.timestamp_begin
LONGEST = 448 // 2 - 1


def words():
    return [int(w) for w in RANDOM.choice(WORDS, RANDOM.integers(1, 12))]


def text(times):
    """A window's tokens: pieces between times, some without text, some without an end."""
    kind = RANDOM.integers(0, 8)
    if not times or kind == 0:
        return words()
    if kind == 1:
        return [FIRST + int(RANDOM.integers(0, 50))] + words()
    if kind == 2:
        return [FIRST, BLANK, FIRST + int(RANDOM.integers(0, 200))]
    tokens, at = [], int(RANDOM.integers(0, 50))
    for _ in range(RANDOM.integers(1, 5)):
        tokens += [FIRST + at] + words()
        at = min(1500, at + int(RANDOM.integers(0, 400)))
        tokens.append(FIRST + at)
    if kind < 5:
        tokens += [FIRST + at] + words()  # goes on in the next window
    return tokens


class Model:
    """Gives results that are drawn, and notes what it was asked for."""

    device = torch.device("cpu")
    is_multilingual = False
    num_languages = 99
    dims = types.SimpleNamespace(n_mels=80, n_audio_ctx=1500, n_text_ctx=448)

    def __init__(self, times):
        self.times, self.calls = times, []

    def decode(self, segment, options):
        result = DecodingResult(
            audio_features=None, language="en", tokens=text(self.times), temperature=options.temperature,
            avg_logprob=round(float(RANDOM.uniform(-1.6, 0)), 3), no_speech_prob=round(float(RANDOM.uniform(0, 1)), 3),
            compression_ratio=round(float(RANDOM.uniform(0.8, 3)), 3))
        self.calls.append({
            "prompt": list(options.prompt or [])[-LONGEST:], "temperature": options.temperature, "ids": result.tokens,
            "logProb": result.avg_logprob, "noSpeech": result.no_speech_prob, "repeats": result.compression_ratio})
        return result


def case(seconds, prompt="", temperatures=(0, 0.2, 0.4, 0.6, 0.8, 1), condition=True, times=True, **thresholds):
    model = Model(times)
    audio = np.zeros(int(seconds * 16000), np.float32)
    result = whisper.transcribe(
        model, audio, temperature=temperatures, initial_prompt=prompt or None, condition_on_previous_text=condition,
        without_timestamps=not times, **thresholds)
    segments = [
        {"start": s["start"], "end": s["end"], "ids": s["tokens"], "text": s["text"].strip(), "temperature": s["temperature"]}
        for s in result["segments"] if s["tokens"]]
    return {
        "seconds": seconds, "prompt": TOKENIZER.encode(" " + prompt) if prompt else [], "temperatures": list(temperatures),
        "forgetful": not condition, "withoutTimes": not times, "thresholds": thresholds, "calls": model.calls,
        "segments": segments, "text": result["text"].strip()}


def main():
    cases = [
        case(95.3), case(61), case(240.2), case(31.004), case(180, prompt="a cat on a mat"), case(120, condition=False),
        case(100, times=False), case(90, temperatures=(0,)), case(90, temperatures=(0.4, 0.9)),
        case(75, no_speech_threshold=None), case(75, logprob_threshold=None), case(75, compression_ratio_threshold=None),
    ]
    vocabulary = {t: TOKENIZER.decode([t]) for t in [*WORDS, BLANK]}
    golden = {"eot": TOKENIZER.eot, "first": FIRST, "vocabulary": vocabulary, "cases": cases}
    file = pathlib.Path(__file__).with_name("sequential.json")
    file.write_text(json.dumps(golden, separators=(",", ":")).replace('{"seconds"', '\n{"seconds"') + "\n")


if __name__ == "__main__":
    main()
