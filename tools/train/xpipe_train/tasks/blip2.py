"""blip2-mini: a BLIP-2 of small parts over a frozen encoder (model.py), trained on cached features
(data.py).

A stage says how many pictures of each kind a batch has (emoji, shapes, scenes, photos; `more`
scenes for their cells alone), the questions of a shape, how many of each kind a scene is asked
(each), and the weight of each loss:

    cells   each cell names what has its centre there, its colour, and how far off the centre is
            (word-region alignment)
    itc     emoji against all names (contrastive)
    text    captions and answers
    early   an answer's first word at every position from the question's last subject on: deep
            supervision of the word that finds its cell

"heads" names heads of the language model that are set when the stage begins (heads.py). "bound":
false saves the bound queries' work while the gate of fusion "gated" hardly lets them through.

Keys of the config: model (MiniConfig), shrink (of the discriminant), views (cached sets used, by
kind: emoji, shapes, scenes; all where not named), noise (standard deviation of what is added to
standardised features of cells in training).
"""
import json
import random
from pathlib import Path

import torch
from torch.nn import functional as F

from .. import pictures, scenes
from ..data import CELL_COLOURS, CELL_NAMES, SHAPES, Data, corpus, question_words
from ..encoder import Encoder
from ..heads import Heads
from ..model import Blip2Mini, MiniConfig
from ..text import IDS, Codec, extend, imagenet_names, train_tokenizer


def padded_ids(rows: list[list[int]], fill: int, length: int | None = None) -> torch.Tensor:
    length = length or max(map(len, rows))
    return torch.tensor([(r + [fill] * length)[:length] for r in rows])


class Task:
    def __init__(self, config: dict, root: Path, run: Path):
        c = MiniConfig(**config["model"])
        c.cell_names, c.cell_colours = CELL_NAMES, CELL_COLOURS
        tokenizer = run / "tokenizer.json"
        if not tokenizer.exists():
            train_tokenizer(*corpus(root), tokenizer, c.vocab)
            extend(tokenizer, question_words(), tokenizer)
        self.codec = codec = Codec(tokenizer)
        c.vocab = codec.tok.get_vocab_size()
        classifier = Encoder().classifier
        self.data = data = Data(root, codec, classifier, config["shrink"], config.get("views"))
        c.emoji = len(data.names)
        names = [codec.plain(n) for n in imagenet_names() + data.names]
        torch.manual_seed(config["seed"])
        self.model = model = Blip2Mini(c, padded_ids(names, IDS["pad"], c.concept_words),
                                       padded_ids([codec.plain(n) for n in CELL_NAMES], -1),
                                       padded_ids([codec.plain(n) for n in CELL_COLOURS], -1),
                                       classifier, IDS)
        data.heads.install(model.concepts)
        some = [(s, i) for s, v in enumerate(data.sets) for i in range(0, len(v.labels), max(1, len(v.labels) // 150))]
        grid, pooled, _, _ = data.arrays(data.sets, some)
        for at, prefix, x in ((model.neck.cells, "", grid.flatten(0, 1)), (model.neck, "pooled_", pooled)):
            getattr(at, prefix + "mean").copy_(x.mean(0))
            getattr(at, prefix + "std").copy_(x.std(0) + 1e-3)
        self.begun: set[str] = set()  # stages
        self.noise = config.get("noise", 0.0)
        print(f"{len(data.emoji)} emoji views, {len(data.shapes)} shape views, "
              f"{sum(len(s.labels) for s in data.scenes)} scenes; discriminant on "
              f"left-out styles {data.heads.accuracy:.3f}, temperature "
              f"{data.heads.temperature:.4f}; {c.vocab} tokens",
              flush=True)

    def load(self, state):
        self.data.heads.install(self.model.concepts)  # there may be more views now than then
        self.begun = set(state["begun"])

    def state(self):
        return {"begun": sorted(self.begun)}

    def warm_start(self, weights: dict) -> None:
        """Takes over what fits of another checkpoint: the heads are refitted anyway; new tokens
        start as the mean of what they are made of, plurals as their singulars."""
        model = self.model
        own = model.state_dict()
        weights = {k: v for k, v in weights.items() if not k.startswith("concepts.")
                   and k not in ("words.words", "neck.names", "neck.colours")}
        table = weights["lm.model.decoder.embed_tokens.weight"]
        for name in ("lm.model.decoder.embed_tokens.weight", "lm.lm_head.weight"):
            weights[name] = self._grown(table)
        fitting = {k: v for k, v in weights.items() if k in own and v.shape == own[k].shape}
        print("starts from another checkpoint but for",
              sorted({".".join(k.split(".")[:3]) for k in own if k not in fitting
                      and not k.startswith("concepts.")}))
        model.load_state_dict(own | fitting)

    def _grown(self, table):
        """The embeddings of the tokens that the tokenizer has now."""
        spec = json.loads(self.codec.tok.to_str())["model"]
        count = self.model.c.vocab - len(table)
        merges = [m.split(" ") if isinstance(m, str) else m for m in spec["merges"]]
        more = merges[len(merges) - count:]
        out = torch.cat([table, torch.zeros(count, table.shape[1])])
        for a, b in more:
            out[spec["vocab"][a + b]] = (out[spec["vocab"][a]] + out[spec["vocab"][b]]) / 2
        for word in scenes.CONCEPTS:
            many = self.codec.plain(scenes.plural(word))
            if len(many) == 1 and many[0] >= len(table):
                out[many[0]] = out[self.codec.plain(word)].mean(0)
        return out

    def batch(self, rng: random.Random, stage: dict):
        if stage.get("heads") and stage["name"] not in self.begun:
            Heads(self.model, self.codec, self.data.scenes[0]).set(stage["heads"])
        self.begun.add(stage["name"])
        return self.data.batch(rng, *(stage.get(k, 0) for k in (
            "emoji", "shapes", "scenes", "photos", "questions", "each", "more")))

    def losses(self, batch: dict, stage: dict):
        model = self.model
        model.qformer.bound = stage.get("bound", True)
        grid, pooled, ids, probs = batch["images"]
        grid = self.noisy(grid)
        weight = {k: stage.get(k + "_loss", 0.0) for k in ("cells", "itc", "text", "early")}
        shown, loss = {}, grid.new_zeros(())
        if not weight["itc"] and not weight["text"]:
            said = model.neck.cells(grid)
        else:
            embeds, said = model.image_embeds(grid, pooled, ids, probs)
            q = model.query_output(embeds)
            labels = batch["labels"]
            if weight["itc"] and len(labels):
                itc = F.cross_entropy(
                    model.itc_logits(q[:len(labels)], self.data.name_tokens.to(q.device)), labels,
                    label_smoothing=0.05)
                loss, shown["itc"] = loss + weight["itc"] * itc, itc.item()
            if weight["text"]:
                text, early, right = text_losses(model, q, batch["texts"], bool(weight["early"]))
                loss, shown = (loss + weight["text"] * text + weight["early"] * early,
                               shown | {"text": text.item(), "early": early.item()} | right)
        if weight["cells"]:
            want = batch["cells"]
            if batch["more"]:
                spare, more = batch["more"]
                said = tuple(torch.cat(x) for x in zip(said, model.neck.cells(self.noisy(spare))))
                want = tuple(torch.cat(x) for x in zip(want, more))
            cells, figures = cell_losses(said, want)
            loss, shown = loss + weight["cells"] * cells, shown | figures
        return loss, shown

    def noisy(self, grid):
        return grid + torch.randn_like(grid) * self.model.neck.cells.std * self.noise if self.noise else grid

    def evaluate(self, limit: int | None, emoji=None) -> dict[str, float]:
        """Held-out style: emoji exact; scenes by kind, and how many things their cells name right.
        easy-VQA's test questions."""
        model, data, codec, rng = self.model, self.data, self.codec, random.Random(0)
        device = model.query_tokens.device
        model.qformer.bound = True
        test = emoji or data.emoji_test
        rows = list(range(len(test.labels)))
        rows = rows if limit is None else rng.sample(rows, min(limit, len(rows)))
        right = 0
        for start in range(0, len(rows), 128):
            part = rows[start:start + 128]
            q = self._query_output(test, part, device)
            got = model.generate(q, [codec.prompt(None)] * len(part), list(range(len(part))), IDS["eos"])
            right += sum(codec.decode(g) == data.names[test.labels[i]] for g, i in zip(got, part))
        figures = {"emoji": right / len(rows)}
        _, asked = pictures.easy_vqa("test")
        if limit is not None:
            asked = rng.sample(asked, limit * 2)
        place = {i: n for n, i in enumerate(data.shapes_test.labels)}
        kind = lambda a: "yes/no" if a in ("yes", "no") else "shape" if a in SHAPES else "colour"
        figures |= self._asked("easy-VQA", data.shapes_test, [(place[i], kind(a), q, a) for q, a, i in asked], device)
        rows = range(len(data.scenes_test.labels) if limit is None else min(limit // 2, len(data.scenes_test.labels)))
        figures |= self._asked("scenes", data.scenes_test,
                               [(i, *a) for i in rows for a in data.scenes_test.labels[i]["asked"]],
                               device)
        said = [0, 0, 0]
        for start in range(0, len(rows), 64):  # what the cells say by themselves
            part = [(0, i) for i in rows[start:start + 64]]
            names, colours, _ = model.neck.cells(data.arrays([data.scenes_test], part)[0].to(device))
            want, tint, _ = (t.to(device) for t in data.cells([data.scenes_test], part))
            there = want > 0
            said[0] += int(there.sum())
            said[1] += int((names.argmax(-1) == want)[there].sum())
            said[2] += int((colours.argmax(-1) == tint)[there].sum())
        return figures | {"cells named": said[1] / said[0], "cells coloured": said[2] / said[0]}

    def _query_output(self, test, rows, device):
        images = (t.to(device) for t in self.data.arrays([test], [(0, i) for i in rows]))
        return self.model.query_output(self.model.image_embeds(*images)[0])

    def _asked(self, name, test, asked, device) -> dict[str, float]:
        """asked is [(row of test, kind, question, answer)]; the share of right answers, in all and
        by kind."""
        by: dict[str, list] = {}
        asked = sorted(asked, key=lambda r: r[0])
        for start in range(0, len(asked), 512):
            part = asked[start:start + 512]
            images = sorted({r[0] for r in part})
            q = self._query_output(test, images, device)
            number = {i: n for n, i in enumerate(images)}
            got = self.model.generate(q, [self.codec.prompt(r[2]) for r in part],
                                      [number[r[0]] for r in part], IDS["eos"], 4)
            for g, r in zip(got, part):
                by.setdefault(r[1], []).append(self.codec.decode(g) == r[3])
        everything = [r for v in by.values() for r in v]
        kinds = {f"{name} {k}": sum(v) / len(v) for k, v in sorted(by.items())}
        return {name: sum(everything) / len(everything)} | kinds


def text_losses(model, query_output, parts, with_early=False):
    """Mean loss over the target tokens of all parts, that over their early targets, and of each
    kind of text the share whose first token would be right."""
    prefix = model.prefix(query_output)
    loss, early, count, soon = 0, query_output.new_zeros(()), 0, 0
    right: dict[str, list] = {}
    for image, tokens, targets, before, kinds in parts:
        n, m = int((targets >= 0).sum()), int((before >= 0).sum())
        part_loss, hits, part_early = model.text_loss(prefix, image, tokens, targets, before if with_early else None)
        loss, early, count, soon = loss + part_loss * n, early + part_early * m, count + n, soon + m
        for kind, hit in zip(kinds, hits.tolist()):
            right.setdefault(kind, []).append(hit)
    return loss / count, early / max(1, soon), {k: sum(v) / len(v) for k, v in sorted(right.items())}


def cell_losses(said, cells):
    """Names of all cells, colours and centres of those that hold a thing; summed, for each thing
    there is.

    (loss, {share of things named right, of things coloured right, of empty cells called so})"""
    names, colours, centre = said
    want, tint, place = cells
    there = want > 0
    things = there.sum().clamp(min=1)
    loss = F.cross_entropy(names.flatten(0, 1), want.flatten(), ignore_index=-1, reduction="sum") / things
    known = tint >= 0
    if known.any():
        loss = loss + F.cross_entropy(colours[known], tint[known], reduction="sum") / things
        loss = loss + (centre[there] - place[there]).abs().sum() / things
    with torch.no_grad():
        guess, nothing = names.argmax(-1), want == 0
        shown = {"cells": loss.item(), "named": float((guess == want)[there].float().mean()),
                 "nothing": float((guess == want)[nothing].float().mean())}
        if known.any():
            shown["coloured"] = float((colours.argmax(-1) == tint)[known].float().mean())
    return loss, shown
