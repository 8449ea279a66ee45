"""Time the log-mel features of 30 s: transformers' WhisperFeatureExtractor in NumPy and package audio, on
one thread, in turns. The argument is the package's test binary."""

import os
import re
import statistics
import subprocess
import sys
import time

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", GOMAXPROCS="1")
import numpy as np  # noqa: E402
from transformers import WhisperFeatureExtractor  # noqa: E402

extractor = WhisperFeatureExtractor()
i = np.arange(extractor.n_samples)
sound = (np.sin(i * 0.05) * np.sin(i * 0.0007)).astype(np.float32)
theirs, ours = [], []
for _ in range(5):
    start = time.perf_counter()
    extractor._np_extract_fbank_features(sound[None], "cpu")
    theirs.append(1e3 * (time.perf_counter() - start))
    out = subprocess.run([sys.argv[1], "-test.run=^$", "-test.bench=Features", "-test.benchtime=300ms"],
                         capture_output=True, text=True, check=True).stdout
    ours.append(float(re.search(r"([\d.]+) ns/op", out)[1]) / 1e6)
a, b = statistics.median(theirs), statistics.median(ours)
print(f"30 s of sound, one thread: transformers {a:.1f} ms, xpipe {b:.1f} ms, {a / b:.1f} times as fast")
