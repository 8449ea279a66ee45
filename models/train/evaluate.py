#!/usr/bin/env python3
"""Measures a model through the xpipe binary on material it was not trained on.

    python models/train/evaluate.py --xpipe bin/xpipe [--model NAME|DIR] [--engine go|ort] [--json OUT]

Test sets are made from packages into --work (default build/eval): easy-VQA's official test split (9,673
questions), the 1,391 single emoji drawn by Twitter, laid on white, and 85 photos of Debian's gcompris-qt-data and
scikit-image. Answers and names count when they are equal to the expected text (lower case, trimmed), captions of
photos when they hold a right word. Beside each figure stand the question-only prior, chance, and what the emoji are
called with their alpha dropped instead of laid on white.
"""
import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from xpipe_train import phototest, pictures, sources  # noqa: E402


def emoji_files(root: Path, work: Path, view):
    """[(png file, name)] of the held-out style, each drawing as view shows it."""
    names, _, test = pictures.emoji_index(root)
    folder = work / f"emoji-twitter-{view.__name__.split('_')[0]}"
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for _, path, concept in test:
        to = folder / path.name
        if not to.exists():
            view(path).save(to)
        out.append((str(to), names[concept]))
    return out


def shape_questions():
    """[(image file, question, answer)] of easy-VQA's test split, questions of one image together."""
    paths, asked = pictures.easy_vqa("test")
    return [(paths[i], q, a) for q, a, i in sorted(asked, key=lambda r: r[2])]


def question_prior() -> dict[str, str]:
    """question -> its most frequent answer in the training split: what can be had without looking."""
    _, asked = pictures.easy_vqa("train")
    by: dict[str, Counter] = {}
    for q, a, _ in asked:
        by.setdefault(q, Counter())[a] += 1
    return {q: c.most_common(1)[0][0] for q, c in by.items()}


def run(command: list[str]) -> list[dict]:
    """JSON lines that the binary prints; its exit code 1 (some of a batch failed) still counts the rest."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command[:6])} ... exited with {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]


def write(path: Path, wanted: list[tuple[str, str]], said: list[str]) -> None:
    """A table of what was said of each file, to look at."""
    path.write_text("".join(f"{Path(f).name}\t{n}\t{s}\n" for (f, n), s in zip(wanted, said)))


def kind_of(answer: str) -> str:
    return "yes/no" if answer in ("yes", "no") else "shape" if answer in ("circle", "rectangle", "triangle") else "colour"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--xpipe", required=True)
    ap.add_argument("--model", default="blip2-mini")
    ap.add_argument("--engine", default="go")
    ap.add_argument("--root", type=Path, default=Path("build/train"))
    ap.add_argument("--work", type=Path, default=Path("build/eval"))
    ap.add_argument("--limit", type=int, help="first N of each set only")
    ap.add_argument("--json", type=Path, help="also write the figures here")
    ap.add_argument("--floors", action="store_true", help="fail unless easy-VQA >= 87 %% and emoji >= 25 %%")
    args = ap.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if not (args.root / "sprites/index.json").exists():
        sources.render(args.root)
    common = ["--model", args.model, "--engine", args.engine, "--json"]
    figures: dict[str, float] = {}

    def captions(files):
        got = [r for i in range(0, len(files), 200)
               for r in run([args.xpipe, "caption", *common, *(f for f, _ in files[i:i + 200])])]
        by_image = {os.path.abspath(r["image"]): r.get("caption", "") for r in got}
        return [by_image.get(os.path.abspath(f), "").lower().strip() for f, _ in files]

    files = emoji_files(args.root, args.work, pictures.flat_emoji)[:args.limit]
    start = time.time()
    said = captions(files)
    figures["emoji exact"] = sum(s == n for s, (_, n) in zip(said, files)) / len(files)
    overlap = [2 * len(set(s.split()) & set(n.split())) / max(1, len(set(s.split())) + len(set(n.split()))) for s, (_, n) in zip(said, files)]
    figures["emoji word F1"] = sum(overlap) / len(files)
    figures["emoji seconds"] = time.time() - start
    write(args.work / "emoji-said.tsv", files, said)
    bare = emoji_files(args.root, args.work, pictures.bare_emoji)[:args.limit]
    figures["emoji exact, alpha dropped"] = sum(s == n for s, (_, n) in zip(captions(bare), bare)) / len(bare)

    photos = phototest.fetch(args.work)[:args.limit]
    said = captions(photos)
    figures["photos, a right word"] = sum(phototest.right(s, words) for s, (_, words) in zip(said, photos)) / len(photos)
    write(args.work / "photos-said.tsv", [(f, words[0]) for f, words in photos], said)

    asked = shape_questions()[:args.limit]
    lines = args.work / "easy-vqa.jsonl"
    lines.write_text("".join(json.dumps({"image": os.path.abspath(p), "question": q}) + "\n" for p, q, _ in asked))
    start = time.time()
    got = run([args.xpipe, "ask", *common, "--questions", str(lines)])
    if len(got) != len(asked):
        raise SystemExit(f"{len(asked)} questions, {len(got)} answers")
    right: dict[str, list[bool]] = {}
    for r, (_, _, a) in zip(got, asked):
        right.setdefault(kind_of(a), []).append(r.get("answer", "").lower().strip() == a)
    everything = [x for v in right.values() for x in v]
    figures["easy-VQA"] = sum(everything) / len(everything)
    for kind, v in sorted(right.items()):
        figures[f"easy-VQA {kind}"] = sum(v) / len(v)
    figures["easy-VQA seconds"] = time.time() - start
    prior = question_prior()
    figures["easy-VQA question-only prior"] = sum(prior.get(q) == a for _, q, a in asked) / len(asked)
    figures["emoji chance"] = 1 / len(files)

    print(f"{args.model} through {args.xpipe} on engine {args.engine}: {len(files)} emoji, {len(photos)} photos, {len(asked)} questions")
    for k, v in figures.items():
        print(f"  {k:32s} {v:8.1f} s" if k.endswith("seconds") else f"  {k:32s} {100 * v:7.2f} %")
    if args.json:
        args.json.write_text(json.dumps({"model": args.model, "engine": args.engine, "emoji": len(files), "photos": len(photos), "questions": len(asked),
                                         "figures": {k: round(v, 5) for k, v in figures.items()}}, indent=2) + "\n")
    if args.floors and (figures["easy-VQA"] < 0.87 or figures["emoji exact"] < 0.25):
        raise SystemExit("below the floors of the first version (easy-VQA 87 %, emoji 25 %)")


if __name__ == "__main__":
    main()
