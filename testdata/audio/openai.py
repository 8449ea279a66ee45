"""Make openai.npz: what openai-whisper's log_mel_spectrogram makes of sounds with 30 s of silence behind
them, as its transcribe does. For each sound: itself (but the long one, which is a formula), the frames
of its content, every so many of the long one, and the logarithm of its loudest power."""

import argparse
import pathlib

import numpy as np
from whisper.audio import N_FRAMES, N_SAMPLES, log_mel_spectrogram

random = np.random.default_rng(8)
i = np.arange(33 * 16000 + 77)
end = 0.01 * random.standard_normal(4807)
end[-1] = 0.9  # the loudest frame lies behind the content
SOUNDS = {
    "voice": np.load(pathlib.Path(__file__).parent / "golden.npz")["16k/16.wav"],
    "end": end,
    "short": 0.1 * random.standard_normal(170),  # less than the reflection
    "silence": np.zeros(1000),
    "long": 0.5 * np.sin(i * 0.05) * np.sin(i * 0.0007),
}
EVERY = 97  # frames of the long one


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "openai.npz")
    golden = {}
    for name, sound in SOUNDS.items():
        sound = sound.astype(np.float32)
        mel = log_mel_spectrogram(sound, padding=N_SAMPLES).numpy()
        golden[f"loudest/{name}"] = np.array([mel.max() * 4 - 4], np.float32)
        mel = mel[:, : mel.shape[1] - N_FRAMES]
        if name == "long":
            mel = mel[:, ::EVERY]
        else:
            golden[f"sound/{name}"] = sound
        golden[f"mel/{name}"] = np.ascontiguousarray(mel, np.float32)
    np.savez_compressed(parser.parse_args().out, **golden)


main()
