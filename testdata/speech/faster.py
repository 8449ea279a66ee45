"""python faster.py MODEL THREADS: answer {"sound"} on standard input with {"seconds","text"}, by faster-whisper in int8."""

import json
import sys
import time

from faster_whisper import WhisperModel

model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8", cpu_threads=int(sys.argv[2]))
for line in sys.stdin:
    start = time.perf_counter()
    segments, _ = model.transcribe(json.loads(line)["sound"], beam_size=1, vad_filter=False)
    text = "".join(s.text for s in segments)
    print(json.dumps({"seconds": time.perf_counter() - start, "text": text}), flush=True)
