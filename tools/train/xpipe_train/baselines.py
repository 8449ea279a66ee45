"""Plain ways of doing the default models' tasks, to stand beside their figures: python -m
xpipe_train.baselines OUT.json.

They read the cached features of the frozen encoder, as the models do, but nothing of the models:

    nearest centroid   the mean pooled feature of a name's training drawings, compared by cosine
    discriminant       linear discriminant on square roots of the pooled feature (concepts.py)
    classifier         the encoder's own ImageNet classifier
    linear probe       easy-VQA: for each wording of a question, ridge regression from the pooled
                       feature to its answers
"""
import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from . import SIZE, features, phototest, pictures
from .concepts import Discriminant
from .data import cached_views
from .sources import TRAIN_STYLES
from .text import imagenet_names


def top(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    return float((np.argsort(-scores, 1)[:, :k] == labels[:, None]).any(1).mean())


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9)


def emoji(root: Path, views: int) -> dict[str, float]:
    styles = list(TRAIN_STYLES)
    raw = [features.load(root, n)[1:] for n in cached_views(root, "emoji")[:views]]
    x = np.concatenate([p for p, _ in raw]).astype(np.float32)
    y, style = np.array([c for _, m in raw for _, c in m]), np.array([styles.index(s) for _, m in raw for s, _ in m])
    _, test, meta = features.load(root, "emoji-test")
    test, labels, classes = test.astype(np.float32), np.array([c for _, c in meta]), int(y.max()) + 1
    means = np.zeros((classes, x.shape[1]), np.float32)
    np.add.at(means, y, x)
    centre = x.mean(0)
    means = means / np.maximum(np.bincount(y, minlength=classes), 1)[:, None]
    near = unit(test - centre) @ unit(means - centre).T
    w, b = Discriminant(0.5).fit(np.sqrt(x), y, style, classes).weights()
    linear = np.sqrt(test) @ w.T + b
    return {"emoji, nearest centroid, top 1": top(near, labels, 1),
            "emoji, nearest centroid, top 5": top(near, labels, 5),
            "emoji, discriminant, top 1": top(linear, labels, 1),
            "emoji, discriminant, top 5": top(linear, labels, 5)}


def photos(root: Path, work: Path) -> dict[str, float]:
    from .encoder import Encoder, Features
    encode, classifier = Features(root / "encoder.onnx"), Encoder().classifier
    found, names = phototest.fetch(work), imagenet_names()
    pooled = np.concatenate(
        [encode([Image.open(p.file) for p in found[i:i + 16]])[1]
         for i in range(0, len(found), 16)]).astype(np.float32)
    order = np.argsort(-(pooled @ classifier.weight.detach().numpy().T + classifier.bias.detach().numpy()), 1)
    right = np.array([phototest.right(names[o[0]], p.words) for o, p in zip(order, found)])
    classed = np.array([bool(p.classes) for p in found])
    hit = lambda k: float(
        np.mean([any(names[c] in {names[d] for d in p.classes} for c in o[:k])
                 for o, p in zip(order, found) if p.classes]))
    return {"photos, classifier's first name holds a right word": float(right.mean()),
            "photos with an ImageNet class, classifier's first name holds a right word": float(right[classed].mean()),
            "photos, classifier top 1": hit(1), "photos, classifier top 5": hit(5)}


def easy_vqa(root: Path) -> dict[str, float]:
    def split(name, cached):
        _, asked = pictures.easy_vqa(name)
        _, pooled, ids = features.load(root, cached)
        place = {i: n for n, i in enumerate(ids)}
        by: dict[str, list] = {}
        for q, a, i in asked:
            by.setdefault(q, []).append((place[i], a))
        return np.sqrt(pooled.astype(np.float32)), by
    x, train = split("train", "shapes-0")
    z, test = split("test", "shapes-test")
    mean, scale = x.mean(0), x.std(0) + 1e-3
    x, z = (x - mean) / scale, (z - mean) / scale
    right = total = 0
    for q, rows in test.items():
        total += len(rows)
        answers = sorted({a for _, a in train.get(q, [])})
        if not answers:
            continue
        f, y = (x[[i for i, _ in train[q]]],
                np.eye(len(answers), dtype=np.float32)[[answers.index(a) for _, a in train[q]]])
        f, bias = np.hstack([f, np.ones((len(f), 1), np.float32)]), y.mean(0)
        k = f @ f.T  # in the dual: a question has fewer pictures than the feature has numbers
        alpha = np.linalg.solve(k + 0.05 * np.trace(k) / len(k) * np.eye(len(k), dtype=np.float32), y - bias)
        g = np.hstack([z[[i for i, _ in rows]], np.ones((len(rows), 1), np.float32)])
        said = (g @ (f.T @ alpha) + bias).argmax(1)
        right += sum(answers[s] == a for s, (_, a) in zip(said, rows))
    return {"easy-VQA, linear probe": right / total}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out", type=Path)
    ap.add_argument("--root", type=Path, default=Path("build/train"))
    ap.add_argument("--work", type=Path, default=Path("build/eval"))
    ap.add_argument("--views", type=int, default=3, help="augmented views of each training drawing")
    args = ap.parse_args()
    figures = photos(args.root, args.work) | easy_vqa(args.root) | emoji(args.root, args.views)
    for k, v in figures.items():
        print(f"{k:80s} {100 * v:6.2f} %")
    args.out.write_text(
        json.dumps(
            {"pixels": SIZE, "numpy": np.__version__,
             "figures": {k: round(v, 5) for k, v in figures.items()}}, indent=1) + "\n")


if __name__ == "__main__":
    main()
