"""python cpp.py FILE.bin THREADS: answer {"sound"} on standard input with {"seconds","text"}, by whisper.cpp.

pywhispercpp takes of .wav only 16 kHz in 16 bits and gives ffmpeg files of other names."""

import json
import sys
import time

import _pywhispercpp
from pywhispercpp.model import Model

model = Model(sys.argv[1], redirect_whispercpp_logs_to=None, n_threads=int(sys.argv[2]), print_progress=False)
language = "auto" if _pywhispercpp.whisper_is_multilingual(model._ctx) else "en"
for line in sys.stdin:
    start = time.perf_counter()
    text = " ".join(s.text for s in model.transcribe(json.loads(line)["sound"], language=language))
    print(json.dumps({"seconds": time.perf_counter() - start, "text": text}), flush=True)
