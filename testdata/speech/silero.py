"""Make silero.json: what silero-vad 6.2.3 finds in jfk.flac, in two of it with a pause between, and what its rules make
of given probabilities; `make golden-speech` runs it with the versions of requirements.txt.

python silero.py"""

import json
import pathlib
from importlib.metadata import version

import numpy as np
import soundfile
import torch
from silero_vad import load_silero_vad
from silero_vad.utils_vad import get_speech_timestamps, get_speech_timestamps_from_probs

HERE = pathlib.Path(__file__).parent
WINDOW = 512
LONGEST = 30  # seconds of a span


def spans(found):
    return [[s["start"], s["end"]] for s in found]


def main():
    model = load_silero_vad(onnx=True)
    jfk, rate = soundfile.read(HERE / "jfk.flac", dtype="float32")
    assert rate == 16000
    cases = []

    def heard(name, sound, **parts):
        probabilities = []
        model.reset_states()
        for at in range(0, len(sound), WINDOW):
            chunk = torch.from_numpy(np.pad(sound[at : at + WINDOW], (0, max(0, at + WINDOW - len(sound)))))
            probabilities.append(model(chunk, rate).item())
        found = get_speech_timestamps(torch.from_numpy(sound), model, max_speech_duration_s=LONGEST)
        cases.append({"name": name, "samples": len(sound), "probabilities": [round(p, 6) for p in probabilities],
                      "spans": spans(found), **parts})

    def given(name, probabilities, lacking=0):
        samples = len(probabilities) * WINDOW - lacking
        probabilities = [round(float(p), 2) for p in probabilities]
        found = get_speech_timestamps_from_probs(probabilities, max_speech_duration_s=LONGEST, audio_length_samples=samples)
        cases.append({"name": name, "samples": samples, "probabilities": probabilities, "spans": spans(found)})

    heard("jfk", jfk)
    pause = np.zeros(30000, np.float32)
    heard("joined", np.concatenate([jfk, pause, jfk[:-1000]]), pause=len(pause), less=1000)

    draw = np.random.default_rng(1)
    given("speech without end", np.full(2500, 0.9), 100)
    gaps = np.full(2500, 0.9)
    gaps[300:304] = gaps[500:503] = gaps[1500:1502] = 0.4
    given("pauses that are none", gaps)
    gaps[300:304] = gaps[500:503] = gaps[1500:1502] = 0.1
    given("short pauses", np.where(np.arange(2500) % 303 < 3, 0.1, gaps))
    given("clicks", np.where(np.arange(300) % 20 < 5, 0.9, 0.1), 3)
    walk = np.clip(np.cumsum(draw.normal(0, 0.2, 1500)) % 2, 0, 2)
    given("a walk", np.abs(1 - walk), 511)
    given("noise", draw.uniform(0.2, 1, 2500))
    given("nearly all", np.clip(draw.normal(0.8, 0.25, 2500), 0, 1), 7)
    given("silence", np.full(100, 0.02))
    out = {"silero_vad": version("silero-vad"), "onnxruntime": version("onnxruntime"), "longest_seconds": LONGEST,
           "cases": cases}
    lines = json.dumps(out).replace('{"name"', '\n{"name"')
    (HERE / "silero.json").write_text(lines + "\n")


main()
