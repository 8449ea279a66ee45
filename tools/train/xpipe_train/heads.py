"""Attention heads of blip2-mini's language model that are given a start: what short training finds
late or not at all.

A stage's "heads" names what is set, from statistics of training scenes, when the stage begins;
training goes on from there and may change all of it. Heads of a small model that answer about
several things have to find the thing that a word names, carry what is known of it to that word, and
bring it to where the answer is said. Trained from nothing, each of these steps came after hundreds
of steps at the priors, or did not come.

    match   first layer: two heads whose queries (words of questions) and keys (cells) share the
            directions in which names differ; one
            prefers a matching cell to the word itself, the other does not quite, so that how much
                it looks at cells tells their number
    copy    the first of them: its values carry the colour's embedding and the place of the cell it
            found
    place   second layer: the second thing named reads where the first one is
    read    last layer: the end of a question reads the answer at the last thing named

Directions are found in closed form: singular vectors of cross-covariances, ridge regressions,
linear discriminants.
"""
import random

import torch

from . import scenes
from .data import CELL_COLOURS, SHAPES, SIDE, asked_of, by_length, padded

LOGIT = 10.0  # by how much a head prefers what it is to find
MATCH, COUNT = 2, 3  # heads of the first layer
KEPT = 20  # of 32 dimensions of a head's values that keep what they did when others are set


def ridge(x, y, strength=0.02):
    """(W, mean of x) with (x - mean) W near y - mean of y."""
    mean = x.mean(0)
    a = x - mean
    return torch.linalg.solve(a.T @ a + strength * len(a) * torch.eye(a.shape[1]), a.T @ (y - y.mean(0))), mean


def discriminant(a, b):
    """(direction, offset): rows of a give about 1, rows of b about 0."""
    centred = torch.cat([a - a.mean(0), b - b.mean(0)])
    v = torch.linalg.solve(centred.T @ centred / len(centred) + 0.05 * torch.eye(a.shape[1]), a.mean(0) - b.mean(0))
    v = v / (v @ (a.mean(0) - b.mean(0)))
    return v, -(v @ b.mean(0))


class Heads:
    """Sets heads of a model from the first scenes of a training set."""

    def __init__(self, model, codec, views, count=250, seed=3):
        self.model, self.codec, self.rng = model, codec, random.Random(seed)
        self.layers, self.size = model.lm.model.decoder.layers, model.c.width // model.c.heads
        self.scenes, self.names, self.colours = (views.labels[:count],
                                                 torch.as_tensor(views.names[:count].astype(int)),
                                                 torch.as_tensor(views.colours[:count].astype(int)))
        self.images = tuple(torch.as_tensor(getattr(views, f)[:count].astype(t))
                            for f, t in (("grid", "float32"), ("pooled", "float32"),
                                         ("ids", "int64"), ("probs", "float32")))
        self.subjects = {codec.plain(w)[-1] for w in [*scenes.CONCEPTS,
                                                      *map(scenes.plural, scenes.CONCEPTS), *SHAPES,
                                                      *CELL_COLOURS]}
        self.word = {codec.plain(w)[-1]: w for w in scenes.CONCEPTS}

    @torch.no_grad()
    def set(self, names: list[str]) -> None:
        training, bound = self.model.training, self.model.qformer.bound
        self.model.eval()
        self.model.qformer.bound = False
        for n in names:
            getattr(self, n)()
        self.model.train(training)
        self.model.qformer.bound = bound

    def seen(self, layer: int, asked):
        """What attention of a layer reads (behind its norm): of the prefix [n,P,D], and of each
        text [T,D]."""
        kept: list = []
        hook = self.layers[layer].self_attn_layer_norm.register_forward_hook(lambda m, i, out: kept.append(out))
        prefix = self.model.prefix(self.model.query_output(self.model.image_embeds(*self.images)[0]))
        texts = []
        for part in by_length(asked):
            self.model.text_loss(prefix, *padded(part))
            texts += list(zip(part, kept[-1]))
        hook.remove()
        return kept[0], texts

    def head(self, layer: int, h: int):
        """(queries, keys, values, out) of a head as views: three [size,D] weights with biases
        [size], and [D,size]."""
        a, rows = self.layers[layer].self_attn, slice(h * self.size, (h + 1) * self.size)
        out = a.out_proj
        return ([(p.weight.data[rows], p.bias.data[rows]) for p in (a.q_proj, a.k_proj, a.v_proj)],
                out.weight.data[:, rows], out.bias.data)

    def keep(self, values, out, bias, count: int):
        """The head's strongest dimensions first, the rest free; what its value biases gave moves to
        the layer's bias."""
        bias += out @ values[1]
        u, s, v = torch.linalg.svd(out @ values[0])
        values[0][:count], out[:, :count] = (v[:count].T * s[:count].sqrt()).T, u[:, :count] * s[:count].sqrt()
        values[1].zero_()

    def idle(self, layer: int) -> int:
        """The head that scenes and their questions miss least."""
        asked = self.asked(2)
        out, costs = self.layers[layer].self_attn.out_proj.weight.data, []
        prefix = self.model.prefix(self.model.query_output(self.model.image_embeds(*self.images)[0]))
        rows = padded(asked[:400])
        for h in range(self.model.c.heads):
            cut = slice(h * self.size, (h + 1) * self.size)
            was = out[:, cut].clone()
            out[:, cut] = 0
            costs.append(float(self.model.text_loss(prefix, *rows)[0]))
            out[:, cut] = was
        return min(range(len(costs)), key=costs.__getitem__)

    def asked(self, each: int):
        return [(i, *self.codec.answer(q, a), k) for i, s in enumerate(self.scenes)
                for k, q, a in asked_of(s, self.rng, each)]

    def match(self):
        wording = ("how many {s} are there?", "is there a {w}?", "what color is the {w}?")
        asked = [(0, *self.codec.answer(f.format(w=w, s=scenes.plural(w)), "0"), i)
                 for i, w in enumerate(scenes.CONCEPTS) for f in wording]
        prefix, texts = self.seen(0, asked)
        words, which, others = [], [], [prefix[:, :self.model.c.queries].flatten(0, 1),
                                        prefix[:, -self.model.c.concept_tokens:].flatten(0, 1)]
        for (_, tokens, targets, i), x in texts:
            at = max(n for n, t in enumerate(tokens) if t in self.subjects)
            words.append(x[at])
            which.append(i)
            others.append(torch.cat([x[:at], x[at + 1:len(tokens)]]))
        words, which = torch.stack(words), torch.tensor(which)
        cells = prefix[:, self.model.c.queries:-self.model.c.concept_tokens]
        things, names = cells[self.names > 0], self.names[self.names > 0] - 1
        shown = names.unique()
        w, c = (torch.stack([x[y == i].mean(0) for i in shown]) for x, y in ((words, which), (things, names)))
        u, _, v = torch.linalg.svd((w - w.mean(0)).T @ (c - c.mean(0)))
        n, root = self.size - 1, self.size ** 0.5
        q, k = u[:, :n].T, v[:n]
        logits = (words - w.mean(0)) @ q.T @ ((things - c.mean(0)) @ k.T).T / root
        same = which[:, None] == names[None]
        scale = (6 / (logits[same].mean() - logits[~same].mean())) ** 0.5
        rest = torch.cat([cells[self.names == 0], words, *others])
        mark, offset = discriminant(things, rest)
        for h, bonus in ((MATCH, 6.0), (COUNT, 1.0)):
            (query, key, _), _, _ = self.head(0, h)
            query[0][:n], query[1][:n] = q * scale, -(q @ w.mean(0)) * scale
            query[0][n], query[1][n] = 0, 1
            key[0][:n], key[1][:n] = k * scale, -(k @ c.mean(0)) * scale
            key[0][n], key[1][n] = mark * bonus * root, offset * bonus * root

    def copy(self):
        prefix, _ = self.seen(0, [])
        there = self.names > 0
        things, tint = prefix[:, self.model.c.queries:-self.model.c.concept_tokens][there], self.colours[there]
        at = torch.arange(SIDE * SIDE).expand(len(there), -1)[there]
        place = torch.stack([at % SIDE, at // SIDE], -1) * (2 / (SIDE - 1)) - 1
        e = self.model.table[[self.codec.plain(w)[-1] for w in CELL_COLOURS]]
        colour = torch.where((tint > 0)[:, None], (e - e.mean(0))[(tint - 1).clamp(min=0)], 0.0)
        (wc, mean), (wp, _) = ridge(things, colour), ridge(things, place)
        u, s, v = torch.linalg.svd(wc)
        _, out, bias = self.head(0, MATCH)
        values = self.head(0, MATCH)[0][2]
        self.keep(values, out, bias, KEPT)
        n = self.size - KEPT - 2
        values[0][KEPT:] = torch.cat([(u[:, :n] * s[:n].sqrt()).T, wp.T])
        values[1][KEPT:] = -(values[0][KEPT:] @ mean)
        out[:, KEPT:] = torch.cat(
            [v[:n].T * s[:n].sqrt() * 1.5, torch.linalg.qr(torch.randn(len(e[0]), 2))[0] * 1.2], 1)

    def _aimed(self, layer: int, h: int, query, key):
        """The head's queries and keys made to look from what query tells to what key tells; small
        noise, so that the rest can learn."""
        (q, k, _), _, _ = self.head(layer, h)
        gain = (LOGIT * self.size ** 0.5) ** 0.5
        for (w, b), (v, offset) in ((q, query), (k, key)):
            w.normal_(std=0.02)
            b.zero_()
            w[0], b[0] = v * gain, offset * gain

    def place(self):
        layer, asked = 1, []
        for i, s in enumerate(self.scenes):
            by = {t.concept: t for t in s.single()}
            for _, q, a in [q for q in scenes.questions(s, self.rng, each=6) if q[0] == "relation"]:
                tokens, targets = self.codec.answer(q, a)
                named = [n for n, t in enumerate(tokens) if t in self.word and targets[n] < 0]
                if len(named) == 2:
                    asked.append((i, tokens, targets, (named, by[self.word[tokens[named[0]]]])))
        prefix, texts = self.seen(layer, asked)
        first, second = (torch.stack([x[t[3][0][n]] for t, x in texts]) for n in (0, 1))
        where = torch.tensor([[t[3][1].x, t[3][1].y] for t, _ in texts]) * (2 / scenes.SIDE) - 1
        others = torch.cat([prefix.flatten(0, 1)[::8]] + [
            x[[n for n in range(len(t[1])) if n not in t[3][0]]] for t, x in texts])
        h = self.idle(layer)
        self._aimed(layer, h, discriminant(second, torch.cat([others, first])),
                    discriminant(first, torch.cat([others, second])))
        w, mean = ridge(first, where)
        (_, _, values), out, bias = self.head(layer, h)
        bias += out @ values[1]
        values[0].normal_(std=0.02)
        values[1].zero_()
        out.normal_(std=0.02)
        values[0][:2], values[1][:2], out[:, :2] = w.T, -(w.T @ mean), torch.linalg.qr(torch.randn(len(mean), 2))[0] * 2

    def read(self):
        layer = len(self.layers) - 1
        prefix, texts = self.seen(layer, self.asked(3))
        subject, end, answers, kinds, others = [], [], [], [], [prefix.flatten(0, 1)[::8]]
        for (_, tokens, targets, kind), x in texts:
            last = next(n for n, t in enumerate(targets) if t >= 0)
            at = max((n for n in range(last) if tokens[n] in self.subjects), default=None)
            if at is not None:
                subject.append(x[at])
                end.append(x[last])
                answers.append(targets[last])
                kinds.append(kind)
                others.append(x[[n for n in range(last) if n != at]])
        subject, end, others = torch.stack(subject), torch.stack(end), torch.cat(others)
        h = self.idle(layer)
        self._aimed(layer, h, discriminant(end, others), discriminant(subject, others))
        w, mean = ridge(subject, self.model.table[answers])
        u, s, v = torch.linalg.svd(w)
        (_, _, values), out, bias = self.head(layer, h)
        bias += out @ values[1]
        n = self.size
        values[0][:], out[:] = (u[:, :n] * s[:n].sqrt()).T, v[:n].T * s[:n].sqrt() * 2
        values[1][:] = -(values[0] @ mean)
