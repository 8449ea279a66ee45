"""Batches for blip2-mini out of cached features: emoji to name, shapes and scenes to ask about,
photos to describe."""
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from . import features, pictures, scenes
from .concepts import Discriminant, PhotoGate
from .encoder import GRID
from .sources import TRAIN_STYLES
from .text import IDS, Codec, imagenet_names, rephrased

WHAT = ["what is this?", "what is in the picture?", "what is in the image?",
        "what does the picture show?", "what do you see?", "what is it?"]
SHAPES = ("circle", "rectangle", "triangle")
CELL_NAMES = [*scenes.CONCEPTS, *SHAPES]
CELL_COLOURS = [*scenes.TINTS, "black", "teal"]
SIDE = int(GRID ** 0.5)
UNKNOWN = -1


@dataclass
class Set:
    """Cached pictures with the concept words their heads gave, and what each cell of them holds."""
    grid: np.ndarray
    pooled: np.ndarray
    ids: np.ndarray  # [n,4] concept numbers
    probs: np.ndarray  # [n,4]
    labels: list
    names: np.ndarray  # [n,49] 0 nothing, 1.. CELL_NAMES, -1 unknown
    colours: np.ndarray  # [n,49] 0 its own, 1.. CELL_COLOURS, -1 unknown or nothing there
    centres: np.ndarray  # [n,49,2] a thing's centre from its cell's, x and y, in cells; NaN where nothing is


class Heads:
    """The classifier, the emoji discriminant with its temperature and its leave-one-style-out
    versions, and what tells photos."""

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
        self.gate = None

    def tell_photos(self, drawings: list[tuple[np.ndarray, np.ndarray]], photos: np.ndarray, photo: np.ndarray) -> None:
        """Fits the gate: drawings are (pooled, style), style -1 where they have none; photo is the
        number of each photo's picture."""
        x = np.sqrt(np.concatenate([p for p, _ in drawings] + [photos]).astype(np.float32))
        fold = np.concatenate([s for _, s in drawings] + [photo % self.fit.styles])
        self.gate = PhotoGate().fit(x, np.arange(len(x)) >= len(x) - len(photos), fold)

    def install(self, concepts) -> None:
        """Writes the final head into model.Concepts."""
        device = concepts.emoji.weight.device
        concepts.emoji.weight.data = torch.as_tensor(self.weight, device=device)
        concepts.emoji.bias.data = torch.as_tensor(self.bias, device=device)
        concepts.photo.weight.data, concepts.photo.bias.data = (
            self.gate.weight[None].to(device), self.gate.bias[None].to(device))

    @torch.no_grad()
    def words(self, pooled: np.ndarray, style: np.ndarray | None = None):
        """Concept numbers and probabilities [n,4]; with style given, of the heads that have not
        seen it."""
        from .model import as_photo, top_two
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
            i, p = as_photo(*top_two(first, 0, z.softmax(-1), first.shape[1]),
                            (x @ self.gate.weight + self.gate.bias > 0)[:, None])
            ids.append(i.numpy())
            probs.append(p.numpy())
        return np.concatenate(ids), np.concatenate(probs).astype(np.float32)


def cached_views(root: Path, prefix: str, most: int | None = None) -> list[str]:
    """Sets PREFIX-0, PREFIX-1 ... that are complete."""
    out = [p.parent.name for p in (root / "features").glob(f"{prefix}-*/meta.json")]
    return sorted((n for n in out if n.split("-")[-1].isdigit()), key=lambda n: int(n.split("-")[-1]))[:most]


def empty(n: int):
    """(names, colours, centres) of n pictures whose cells hold nothing."""
    return np.zeros((n, GRID), np.int8), np.full((n, GRID), UNKNOWN, np.int8), np.full((n, GRID, 2), np.nan, np.float32)


def put(cells, row: int, x: float, y: float, name: int, colour: int) -> None:
    """Marks the cell that holds the point (x, y), both in [0,1]."""
    c, r = (min(SIDE - 1, max(0, int(v * SIDE))) for v in (x, y))
    names, colours, centres = cells
    names[row, r * SIDE + c], colours[row, r * SIDE + c] = name, colour
    centres[row, r * SIDE + c] = x * SIDE - c - 0.5, y * SIDE - r - 0.5


def scene_cells(rows: list[dict]):
    cells = empty(len(rows))
    for n, row in enumerate(rows):
        for t in features.scene_of(row).things:
            put(cells, n, t.x / scenes.SIDE, t.y / scenes.SIDE, 1 + CELL_NAMES.index(t.concept),
                1 + CELL_COLOURS.index(t.tint) if t.tint else 0)
    return cells


def shape_cells(images, kinds):
    """Where the one shape of each easy-VQA picture is: what differs from the corner's colour.
    kinds[n] is what is known of it; of a picture whose shape is not known, nothing is."""
    cells = empty(len(kinds))
    for n, (im, kind) in enumerate(zip(images, kinds)):
        a = np.asarray(im.convert("RGB"), np.int16)
        y, x = np.where(np.abs(a - a[0, 0]).max(-1) > 24)
        if "shape" not in kind or not len(x):
            cells[0][n] = UNKNOWN
            continue
        put(cells, n, (x.mean() + 0.5) / im.width, (y.mean() + 0.5) / im.height, 1 + CELL_NAMES.index(kind["shape"]),
            1 + CELL_COLOURS.index(kind["colour"]) if "colour" in kind else UNKNOWN)
    return cells


class Data:
    def __init__(self, root: Path, codec: Codec, classifier, shrink: float, views: dict | None = None):
        views = views or {}
        self.codec = codec
        self.names, _, _ = pictures.emoji_index(root)
        styles = list(TRAIN_STYLES)
        raw = [features.load(root, n) for n in cached_views(root, "emoji", views.get("emoji"))]
        style = [np.array([styles.index(s) for s, _ in m]) for _, _, m in raw]
        labels = [np.array([c for _, c in m]) for _, _, m in raw]
        self.heads = Heads(classifier, np.concatenate([p for _, p, _ in raw]).astype(np.float32),
                           np.concatenate(labels), np.concatenate(style), len(self.names), shrink)
        self._tell_photos(root, views, raw, style)
        self.emoji = [Set(g, p, *self.heads.words(p, s), list(c), *empty(len(c)))
                      for (g, p, _), s, c in zip(raw, style, labels)]
        self._questions()
        self.shapes = [
            self._set(root, n, lambda m, n=n: shape_cells(
                features.shape_views(int(n.split("-")[-1])), [self.kind[i] for i in m]))
            for n in cached_views(root, "shapes", views.get("shapes"))]
        self.photos = [self._set(root, n) for n in cached_views(root, "photos")]
        self.scenes = []
        for n in cached_views(root, "scenes", views.get("scenes")):
            g, p, m = features.load(root, n)
            words = self.heads.words(p, np.array([styles.index(r["style"]) for r in m]))
            self.scenes.append(Set(g, p, *words, [features.scene_of(r) for r in m], *scene_cells(m)))
        self.photo_names = imagenet_names()
        self.emoji_test, self.emoji_bare, self.shapes_test = (
            self._set(root, n) for n in ("emoji-test", "emoji-bare", "shapes-test"))
        self.scenes_test = self._set(root, "scenes-test", scene_cells)
        for s in (self.emoji_test, self.emoji_bare):
            s.labels = [c for _, c in s.labels]
        words = [*scenes.CONCEPTS, *map(scenes.plural, scenes.CONCEPTS), *SHAPES, *CELL_COLOURS]
        self.subjects = {codec.plain(w)[-1] for w in words}
        self.sets = self.emoji + self.shapes + self.scenes + self.photos
        pad = lambda ids, n: (ids + [IDS["pad"]] * n)[:n]
        self.name_tokens = torch.tensor([pad(codec.plain(n), 8) for n in self.names])

    def _tell_photos(self, root, views, raw, style):
        some = np.random.default_rng(0)
        drawings = []
        for (_, p, _), s in zip(raw, style):
            keep = some.permutation(len(s))[:2400]
            drawings.append((p[keep], s[keep]))
        for prefix, most in (("shapes", 300), ("scenes", 600)):
            for n in cached_views(root, prefix, views.get(prefix))[:2]:
                _, p, m = features.load(root, n)
                own = [list(TRAIN_STYLES).index(r["style"]) if prefix == "scenes" else -1 for r in m[:most]]
                drawings.append((p[:most], np.array(own)))
        photos = [features.load(root, n)[1:] for n in cached_views(root, "photos")]
        names = sorted({m for _, meta in photos for m in meta})
        self.heads.tell_photos(drawings, np.concatenate([p for p, _ in photos]),
                               np.array([names.index(m) for _, meta in photos for m in meta]))

    def _set(self, root, name, cells=lambda meta: empty(len(meta))):
        g, p, m = features.load(root, name)
        return Set(g, p, *self.heads.words(p), m, *cells(m))

    def _questions(self):
        _, train = pictures.easy_vqa("train")
        self.kind: dict[int, dict] = {}
        colours = {a for _, a, _ in train} - {"yes", "no", *SHAPES}
        for q, a, i in train:
            k = self.kind.setdefault(i, {})
            words = q.rstrip("?").split()
            stated = (a == "yes") != ("not" in words or "no" in words) if a in ("yes", "no") else True
            for w in (words if stated else []) + [a]:
                if w in colours:
                    k["colour"] = w
                elif w in SHAPES:
                    k["shape"] = w
        # what is true of one image is true of every image of the same shape and colour
        self.true_of: dict[tuple, list] = {}
        for q, a, i in train:
            self.true_of.setdefault((self.kind[i].get("shape"), self.kind[i].get("colour")), []).append((q, a))
        # among them those that name its colour or shape: of eight colours few do, and without them
        # "no" is nearly always right
        self.names_truth = {k: [(q, a) for q, a in asked if set(q.rstrip("?").split()) & set(k)]
                            for k, asked in self.true_of.items()}

    @staticmethod
    def arrays(sets, rows):
        """rows is [(set number, row)] -> torch grid, pooled, ids, probs."""
        return tuple(torch.as_tensor(np.stack([getattr(sets[s], f)[i] for s, i in rows]).astype(t))
                     for f, t in (("grid", np.float32), ("pooled", np.float32), ("ids", np.int64),
                                  ("probs", np.float32)))

    @staticmethod
    def cells(sets, rows):
        """The same pictures' cells -> torch names, colours [n,49] int64, centres [n,49,2]."""
        return tuple(torch.as_tensor(np.stack([getattr(sets[s], f)[i] for s, i in rows]).astype(t))
                     for f, t in (("names", np.int64), ("colours", np.int64), ("centres", np.float32)))

    def batch(self, rng: random.Random, emoji: int, shapes: int, scenes: int, photos: int,
              questions: int, each: int, more: int) -> dict:
        """Images (emoji first), their cells, emoji labels, and texts as (image number, tokens,
        targets) with their kinds; questions of every shape, and up to `each` of every kind of
        question of a scene. "more" are the features and cells of as many scenes that nothing is
        asked about."""
        rows, labels, texts = [], [], []

        def pick(sets, before):
            s = rng.randrange(len(sets))
            rows.append((before + s, rng.randrange(len(sets[s].labels))))
            return len(rows) - 1, sets[s].labels[rows[-1][1]]

        before = 0
        for _ in range(emoji):
            n, label = pick(self.emoji, before)
            labels.append(int(label))
            name = self.names[labels[-1]]
            texts.append(
                (n, *(self.codec.answer(rephrased(rng.choice(WHAT), rng), name)
                      if rng.random() < 0.1 else self.codec.caption(name)), "name"))
        before += len(self.emoji)
        for _ in range(shapes):
            n, label = pick(self.shapes, before)
            kind = self.kind[label]
            asked = self.true_of[(kind.get("shape"), kind.get("colour"))]
            said = self.names_truth.get((kind.get("shape"), kind.get("colour"))) or asked
            for q, a in rng.choices(asked, k=questions - questions // 3) + rng.choices(said, k=questions // 3):
                texts.append(
                    (n, *self.codec.answer(rephrased(q, rng), a),
                     "shape yes/no" if a in ("yes", "no") else "shape"))
            if len(kind) == 2:
                whole = f"a {kind['colour']} {kind['shape']}"
                texts.append(
                    (n, *(self.codec.answer(rephrased(rng.choice(WHAT), rng), whole)
                          if rng.random() < 0.2 else self.codec.caption(whole)), "shape"))
        before += len(self.shapes)
        for _ in range(scenes):
            n, scene = pick(self.scenes, before)
            texts += [(n, *self.codec.answer(q, a), kind) for kind, q, a in asked_of(scene, rng, each)] if each else []
        before += len(self.scenes)
        first, lent = len(rows), set()
        for _ in range(photos):
            # a picture of any kind, said to be a photo: that both heads agree is what makes it one,
            # whatever it looks like
            if rng.random() < 0.375:
                lent.add(len(rows))
                pick(self.sets, 0)
            else:
                pick(self.photos, before)
        grid, pooled, ids, probs = self.arrays(self.sets, rows)
        for n in range(first, len(rows)):
            agree = n in lent or bool(ids[n, 2] == ids[n, 0])
            if n in lent or rng.random() < 0.6:  # another class's words, as sure as the classifier is of real photos
                ids[n, 0], ids[n, 1] = rng.randrange(len(self.photo_names)), rng.randrange(len(self.photo_names))
                probs[n, 0] = rng.uniform(0.15, 1.0)
                probs[n, 1] = rng.uniform(0.0, 0.6) * min(float(probs[n, 0]), 1 - float(probs[n, 0]))
            if agree:
                ids[n, 2:], probs[n, 2:] = ids[n, :2], probs[n, :2]
            name = self.photo_names[ids[n, 0]]
            whole = f"a photo of {'an' if name[0] in 'aeiou' else 'a'} {name}"
            texts.append(
                (n, *(self.codec.answer(rephrased(rng.choice(WHAT), rng), whole)
                      if rng.random() < 0.15 else self.codec.caption(whole)), "photo"))
        spare, rows_of = [], [(len(self.emoji) + len(self.shapes) + s, i) for s, i in self._some(rng, more)]
        if more:
            spare = [
                torch.as_tensor(
                    np.stack([self.sets[s].grid[i] for s, i in rows_of]).astype(np.float32)),
                self.cells(self.sets, rows_of)]
        early = [self.early(p) for p in by_length(texts)]
        return {"images": (grid, pooled, ids, probs), "cells": self.cells(self.sets, rows),
                "labels": torch.tensor(labels, dtype=torch.long),
                "texts": [(*padded(p), e, [t[3] for t in p])
                          for p, e in zip(by_length(texts), early)], "more": spare}

    def early(self, texts):
        """Targets [n,T] that ask for an answer's first token at every position from the question's
        last subject (a thing, shape or colour) to its end, where the answer is known already: the
        word that finds its cell is taught at that word."""
        out = torch.full((len(texts), max(len(t[1]) for t in texts)), -100)
        for r, (_, tokens, targets, _) in enumerate(texts):
            end = next(i for i, t in enumerate(targets) if t >= 0)
            subject = next((i for i in range(end, 0, -1) if tokens[i] in self.subjects), end)
            out[r, subject:end] = targets[end]
        return out

    def _some(self, rng, count):
        """(set, row) of as many scenes."""
        sets = [rng.randrange(len(self.scenes)) for _ in range(count)]
        return [(s, rng.randrange(len(self.scenes[s].labels))) for s in sets]


def asked_of(scene, rng: random.Random, each: int):
    """Questions of a scene, up to `each` of every kind. Colours and relations can be asked of few
    scenes, so of counts and existence there are half as many."""
    most = {"count": (each + 1) // 2, "exist": (each + 1) // 2, "colour": each, "relation": each}
    for kind, q, a in scenes.questions(scene, rng, each=2 * each):
        if most[kind]:
            most[kind] -= 1
            yield kind, q, a


def by_length(texts, steps=(7, 11, 13, 15)):
    """The texts in parts of like length, so that little is padding."""
    parts: dict[int, list] = {}
    for t in texts:
        parts.setdefault(sum(len(t[1]) > s for s in steps), []).append(t)
    return [parts[k] for k in sorted(parts)]


def padded(texts):
    """(image numbers, tokens [n,T], targets [n,T])."""
    t = max(len(x[1]) for x in texts)
    tokens = torch.full((len(texts), t), IDS["pad"])
    targets = torch.full((len(texts), t), -100)
    for r, (_, a, b, *_) in enumerate(texts):
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


def question_words() -> list[str]:
    """Every word of the questions about shapes and scenes and of their answers: each is to be one
    token."""
    rng, words = random.Random(0), {*map(scenes.plural, scenes.CONCEPTS), *scenes.CONCEPTS, *scenes.ANSWERS}
    texts = [rephrased(q, rng) for q in sorted({q for q, _, _ in pictures.easy_vqa("train")[1]})]
    for _ in range(500):
        texts += [q for _, q, _ in scenes.questions(scenes.layout(rng), rng, each=4)]
    return sorted({w for t in texts for w in t.rstrip("?").split()} | words)
