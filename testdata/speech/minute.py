"""Make the sound that bench-speech's figures are of: 60 s of English speech, 16 kHz, 16 bits.

    python minute.py DIR FILE.wav [SECONDS]

DIR has the prompts of Debian's asterisk-core-sounds-en-wav 1.6.1-1 (usr/share/asterisk/sounds/en_US_f_Allison there),
which are CC-BY-SA-3.0: demo-congrats, demo-instruct and demo-moreinfo one after the other, again and again where
SECONDS ask for it, half a second of zeros between them. Wants numpy, soundfile 0.14.0 and soxr 1.1.0."""

import pathlib
import sys

import numpy as np
import soundfile
import soxr

RATE, GAP = 16000, 0.5


def main():
    folder, out = map(pathlib.Path, sys.argv[1:3])
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 60
    parts = []
    for name in ("demo-congrats", "demo-instruct", "demo-moreinfo"):
        samples, rate = soundfile.read(folder / f"{name}.wav", dtype="float32")
        parts += [soxr.resample(samples, rate, RATE, "HQ"), np.zeros(int(GAP * RATE), np.float32)]
    sound, length = np.concatenate(parts), int(seconds * RATE)
    soundfile.write(out, np.tile(sound, -(-length // len(sound)))[:length], RATE, "PCM_16")


main()
