#!/usr/bin/env python3
"""The reference's side of the benchmark of tokenize/.

    python3 bench.py texts OUT.json                  captions and prose: {"captions": [...], "prose": [...], "long": [...]}
    python3 bench.py run TEXTS.json TOKENIZER.json   tokens a second on one thread for each, as JSON

Captions are corpus.py's; prose is paragraphs of the docstrings of Python's standard library; long holds texts of 1,000 to 128,000
characters. The figure is the best of several rounds of encode_batch with parallelism off, which computes offsets as this package does. Time is that of
the processor, so that other work on the machine counts little.
"""
import importlib
import json
import os
import pkgutil
import random
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


def texts():
    from corpus import caption, question

    r = random.Random("bench")
    captions = [r.choice((caption, caption, question))(r) for _ in range(3000)]
    prose, seen = [], set()
    for m in sorted(m.name for m in pkgutil.iter_modules() if m.module_finder.path.endswith(f"python3.{sys.version_info[1]}")):
        if m.startswith("_") or m in ("antigravity", "this", "idlelib", "turtle", "tkinter", "lib2to3"):
            continue
        try:
            mod = importlib.import_module(m)
        except BaseException:
            continue
        for v in [mod, *vars(mod).values()]:
            doc = getattr(v, "__doc__", None)
            if isinstance(doc, str):
                for p in doc.split("\n\n"):
                    p = " ".join(p.split())
                    if 80 < len(p) < 1500 and p not in seen:
                        seen.add(p)
                        prose.append(p)
    r.shuffle(prose)
    prose = prose[:3000]
    everything = " ".join(prose)
    long = [everything[:n] for n in (1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000)]
    return {"captions": captions, "prose": prose, "long": long}


def main():
    if sys.argv[1] == "texts":
        with open(sys.argv[2], "w") as f:
            json.dump(texts(), f)
        return
    from tokenizers import Tokenizer

    with open(sys.argv[2]) as f:
        data = json.load(f)
    t = Tokenizer.from_file(sys.argv[3])
    t.no_padding()
    t.no_truncation()
    out = {}
    for kind in ("captions", "prose"):
        best, tokens = 1e9, 0
        for _ in range(7):
            start = time.process_time()
            encodings = t.encode_batch(data[kind])
            best = min(best, time.process_time() - start)
            tokens = sum(len(e.ids) for e in encodings)
        out[kind] = tokens / best
    out["long"] = []
    for text in data["long"]:
        best = 1e9
        for _ in range(5):
            start = time.process_time()
            t.encode(text)
            best = min(best, time.process_time() - start)
        out["long"].append(best)
    json.dump(out, sys.stdout)


if __name__ == "__main__":
    main()
