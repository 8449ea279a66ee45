#!/usr/bin/env python3
"""Measures whisper-mini through the xpipe binary: word errors on speech with known words, and how far its
text is from that of the float32 model that it was made of.

    python tools/train/evaluate_speech.py --xpipe build/xpipe --beside build/whisper-tiny-en
        [--model whisper-mini] [--engine go|ort] [--out models/mini] [--work build/eval]
        [--transcripts FILE FILE]

What is heard: xpipe_train/speechtest.py. Words are compared after EnglishTextNormalizer of openai-whisper
20250625. Both models write greedily, with times, as `xpipe transcribe --temperature 0` does. The interval is
that of 4,000 resamplings of windows. --transcripts takes what the binary wrote before (--json), the model's
and that of the one beside it. OUT/speech.json keeps figures and versions, OUT/speech.md is the table.
"""
import argparse
import importlib.util
import json
import subprocess
import sys
from datetime import date
from importlib.metadata import distribution, version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import numpy as np  # noqa: E402

from xpipe_train import speechtest  # noqa: E402

RESAMPLINGS = 4000


def normaliser():
    """openai-whisper's for English. Its package imports torch; this part of it does not."""
    folder = Path(distribution("openai-whisper").locate_file("whisper/normalizers"))
    spec = importlib.util.spec_from_file_location("whisper_normalizers", folder / "__init__.py",
                                                  submodule_search_locations=[str(folder)])
    sys.modules["whisper_normalizers"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EnglishTextNormalizer()


def distance(a: list[str], b: list[str]) -> int:
    """Words to insert, delete or replace (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]


def heard(args, model: str, windows: list[speechtest.Window], written: Path | None) -> list[str]:
    """What the binary writes about each window."""
    if written is None:
        command = [args.xpipe, "transcribe", *(w.file for w in windows), "--model", model, "--engine", args.engine,
                   "--temperature", "0", "--json"]
        lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    else:
        lines = written.read_text().splitlines()
    texts = {Path(r["audio"]).name: r["text"] for r in map(json.loads, lines)}
    return [texts[Path(w.file).name] for w in windows]


def figures(truth: list[list[str]], got: list[list[str]], beside: list[list[str]]) -> dict:
    """Shares in per cent."""
    words = np.array([len(t) for t in truth])
    own, other = (np.array([distance(t, g) for t, g in zip(truth, texts)]) for texts in (got, beside))
    drift = sum(distance(b, g) for b, g in zip(beside, got)) / sum(map(len, beside))
    drawn = np.random.default_rng(0).integers(0, len(words), (RESAMPLINGS, len(words)))
    spread = (own - other)[drawn].sum(1) / words[drawn].sum(1)
    share = lambda x: round(100 * float(x), 2)
    return {"windows": len(words), "words": int(words.sum()), "errors": int(own.sum()), "errors_float32": int(other.sum()),
            "wer": share(own.sum() / words.sum()), "wer_float32": share(other.sum() / words.sum()),
            "difference": share((own - other).sum() / words.sum()), "drift": share(drift),
            "interval": [share(np.percentile(spread, p)) for p in (2.5, 97.5)]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--xpipe", required=True)
    parser.add_argument("--beside", required=True, help="the float32 bundle")
    parser.add_argument("--model", default="whisper-mini")
    parser.add_argument("--engine", choices=("go", "ort"), default="go")
    parser.add_argument("--out", type=Path, default=Path("models/mini"))
    parser.add_argument("--work", type=Path, default=Path("build/eval"))
    parser.add_argument("--transcripts", type=Path, nargs=2, default=(None, None))
    args = parser.parse_args()
    windows, normal = speechtest.fetch(args.work), normaliser()
    truth = [normal(w.text).split() for w in windows]
    got, beside = ([normal(t).split() for t in heard(args, model, windows, written)]
                   for model, written in zip((args.model, args.beside), args.transcripts))
    f = figures(truth, got, beside)
    f |= {"engine": args.engine, "date": date.today().isoformat(), "xpipe": said(args.xpipe),
          "openai-whisper": version("openai-whisper")}
    (args.out / "speech.json").write_text(json.dumps(f, indent=1) + "\n")
    (args.out / "speech.md").write_text(table(f))
    print(table(f))


def said(xpipe: str) -> str:
    return subprocess.run([xpipe, "version"], stdout=subprocess.PIPE, text=True, check=True).stdout.split("\n")[0]


def table(f: dict) -> str:
    low, high = f["interval"]
    return f"""# Figures of whisper-mini

Made by `make eval-speech`: through the xpipe binary, engine {f["engine"]}, {f["date"]}. How:
tools/train/evaluate_speech.py.

| model | windows | words | errors | word error rate |
|---|---|---|---|---|
| float32, 151 MB | {f["windows"]} | {f["words"]:,} | {f["errors_float32"]} | {f["wer_float32"]:.2f} % |
| whisper-mini | {f["windows"]} | {f["words"]:,} | {f["errors"]} | **{f["wer"]:.2f} %** |

Difference {f["difference"]:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f}. {f["drift"]:.2f} % of the words of float32's
text are others.
"""


if __name__ == "__main__":
    main()
