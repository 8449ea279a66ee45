"""python testdata/speech/long.py NAME FOLDER TRANSCRIPTS.jsonl ...: how many transcripts of sounds of any length, made
by xpipe transcribe --json at temperature 0, are openai-whisper 20250625's: segments, their times and ids.

NAME is the model's (tiny.en, base), FOLDER has its weights as CTranslate2 stores them: what
tools/export/whisper/packages.py leaves in build/whisper/NAME. Sounds are WAV of 16 kHz and 16 bits. Where a transcript
differs, the first segment that does is printed, and by how much openai-whisper preferred the id at which it does to the
next best, in logits behind its rules. Wants what requirements.txt lists."""

import json
import sys
import wave
from pathlib import Path

import numpy as np
import torch
import whisper
from whisper.decoding import GreedyDecoder

import tiny


class Watched(GreedyDecoder):
    """Notes of each id that it chooses by how much."""

    gaps = []

    def update(self, tokens, logits, sums):
        best, ids = logits.topk(2)
        self.gaps.append((int(ids[0, 0]), round(float(best[0, 0] - best[0, 1]), 5), int(ids[0, 1])))
        return super().update(tokens, logits, sums)


def heard(model, row):
    """The segments [start, end, ids, words] of a transcript's sound, and the choices made for them."""
    asked, Watched.gaps = row["settings"], []
    with wave.open(row["audio"]) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2), row["audio"]
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
    made = model.transcribe(
        samples, fp16=False, temperature=0, language=row["language"], task=asked.get("task", "transcribe"),
        condition_on_previous_text=not asked.get("no_condition", False), initial_prompt=asked.get("prompt"),
        without_timestamps=asked.get("without_timestamps", False),
        word_timestamps=any(s.get("words") for s in row["segments"]),
        compression_ratio_threshold=None, logprob_threshold=None, no_speech_threshold=None)
    return [piece(s, "word") for s in made["segments"] if s["text"].strip()], Watched.gaps


def piece(segment, word):
    """A segment and its words, whose text is called word, with times as far as both tell them."""
    times = lambda s: [round(float(s["start"]), 2), round(float(s["end"]), 2)]
    words = [[w[word].strip(), *times(w)] for w in segment.get("words") or []]
    return [*times(segment), segment["text"].strip(), words]


def main():
    name, folder = sys.argv[1], Path(sys.argv[2])
    whisper.decoding.GreedyDecoder = Watched
    model = tiny.load(folder, name)
    for file in sys.argv[3:]:
        equal = rows = ids = 0
        for row in map(json.loads, open(file)):
            with torch.no_grad():
                want, gaps = heard(model, row)
            got = [piece(s, "text") for s in row["segments"]]
            rows, ids, equal = rows + 1, ids + len(row["ids"]), equal + (want == got)
            print(f"{row['audio']}: {len(want)} segments, {len(gaps)} choices, the closest by "
                  f"{sorted(g for _, g, _ in gaps)[:3]}", flush=True)
            if want != got:
                at = next((i for i, (a, b) in enumerate(zip(want, got)) if a != b), min(len(want), len(got)))
                print(f"  segment {at}:\n   {want[at:at + 2]}\n   {got[at:at + 2]}")
                print("  close choices:", [(i, *g) for i, g in enumerate(gaps) if g[1] < 0.01])
        print(f"{file}: {equal} of {rows} equal, {ids} ids", flush=True)


if __name__ == "__main__":
    main()
