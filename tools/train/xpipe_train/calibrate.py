"""Confidence in captions: python -m xpipe_train.calibrate --xpipe BINARY [--model DIR] [--write].

A caption's mean log-probability m a token becomes 1 / (1 + exp(-(slope*m + intercept))) by logistic
regression (Platt 1999) on whether it was right. Right is the exact name of a Twitter drawing, or a
right word for a photo; a picture from outside of what the model was taught is never right: puzzle
pieces and round cuts of paintings (GCompris), letters, coins, notes and signs of mathematics
(tuxpaint), and noise. Every second picture of each kind is fitted on, and the others say what the
numbers hold: calibration error, and accuracy and coverage at the threshold, which is the least with
which accuracy among what is kept on the fitted half reaches --accuracy; where none does, the one
that parts right from wrong best (Youden 1950).

--write puts the block into the model's xpipe.json; figures go to --out. Needs what evaluate.py
needs.
"""
import argparse
import json
import os
import random
import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from . import phototest, pictures

OUTSIDE = 150  # pictures of each kind from outside


def outside(work: Path) -> list[str]:
    """PNG files of pictures the model was taught nothing about."""
    folder, rng = work / "outside", random.Random(5)
    folder.mkdir(parents=True, exist_ok=True)
    deb = work / "deb"
    drawn = [(rcc + "-" + n.split("/")[-1], body) for rcc in ("paintings", "details")
             for n, body in sorted(
                 phototest.read_rcc(
                     next(phototest.unpacked("gcompris-qt-data", deb).rglob(f"{rcc}.rcc"))).items())
             if n.endswith((".webp", ".png"))]
    stamps = [p for p in sorted(phototest.unpacked("tuxpaint-stamps-default", deb).rglob("*.png"))
              if {"money", "math", "music", "alphabets"} & set(p.parts)]
    chosen = [("g-" + n, lambda b=b: Image.open(BytesIO(b))) for n, b in rng.sample(drawn, min(OUTSIDE, len(drawn)))]
    chosen += [("t-" + p.stem, lambda p=p: Image.open(p)) for p in rng.sample(stamps, min(OUTSIDE, len(stamps)))]
    noise = np.random.default_rng(5)

    def blurred(size):
        small = Image.fromarray(noise.integers(0, 256, (size, size, 3), np.uint8))
        return small.resize((224, 224), Image.BICUBIC)
    chosen += [(f"n-{i}", lambda s=s: blurred(s)) for i, s in enumerate([2, 3, 4, 8, 16, 32, 64, 224] * 6)]
    out = []
    for name, make in chosen:
        to = folder / (Path(name).stem + ".png")
        if not to.exists():
            try:
                phototest.on_white(make()).save(to)
            except (OSError, ValueError):
                continue
        out.append(str(to))
    return list(dict.fromkeys(out))


def captions(xpipe: str, model: str, engine: str, files: list[str]) -> list[dict]:
    got = []
    for i in range(0, len(files), 200):
        done = subprocess.run(
            [xpipe, "caption", "--model", model, "--engine", engine, "--json", *files[i:i + 200]],
            stdout=subprocess.PIPE, text=True)
        got += [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
    by = {os.path.abspath(r["image"]): r for r in got}
    return [by.get(os.path.abspath(f), {}) for f in files]


def fit(m: np.ndarray, right: np.ndarray, steps: int = 50) -> tuple[float, float]:
    """Logistic regression by Newton's method, a little ridge on the slope; m is standardised on the
    way."""
    mean, std = m.mean(), m.std()
    x, w = np.stack([(m - mean) / std, np.ones_like(m)], 1), np.zeros(2)
    for _ in range(steps):
        p = 1 / (1 + np.exp(-x @ w))
        w -= np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + np.diag([1e-3, 1e-6]),
                             x.T @ (p - right) + np.array([1e-3 * w[0], 0]))
    return float(w[0] / std), float(w[1] - w[0] * mean / std)


def threshold_for(p: np.ndarray, right: np.ndarray, accuracy: float, least: float = 0.1) -> float:
    """See above; at least a tenth of the pictures must be kept for an accuracy to count."""
    tried = np.unique(np.round(p, 3))
    enough = [t for t in tried if (p >= t).mean() >= least and right[p >= t].mean() >= accuracy]
    if enough:
        return float(enough[0])
    return float(max(tried, key=lambda t: (p[right] >= t).mean() - (p[~right] >= t).mean()))


def report(p: np.ndarray, right: np.ndarray, kinds: np.ndarray, threshold: float) -> dict[str, float]:
    keep = p >= threshold
    out = {"accuracy of all": right.mean(),
           "accuracy of the sure": right[keep].mean() if keep.any() else 0.0,
           "accuracy of the unsure": right[~keep].mean() if (~keep).any() else 0.0}
    for kind in dict.fromkeys(kinds):
        rows = kinds == kind
        out[f"{kind}: said without (unsure)"] = keep[rows].mean()
        if (rows & keep).any() and right[rows].any():
            out[f"{kind}: accuracy of the sure"] = right[rows & keep].mean()
    bins = np.minimum((p * 10).astype(int), 9)
    out["expected calibration error"] = sum(
        abs(p[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in range(10)
        if (bins == b).any())
    order = np.argsort(p)
    ranks = np.empty(len(p))
    ranks[order] = np.arange(1, len(p) + 1)
    n = right.sum()
    out["area under the curve"] = (ranks[right].sum() - n * (n + 1) / 2) / (n * (len(p) - n))
    return {k: round(float(v), 4) for k, v in out.items()}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--xpipe", default="build/xpipe")
    ap.add_argument("--model", type=Path, default=Path("models/mini/blip2-mini"))
    ap.add_argument("--engine", default="go")
    ap.add_argument("--root", type=Path, default=Path("build/train"))
    ap.add_argument("--work", type=Path, default=Path("build/eval"))
    ap.add_argument("--out", type=Path, default=Path("models/mini/calibration.json"))
    ap.add_argument("--accuracy", type=float, default=0.75,
                    help="of what is said without (unsure), on the fitted half")
    ap.add_argument("--drawings", type=int, default=600, help="Twitter drawings used")
    ap.add_argument("--write", action="store_true", help="put the block into the model's xpipe.json")
    args = ap.parse_args()
    names, _, test = pictures.emoji_index(args.root)
    folder = args.work / "emoji-twitter-flat"
    folder.mkdir(parents=True, exist_ok=True)
    items = []  # (kind, file, judge of a caption)
    for _, path, c in random.Random(3).sample(test, min(args.drawings, len(test))):
        if not (folder / path.name).exists():
            pictures.flat_emoji(path).save(folder / path.name)
        items.append(("drawings", str(folder / path.name), lambda s, n=names[c]: s == n))
    items += [("photos", p.file, lambda s, w=p.words: phototest.right(s, w)) for p in phototest.fetch(args.work)]
    items += [("outside", f, lambda s: False) for f in outside(args.work)]
    got = captions(args.xpipe, str(args.model), args.engine, [f for _, f, _ in items])
    rows = [(kind, f, judge(r["caption"].lower().strip()),
             np.mean([t["logprob"] for t in r["token_logprobs"]]) if r["token_logprobs"] else -20.0)
            for (kind, f, judge), r in zip(items, got) if "token_logprobs" in r]
    (args.work / "calibration.tsv").write_text(
        "".join(f"{k}\t{Path(f).name}\t{int(ok)}\t{m:.4f}\n" for k, f, ok, m in rows))
    kinds, right, m = (np.array([r[0] for r in rows]), np.array([bool(r[2]) for r in rows]),
                       np.array([r[3] for r in rows]))
    half = np.zeros(len(rows), bool)
    for kind in dict.fromkeys(kinds):
        half[np.flatnonzero(kinds == kind)[::2]] = True
    slope, intercept = fit(m[half], right[half])
    p = 1 / (1 + np.exp(-(slope * m + intercept)))
    threshold = threshold_for(p[half], right[half], args.accuracy)
    block = {"slope": round(slope, 5), "intercept": round(intercept, 5), "threshold": threshold}
    figures = {"calibration": {"caption": block}, "model": args.model.name, "engine": args.engine,
               "pictures": {k: int((kinds == k).sum()) for k in dict.fromkeys(kinds)},
               "fitted half": report(p[half], right[half], kinds[half], threshold),
               "other half": report(p[~half], right[~half], kinds[~half], threshold)}
    print(json.dumps(figures, indent=1))
    args.out.write_text(json.dumps(figures, indent=1) + "\n")
    if args.write:
        manifest = args.model / "xpipe.json"
        meta = json.loads(manifest.read_text())
        meta["calibration"] = {"caption": block}
        manifest.write_text(json.dumps(meta, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
