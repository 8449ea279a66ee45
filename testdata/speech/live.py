"""Measure how far behind a stream `xpipe transcribe -` writes.

    python live.py XPIPE FILE.wav...

Each file, of 16-bit samples, goes into the command's pipe as fast as it was spoken. Prints for each how many seconds
after its end the latest word was written, the mean, and how many words differ from the same command's text of the
file. Wants nothing but Python; testdata/speech/minute.py makes a file."""

import difflib
import json
import re
import subprocess
import sys
import threading
import time
import wave

LINE = re.compile(r"\[(?:(\d+):)?(\d+):([\d.]+) --> (?:(\d+):)?(\d+):([\d.]+)\]\s*(.*)")
STEP = 0.1  # seconds of sound at a time


def feed(pipe, data, rate, began):
    step = int(rate * STEP) * 2
    for i in range(0, len(data), step):
        time.sleep(max(0, began + (i + step) / 2 / rate - time.time()))
        pipe.write(data[i : i + step])
        pipe.flush()
    pipe.close()


def words_of(text):
    return re.findall(r"[a-z0-9']+", text.lower())


def measure(xpipe, path):
    with wave.open(path) as f:
        rate, data = f.getframerate(), f.readframes(f.getnframes())
    command = [xpipe, "transcribe", "-", "--raw", str(rate), "--words"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    began = time.time()
    threading.Thread(target=feed, args=(process.stdin, data, rate, began), daemon=True).start()
    words, late = [], []
    for line in process.stdout:
        now = time.time() - began
        if m := LINE.match(line.decode()):
            words.append(m[7])
            late.append(now - (int(m[4] or 0) * 3600 + int(m[5]) * 60 + float(m[6])))
    if process.wait() or not late:
        sys.exit(f"{path}: status {process.returncode}, {len(late)} words")
    whole = subprocess.run([xpipe, "transcribe", path, "--json"], capture_output=True, check=True)
    a, b = words_of(json.loads(whole.stdout)["text"]), words_of(" ".join(words))
    codes = difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    differ = sum(max(i2 - i1, j2 - j1) for tag, i1, i2, j1, j2 in codes if tag != "equal")
    print(f"{path}: {len(words)} words, latest {max(late):.1f} s behind, mean {sum(late) / len(late):.1f}; "
          f"{differ} of {len(a)} words differ from the file's")


for file in sys.argv[2:]:
    measure(sys.argv[1], file)
