"""Batches for the trainer out of cached features: emoji to name, shapes to describe and to ask about."""
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from . import features, pictures
from .concepts import Discriminant
from .sources import TRAIN_STYLES
from .text import IDS, Codec, imagenet_names, rephrased

WHAT = ["what is this?", "what is in the picture?", "what is in the image?", "what does the picture show?", "what do you see?", "what is it?"]


@dataclass
class Set:
    """Cached pictures with the concept words their heads gave."""
    grid: np.ndarray
    pooled: np.ndarray
    ids: np.ndarray  # [n,4] concept numbers
    probs: np.ndarray  # [n,4]
    labels: list


class Heads:
    """The classifier and the emoji discriminant, with its temperature and its leave-one-style-out versions."""

    def __init__(self, classifier: torch.nn.Linear, x, y, style, classes: int, shrink: float):
        self.classifier, x = classifier, np.sqrt(x)
        self.fit = Discriminant(shrink).fit(x, y, style, classes)
        self.left_out = [self.fit.weights(s) for s in range(self.fit.styles)]
        # one temperature for all: the one under which left-out styles are most likely
        best = (np.inf, 1.0)
        pick = np.random.default_rng(0).choice(len(x), min(len(x), 4000), replace=False)
        logits = np.stack([self.left_out[style[i]][0] @ x[i] + self.left_out[style[i]][1] for i in pick])
        true = logits[np.arange(len(pick)), y[pick]]
        seen = true > -1e3
        for t in np.geomspace(0.002, 1.0, 26):
            z = logits[seen] * t
            top = z.max(1)
            nll = float(np.mean(np.log(np.exp(z - top[:, None]).sum(1)) + top - true[seen] * t))
            best = min(best, (nll, float(t)))
        self.temperature = best[1]
        self.accuracy = float((logits.argmax(1) == y[pick]).mean())
        w, b = self.fit.weights()
        # rounded as the bundle stores them
        self.weight, self.bias = ((a * self.temperature).astype(np.float16).astype(np.float32) for a in (w, b))

    def install(self, concepts) -> None:
        """Writes the final head into model.Concepts."""
        concepts.emoji.weight.data = torch.as_tensor(self.weight)
        concepts.emoji.bias.data = torch.as_tensor(self.bias)

    @torch.no_grad()
    def words(self, pooled: np.ndarray, style: np.ndarray | None = None):
        """Concept numbers and probabilities [n,4]; with style given, of the heads that have not seen it."""
        from .model import top_two
        ids, probs = [], []
        for start in range(0, len(pooled), 512):
            x = torch.as_tensor(pooled[start:start + 512].astype(np.float32))
            first, x = self.classifier(x).softmax(-1), x.sqrt()
            if style is None:
                z = x @ torch.as_tensor(self.weight).T + torch.as_tensor(self.bias)
            else:
                z = torch.empty(len(x), self.fit.classes)
                for s in np.unique(style[start:start + 512]):
                    rows = torch.as_tensor(style[start:start + 512] == s)
                    w, b = self.left_out[s]
                    z[rows] = (x[rows] @ torch.as_tensor(w).T + torch.as_tensor(b)) * self.temperature
            i, p = top_two(first, 0, z.softmax(-1), first.shape[1])
            ids.append(i.numpy()), probs.append(p.numpy())
        return np.concatenate(ids), np.concatenate(probs).astype(np.float32)


def cached_views(root: Path, prefix: str) -> list[str]:
    out = [p.parent.name for p in (root / "features").glob(f"{prefix}-*/meta.json")]
    return sorted((n for n in out if n.split("-")[-1].isdigit()), key=lambda n: int(n.split("-")[-1]))


class Data:
    def __init__(self, root: Path, codec: Codec, classifier, shrink: float):
        self.codec = codec
        self.names, _, _ = pictures.emoji_index(root)
        styles = list(TRAIN_STYLES)
        raw = [features.load(root, n) for n in cached_views(root, "emoji")]
        style = [np.array([styles.index(s) for s, _ in m]) for _, _, m in raw]
        labels = [np.array([c for _, c in m]) for _, _, m in raw]
        self.heads = Heads(classifier, np.concatenate([p for _, p, _ in raw]).astype(np.float32), np.concatenate(labels),
                           np.concatenate(style), len(self.names), shrink)
        self.emoji = [Set(g, p, *self.heads.words(p, s), labels=list(c)) for (g, p, _), s, c in zip(raw, style, labels)]
        self.shapes = [self._set(root, n) for n in cached_views(root, "shapes")]
        self.photos = [self._set(root, n) for n in cached_views(root, "photos")]
        self.photo_names = imagenet_names()
        self.emoji_test, self.emoji_bare, self.shapes_test = (self._set(root, n) for n in ("emoji-test", "emoji-bare", "shapes-test"))
        for s in (self.emoji_test, self.emoji_bare):
            s.labels = [c for _, c in s.labels]
        self._questions()
        pad = lambda ids, n: (ids + [IDS["pad"]] * n)[:n]
        self.name_tokens = torch.tensor([pad(codec.plain(n), 8) for n in self.names])

    def _set(self, root, name):
        g, p, m = features.load(root, name)
        return Set(g, p, *self.heads.words(p), labels=m)

    def _questions(self):
        _, train = pictures.easy_vqa("train")
        self.kind: dict[int, dict] = {}
        colours = {a for _, a, _ in train} - {"yes", "no", "circle", "rectangle", "triangle"}
        for q, a, i in train:
            k = self.kind.setdefault(i, {})
            words = q.rstrip("?").split()
            stated = (a == "yes") != ("not" in words or "no" in words) if a in ("yes", "no") else True
            for w in (words if stated else []) + [a]:
                if w in colours:
                    k["colour"] = w
                elif w in ("circle", "rectangle", "triangle"):
                    k["shape"] = w
        # what is true of one image is true of every image of the same shape and colour
        self.true_of: dict[tuple, list] = {}
        for q, a, i in train:
            self.true_of.setdefault((self.kind[i].get("shape"), self.kind[i].get("colour")), []).append((q, a))

    @staticmethod
    def arrays(sets, rows):
        """rows is [(set number, row)] -> torch grid, pooled, ids, probs."""
        return tuple(torch.as_tensor(np.stack([getattr(sets[s], f)[i] for s, i in rows]).astype(t))
                     for f, t in (("grid", np.float32), ("pooled", np.float32), ("ids", np.int64), ("probs", np.float32)))

    def batch(self, rng: random.Random, emoji: int, shapes: int, questions: int, photos: int):
        """Images (emoji first), emoji labels, and texts as (image number, tokens, targets)."""
        sets = self.emoji + self.shapes + self.photos
        rows, labels, texts = [], [], []
        for n in range(emoji):
            s = rng.randrange(len(self.emoji))
            i = rng.randrange(len(self.emoji[s].labels))
            rows.append((s, i))
            labels.append(int(self.emoji[s].labels[i]))
            name = self.names[labels[-1]]
            texts.append((n, *(self.codec.answer(rephrased(rng.choice(WHAT), rng), name) if rng.random() < 0.1 else self.codec.caption(name))))
        for n in range(emoji, emoji + shapes):
            s = rng.randrange(len(self.shapes))
            i = rng.randrange(len(self.shapes[s].labels))
            rows.append((len(self.emoji) + s, i))
            kind = self.kind[self.shapes[s].labels[i]]
            asked = self.true_of[(kind.get("shape"), kind.get("colour"))]
            for q, a in rng.choices(asked, k=questions):
                texts.append((n, *self.codec.answer(rephrased(q, rng), a)))
            if len(kind) == 2:
                whole = f"{'a'} {kind['colour']} {kind['shape']}"
                texts.append((n, *(self.codec.answer(rephrased(rng.choice(WHAT), rng), whole) if rng.random() < 0.2 else self.codec.caption(whole))))
        grid, pooled, ids, probs = self.arrays(sets, rows + [self._photo(rng) for _ in range(photos)])
        for n in range(emoji + shapes, len(grid)):
            if rng.random() < 0.75:  # another class's words, as sure as the classifier is of real photos
                ids[n, 0], ids[n, 1] = rng.randrange(len(self.photo_names)), rng.randrange(len(self.photo_names))
                probs[n, 0] = rng.uniform(0.15, 1.0)
                probs[n, 1] = rng.uniform(0.0, 0.6) * min(float(probs[n, 0]), 1 - float(probs[n, 0]))
            name = self.photo_names[ids[n, 0]]
            whole = f"a photo of {'an' if name[0] in 'aeiou' else 'a'} {name}"
            texts.append((n, *(self.codec.answer(rephrased(rng.choice(WHAT), rng), whole) if rng.random() < 0.15 else self.codec.caption(whole))))
        return (grid, pooled, ids, probs), torch.tensor(labels), texts

    def _photo(self, rng):
        s = rng.randrange(len(self.photos))
        return len(self.emoji) + len(self.shapes) + s, rng.randrange(len(self.photos[s].labels))


def padded(texts):
    """(image numbers, tokens [n,T], targets [n,T])."""
    t = max(len(x[1]) for x in texts)
    tokens = torch.full((len(texts), t), IDS["pad"])
    targets = torch.full((len(texts), t), -100)
    for r, (_, a, b) in enumerate(texts):
        tokens[r, :len(a)], targets[r, :len(b)] = torch.tensor(a), torch.tensor(b)
    return torch.tensor([x[0] for x in texts]), tokens, targets


def corpus(root: Path):
    """(names, questions) that the tokenizer is trained on."""
    names, _, _ = pictures.emoji_index(root)
    _, train = pictures.easy_vqa("train")
    rng = random.Random(0)
    questions = sorted({q for q, _, _ in train})
    asked = [f"Question: {rephrased(q, rng)} Answer: {a}" for q in questions for a in ("yes", "no")]
    asked += [f"Question: {q} Answer:" for q in WHAT]
    shapes = sorted({a for _, a, _ in train} - {"yes", "no"})
    photos = imagenet_names()
    return names * 3 + photos * 2 + [f"a photo of a {p}" for p in photos] + [f"a {a}" for a in shapes], asked
