"""flamingo-mini's data and losses: see ../flamingo.py for the model and ../episodes.py for what an
episode is."""
import random
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional as F

from .. import episodes, features, pictures
from ..encoder import Encoder, Features
from ..flamingo import ANSWER, IDS, FlamingoConfig, begin, blank, hidden, train_tokenizer

QUESTIONS = [episodes.QUESTION, "what is this", "what is it?", "what do you see?",
             "what is in the picture?", "what is in the image?", "who is this?",
             "which one is this?", "what is this called?", "what is the name of this?", "name this",
             "what does the picture show?"]
WINDOW = 60  # neighbours in the order of code points are alike: faces, hands, clocks
MOST = 10    # pictures in an episode


class Task:
    def __init__(self, config: dict, root: Path, run: Path):
        c = FlamingoConfig(**config["model"])
        self.names, _, _ = pictures.emoji_index(root)
        path = run / "tokenizer.json"
        if not path.exists():
            train_tokenizer(self.corpus(), path, c.vocab)
        self.tokenizer = Tokenizer.from_file(str(path))
        c.vocab = self.tokenizer.get_vocab_size()
        self.memo: dict[str, list[int]] = {}
        self.model = blank(c)
        begin(self.model)
        self.encoder = Encoder()
        sets = [features.load(root, f"emoji-{k}") for k in range(config["views"])]
        keep = [np.array([i for i, (_, concept) in enumerate(m) if not episodes.held_out(concept)]) for _, _, m in sets]
        drawn = [m[i] for (_, _, m), rows in zip(sets, keep) for i in rows]
        pooled = np.concatenate([p[rows] for (_, p, _), rows in zip(sets, keep)]).astype(np.float32)
        self.model.vision_encoder.fit(torch.as_tensor(pooled), torch.tensor([concept for _, concept in drawn]),
                                      config["shrink"])

        def grids():
            for (g, _, _), rows in zip(sets, keep):
                for part in np.array_split(rows, len(rows) // 128):
                    yield g[part]

        self.cells = self.cached(run / "cells.npy", grids)
        self.rows: dict[int, dict[str, list[int]]] = {}  # concept -> style -> rows of cells
        for row, (style, concept) in enumerate(drawn):
            self.rows.setdefault(concept, {}).setdefault(style, []).append(row)
        self.rows = {k: v for k, v in self.rows.items() if len(v) > 1}
        self.concepts = sorted(self.rows)
        self.test, self.test_cells = self.tests(root, run)

    @staticmethod
    def corpus() -> list[str]:
        """What the tokenizer learns its pieces from: made-up names, questions, names as people use
        them."""
        rng = random.Random(0)
        made = [n for k in (2, 2, 3) for _ in range(10) for n in episodes.made_up(rng, 400, k)]
        return made + [n.capitalize() for n in made[::4]] + [ANSWER.format(q) for q in QUESTIONS] * 20

    @torch.no_grad()
    def cached(self, path: Path, grids) -> np.ndarray:
        """Cells [n,49,66] of grids (arrays [k,49,768]), in float16; kept at path."""
        if not path.exists():
            out = []
            for grid in grids():
                x = torch.as_tensor(grid[..., :320].astype(np.float32)).transpose(1, 2).unflatten(2, (7, 7))
                out.append(self.model.vision_encoder(self.encoder.act(self.encoder.head(x))).half().numpy())
            np.save(path, np.concatenate(out))
        return np.load(path)

    def tests(self, root: Path, run: Path):
        """The test's episodes, with rows of the test's cells for pictures, and those cells."""
        shots, queries = episodes.held_out_drawings(root)
        files = sorted({*queries.values(), *(f for fs in shots.values() for f in fs)})
        features.cache(root, "emoji-held-out", len(files),
                       ((pictures.flat_emoji(f), f.stem) for f in files),
                       Features(root / "encoder.onnx"))
        grid, _, _ = features.load(root, "emoji-held-out")
        cells = self.cached(run / "test-cells.npy", lambda: np.array_split(grid, len(grid) // 128))
        number = {f: i for i, f in enumerate(files)}
        return [{"n": e["n"], "answer": e["answer"], "image": number[e["image"]],
                 "shots": [(number[f], name) for f, name in e["shots"]],
                 "control": [(number[f], name) for f, name in e["control"]]}
                for e in episodes.test_episodes(root)], cells

    def plain(self, text: str) -> list[int]:
        if len(self.memo) > 50000:
            self.memo.clear()
        if text not in self.memo:
            self.memo[text] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return self.memo[text]

    def row(self, segments, question: str | None):
        """segments [(picture, name, learned), ...] -> (pictures, ids, targets): the loss is on the
        names that are learned."""
        asked = self.plain(ANSWER.format(question)) if question else []
        ids, targets = [], []
        for _, name, learned in segments:
            said = [*self.plain(name), IDS["end"]]
            ids += [IDS["media"], *asked, *said]
            targets += [-100] * len(asked) + (said if learned else [-100] * len(said)) + [-100]
        return [p for p, _, _ in segments], ids, targets

    def labels(self, rng: random.Random, concepts: list[int], kind: str) -> list[str]:
        """A name for each concept: "real", its own; "swapped", another's; "other", anything a user
        may come up with; "made"."""
        if kind == "real":
            return [self.names[c] for c in concepts]
        if kind == "swapped":
            return [self.names[c] for c in rng.sample(self.concepts, len(concepts))]
        if kind == "made":
            return episodes.made_up(rng, len(concepts))
        form = rng.random()
        if form < 0.3:
            return [f"{a} {b}" for a, b in zip(
                episodes.made_up(rng, len(concepts), rng.randint(1, 2)),
                episodes.made_up(rng, len(concepts)))]
        if form < 0.6:
            return episodes.made_up(rng, len(concepts), rng.choice([1, 3]))
        if form < 0.8:
            return ["".join(chr(rng.randint(33, 126)) for _ in range(rng.randint(2, 4))) for _ in concepts]
        return [n.capitalize() for n in episodes.made_up(rng, len(concepts))]

    def episode(self, rng: random.Random, mix: dict, kind: str):
        """Shots of some concepts, one or two pictures of each, then queries: other drawings of
        them, each with its name behind it, so that the next query has one example more."""
        n = rng.randint(1, 8)
        if rng.random() < 0.4:
            start = rng.randrange(len(self.concepts) - WINDOW)
            concepts = rng.sample(self.concepts[start:start + WINDOW], n)
        else:
            concepts = rng.sample(self.concepts, n)
        names, real = self.labels(rng, concepts, kind), kind == "real"
        order = list(range(n)) * (2 if n <= 4 and rng.random() < 0.3 else 1)
        rng.shuffle(order)
        if real and rng.random() < 0.5:
            order = order[:rng.randrange(n)]
        drawn: dict[int, set] = {}
        segments = []

        def add(i: int, learned: bool):
            styles = self.rows[concepts[i]]
            fresh = [s for s in styles if s not in drawn.setdefault(i, set())] or list(styles)
            style = rng.choice(fresh)
            drawn[i].add(style)
            segments.append((rng.choice(styles[style]), names[i], learned))

        for i in order:
            add(i, i in drawn or real)
        for _ in range(min(mix["queries"], MOST - len(order))):
            add(rng.randrange(n) if real or not order else rng.choice(order), True)
        return segments

    @staticmethod
    def question(rng: random.Random) -> str:
        if rng.random() < 0.3:  # any question will do
            return " ".join(episodes.made_up(rng, rng.randint(1, 4))) + rng.choice(["", "?"])
        return rng.choice(QUESTIONS)

    def padded(self, rows, cells):
        """(cells, which, ids, targets) of rows; cells are looked up in an array of them."""
        most, length = max(max(len(p) for p, _, _ in rows), 1), max(len(i) for _, i, _ in rows)
        seen = sorted({p for ps, _, _ in rows for p in ps})
        at = {p: i for i, p in enumerate(seen)}
        which = torch.full((len(rows), most), -1)
        ids, targets = torch.full((len(rows), length), IDS["pad"]), torch.full((len(rows), length), -100)
        for r, (ps, i, t) in enumerate(rows):
            which[r, :len(ps)] = torch.tensor([at[p] for p in ps])
            ids[r, :len(i)], targets[r, :len(t)] = torch.tensor(i), torch.tensor(t)
        return torch.as_tensor(cells[seen].astype(np.float32)), which, ids, targets

    def batch(self, rng: random.Random, stage: dict):
        # one kind of names in a batch, questions in all of its rows or none: they are of one length
        # then
        kind = rng.choices(["real", "swapped", "other", "made"],
                           [*(stage[k] for k in ("real", "swapped", "other")),
                            1 - stage["real"] - stage["swapped"] - stage["other"]])[0]
        asked = rng.random() < stage["asked"]
        return self.padded(
            [self.row(self.episode(rng, stage, kind), self.question(rng) if asked else None)
             for _ in range(stage["episodes"])], self.cells)

    def losses(self, batch, stage: dict):
        cells, which, ids, targets = batch
        where = targets >= 0
        out = self.model.lang_encoder.embed_out(hidden(self.model, cells, which, ids)[where])
        loss = F.cross_entropy(out, targets[where])
        return loss, {"loss": loss.item(), "accuracy": (out.argmax(-1) == targets[where]).float().mean().item()}

    def evaluate(self, limit: int | None) -> dict[str, float]:
        """Share of test episodes whose whole name greedy decoding gives, by the number of shots;
        control_N with shuffled pictures."""
        out = {}
        for n in episodes.SHOTS:
            part = [e for e in self.test if e["n"] == n][:limit and max(1, limit // len(episodes.SHOTS))]
            for kind in ("shots", "control")[:1 if n == 0 else 2]:
                right = []
                for start in range(0, len(part), 32):
                    rows = [self.row(
                        [*((p, name, False) for p, name in e[kind]),
                         (e["image"], e["answer"], True)], episodes.QUESTION)
                            for e in part[start:start + 32]]
                    cells, which, ids, targets = self.padded(rows, self.test_cells)
                    got = self.model.lang_encoder.embed_out(hidden(self.model, cells, which, ids)).argmax(-1)
                    right += ((got == targets) | (targets < 0)).all(1).tolist()
                out[f"{kind}_{n}"] = sum(right) / len(right)
        return out
