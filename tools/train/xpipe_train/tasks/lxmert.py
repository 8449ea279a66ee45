"""lxmert-mini: questions about scenes, answered from regions.

transformers' LxmertForQuestionAnswering at small size. A region's features are those of the frozen
trunk (lxmert_crops) through a small trained map, the Eye, which becomes part of the bundle's region
encoder. Scenes are laid out from cached crops without being drawn, so no two batches are alike. The
first region is always the picture as a whole: attention has somewhere to go where nothing matches,
without which averages cannot count.

The config's own keys: "held_out", styles kept for evaluation, and in a stage "scenes" a batch,
"each" questions of a kind or "kinds" {kind: number}, and the weights "see" (what a region is and
which colour it has), "align" (a region against the words) and "ask" (which regions the question
names first and second, from what they are before the last cross layer), "tell" (which colour the
one region has that a noun names, and where it is, from the noun's state before the last cross
layer).
"""
import random
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import nn
from torch.nn import functional
from transformers import LxmertConfig, LxmertForQuestionAnswering

from .. import scenes
from ..lxmert_crops import FEATURES, test_set
from ..scenes import ANSWERS, CONCEPTS, FORMS, KINDS, PHRASES, SIDE, TINTS, plural
from ..sources import TRAIN_STYLES

WORDS, COLOURS = list(CONCEPTS), list(TINTS)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MAX_TEXT = 20
ALIGN = 0.5  # scale of the alignment's logits


def train_tokenizer(path: Path, vocab: int) -> Tokenizer:
    """A BERT-style WordPiece tokenizer in which every word of the questions is a token."""
    rng = random.Random(0)
    texts = [scenes._ask(form, rng, w, o, rng.choice(list(PHRASES))) for w in WORDS for o in WORDS for form in FORMS]
    texts += [f"{c} {w} {plural(w)}" for w in WORDS for c in COLOURS]
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece()
    tok.train_from_iterator(texts, trainers.WordPieceTrainer(
        vocab_size=vocab, special_tokens=SPECIAL, show_progress=False,
        initial_alphabet=list("abcdefghijklmnopqrstuvwxyz0123456789?!.,'-")))
    ids = {s: tok.token_to_id(s) for s in ("[CLS]", "[SEP]")}
    tok.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]",
                                                       pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                                       special_tokens=list(ids.items()))
    tok.save(str(path))
    return tok


class Eye(nn.Module):
    """Trunk features [..., F] -> visual_feats [..., D]."""

    def __init__(self, width: int, out: int, dropout: float):
        super().__init__()
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("scale", torch.ones(FEATURES))
        self.drop, self.drop2 = nn.Dropout(dropout), nn.Dropout(dropout)
        self.up, self.out, self.norm = nn.Linear(FEATURES, width), nn.Linear(width, out), nn.LayerNorm(out)

    def forward(self, features):
        x = self.drop((features - self.mean) * self.scale)
        return self.norm(self.out(self.drop2(functional.gelu(self.up(x)))))


class Model(nn.Module):
    def __init__(self, c: dict, vocab: int):
        super().__init__()
        self.eye = Eye(c["eye"], c["features"], c["eye_dropout"])
        self.concept, self.tint = nn.Linear(c["features"], len(WORDS)), nn.Linear(c["features"], len(COLOURS) + 1)
        self.asked, self.told = nn.Linear(c["width"], 3), nn.Linear(c["width"], len(COLOURS) + 1 + 2)
        self.lxmert = LxmertForQuestionAnswering(
            LxmertConfig(
                vocab_size=vocab, hidden_size=c["width"], num_attention_heads=c["heads"],
                intermediate_size=c["ff"], num_qa_labels=len(ANSWERS),
                l_layers=c["l_layers"], r_layers=c["r_layers"], x_layers=c["x_layers"],
                visual_feat_dim=c["features"], max_position_embeddings=MAX_TEXT,
                initializer_range=c["init"], hidden_dropout_prob=c["dropout"],
                attention_probs_dropout_prob=c["dropout"], attn_implementation="eager"))
        first = self.lxmert.lxmert.encoder.x_layers[0].visual_attention.att
        for linear in (first.query, first.key):  # a word finds what is like it from the first step
            nn.init.eye_(linear.weight)

    def forward(self, features, boxes, there, ids, mask, scene):
        seen = self.eye(features)
        out = self.lxmert(input_ids=ids, attention_mask=mask, visual_feats=seen[scene],
                          visual_pos=boxes[scene], visual_attention_mask=there[scene],
                          output_hidden_states=True)
        # the states after the cross layer before the last
        return (seen, out.question_answering_score, self.asked(out.vision_hidden_states[-2]),
                self.told(out.language_hidden_states[-2]))


class Crops:
    """The cached crops of a style, by what they show."""

    def __init__(self, path: Path):
        z = np.load(path)
        self.features, self.whole = z["features"], z["whole"]
        self.at: dict[int, dict[int, list[int]]] = {}
        for i, (c, t) in enumerate(zip(z["concept"].tolist(), z["tint"].tolist())):
            self.at.setdefault(c, {}).setdefault(t, []).append(i)
        self.words = [WORDS[c] for c in self.at]


class Task:
    def __init__(self, config: dict, root: Path, run: Path):
        self.config, self.root = config, root
        tokenizer = run / "tokenizer.json"
        self.tok = (Tokenizer.from_file(str(tokenizer)) if tokenizer.exists()
                    else train_tokenizer(tokenizer, config["model"]["vocab"]))
        self.styles = {s: Crops(root / f"lxmert/{s}.npz") for s in TRAIN_STYLES}
        self.held = config.get("held_out", [])
        self.train = [s for s in TRAIN_STYLES if s not in self.held]
        self.model = Model(config["model"], self.tok.get_vocab_size())
        x = np.concatenate([self.styles[s].features for s in self.train]).astype(np.float32)
        self.model.eye.mean.copy_(torch.tensor(x.mean(0)))
        self.model.eye.scale.copy_(torch.tensor(1 / (x.std(0) + 0.05)))
        self.names = torch.tensor([[self._word(w), self._word(plural(w))] for w in WORDS])  # [concepts,2] token ids
        self.test = None

    def _word(self, word):
        ids = self.tok.encode(word, add_special_tokens=False).ids
        assert len(ids) == 1, (word, ids)
        return ids[0]

    def scene(self, rng: random.Random, styles, stage):
        """(scene, features [n+1,F], boxes [n+1,4], concepts, tints); the first region is the
        picture as a whole."""
        style = self.styles[rng.choice(styles)]
        s = scenes.layout(rng, style.words)
        features, boxes, concepts, tints = ([style.whole[rng.randrange(len(style.whole))]],
                                            [(0, 0, SIDE, SIDE)], [-100], [-100])
        for t in s.things:
            c = WORDS.index(t.concept)
            source = self.styles[rng.choice(styles)] if rng.random() < 0.1 else style
            if c not in source.at:
                source = style
            known = source.at[c]
            tint = COLOURS.index(t.tint) if t.tint else -1
            if tint not in known:
                tint = rng.choice(list(known))
            t.tint = COLOURS[tint] if tint >= 0 else None
            features.append(source.features[rng.choice(known[tint])])
            shape = rng.choice(((1, 1), (1, rng.uniform(0.5, 1)), (rng.uniform(0.5, 1), 1)))
            w, h = t.side * shape[0] / 2, t.side * shape[1] / 2
            boxes.append(tuple(min(SIDE, max(0, v + rng.uniform(-3, 3))) for v in (t.x - w, t.y - h, t.x + w, t.y + h)))
            concepts.append(c)
            tints.append(tint)
        return s, features, boxes, concepts, tints

    def batch(self, rng: random.Random, stage: dict, styles=None, count=None):
        styles = styles or self.train
        if "crops" in stage:
            return self._crops(rng, styles, stage["crops"])
        made, asked = [], []
        for n in range(count or stage["scenes"]):
            s, *regions = self.scene(rng, styles, stage)
            order = [0, *rng.sample(range(1, len(regions[0])), len(regions[0]) - 1)]
            made.append([[r[i] for i in order] for r in regions])
            kinds = stage.get("kinds") or {k: stage["each"] for k in KINDS}
            some = scenes.questions(s, rng, each=max(kinds.values()))
            for k, most in kinds.items():
                asked += [(n, k, q, a) for q, a in [(q, a) for kind, q, a in some if kind == k][:most]]
        return pack(made, asked, self.tok)

    def _crops(self, rng, styles, count):
        """Single crops, before there are questions."""
        rows = []
        for _ in range(count):
            style = self.styles[rng.choice(styles)]
            c = rng.choice(list(style.at))
            t = rng.choice(list(style.at[c]))
            rows.append((style.features[rng.choice(style.at[c][t])], c, t))
        f, c, t = zip(*rows)
        return {"features": torch.tensor(np.float32(f))[:, None],
                "concepts": torch.tensor(c)[:, None], "tints": torch.tensor(t)[:, None]}

    def losses(self, batch, stage):
        m = self.model
        if "crops" in stage:
            see, align = self._names(m.eye(batch["features"]), batch)
            return see * stage["see"] + align * stage["align"], {"see": see.item(), "align": align.item()}
        seen, logits, asked, told = m(*(batch[k] for k in ("features", "boxes", "there", "ids", "mask", "scene")))
        answer = functional.cross_entropy(logits, batch["answers"])
        see, align = self._names(seen, batch)
        asked = functional.cross_entropy(asked.flatten(0, 1), batch["asked"].flatten())
        tell = self._told(told, batch)
        total = answer + asked * stage["ask"] + tell * stage["tell"] + see * stage["see"] + align * stage["align"]
        right = logits.argmax(-1) == batch["answers"]
        kinds = batch["kinds"]
        shown = {k: right[kinds == i].float().mean().item() for i, k in enumerate(KINDS) if (kinds == i).any()}
        return total, {"answer": answer.item(), "ask": asked.item(), "tell": tell.item(),
                       "see": see.item(), "align": align.item(), **shown}

    def _names(self, seen, batch):
        """The losses of naming regions: by the two heads, and by the embeddings of the question's
        words."""
        m = self.model
        flat, concepts, tints = seen.flatten(0, 1), batch["concepts"].flatten(), batch["tints"].flatten()
        see = (functional.cross_entropy(m.concept(flat), concepts, label_smoothing=0.05)
               + functional.cross_entropy(m.tint(flat),
                                          torch.where(tints == -1, len(COLOURS), tints),
                                          label_smoothing=0.05))
        fc = m.lxmert.lxmert.encoder.visn_fc
        picture = fc.visn_layer_norm(fc.visn_fc(flat))
        words = m.lxmert.lxmert.embeddings.word_embeddings.weight[self.names.to(flat.device)]
        align = sum(functional.cross_entropy(picture @ words[:, i].T * ALIGN, concepts) for i in range(2)) / 2
        return see, align

    def _told(self, told, batch):
        """The loss of what a noun's state says of the one region it names: its colour and its
        middle."""
        rows, at, regions = batch["named"].T
        said, scene = told[rows, at], batch["scene"][rows]
        tints, boxes = batch["tints"][scene, regions], batch["boxes"][scene, regions]
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        colour = functional.cross_entropy(said[:, :-2], torch.where(tints == -1, len(COLOURS), tints))
        return colour + 5 * functional.smooth_l1_loss(said[:, -2:], middle, beta=0.1)

    def warm_start(self, weights):
        self.model.load_state_dict(weights, strict=False)

    def evaluate(self, limit):
        rng = random.Random(99)
        styles = self.held or self.train
        stage = {"each": 2, "see": 0}
        parts = [self.batch(rng, stage, styles, 50) for _ in range(4 if limit else 10)]
        out = score(self.model, parts)
        if limit is None:
            if self.test is None:
                made, asked = test_set(self.root)
                self.test = [
                    pack(made[i:i + 50], [(n - i, *rest) for n, *rest in asked if i <= n < i + 50],
                         self.tok) for i in range(0, len(made), 50)]
            out |= {f"test {k}": v for k, v in score(self.model, self.test).items()}
        return out


NOUNS = {form: i for i, w in enumerate(WORDS) for form in (w, plural(w))}


def nouns(question: str) -> list[int]:
    """The concepts a question names, in their order."""
    return [NOUNS[w] for w in question.rstrip("?").split() if w in NOUNS]


def pack(made, asked, tok):
    """Regions of scenes and questions about them as tensors, padded on the right."""
    most = max(len(m[0]) for m in made)
    width = len(made[0][0][0])
    features, boxes = np.zeros((len(made), most, width), np.float32), np.zeros((len(made), most, 4), np.float32)
    there, concepts, tints = (np.zeros((len(made), most), np.int64),
                              np.full((len(made), most), -100), np.full((len(made), most), -100))
    for i, (f, b, c, t) in enumerate(made):
        n = len(f)
        features[i, :n], boxes[i, :n], there[i, :n], concepts[i, :n], tints[i, :n] = f, np.float32(b) / SIDE, 1, c, t
    wanted, named = np.full((len(asked), most), -100), []
    for i, (n, _, q, _) in enumerate(asked):
        mentioned = nouns(q)
        for r, c in enumerate(made[n][2]):
            wanted[i, r] = mentioned.index(c) + 1 if c in mentioned else 0
        places = [p for p, t in enumerate(tok.encode(q).tokens) if t in NOUNS]
        named += [(i, p, made[n][2].index(c)) for p, c in zip(places, mentioned) if made[n][2].count(c) == 1]
    ids = [tok.encode(q).ids[:MAX_TEXT] for _, _, q, _ in asked]
    longest = max(map(len, ids))
    return {"features": torch.tensor(features), "boxes": torch.tensor(boxes),
            "there": torch.tensor(there), "concepts": torch.tensor(concepts),
            "tints": torch.tensor(tints),
            "ids": torch.tensor([x + [0] * (longest - len(x)) for x in ids]),
            "mask": torch.tensor([[1] * len(x) + [0] * (longest - len(x)) for x in ids]),
            "scene": torch.tensor([n for n, *_ in asked]), "asked": torch.tensor(wanted),
            "named": torch.tensor(named).reshape(-1, 3),
            "answers": torch.tensor([ANSWERS.index(a) for *_, a in asked]),
            "kinds": torch.tensor([KINDS.index(k) for _, k, _, _ in asked])}


def score(model, parts) -> dict[str, float]:
    """Share of right answers by kind, and of things and colours named right."""
    right: dict[str, list] = {}
    device = next(model.parameters()).device
    for b in parts:
        b = {k: v.to(device) for k, v in b.items()}
        seen, logits, *_ = model(*(b[k] for k in ("features", "boxes", "there", "ids", "mask", "scene")))
        ok = logits.argmax(-1) == b["answers"]
        for i, k in enumerate(KINDS):
            right.setdefault(k, []).extend(ok[b["kinds"] == i].tolist())
        for k, head, wanted in (("thing", model.concept, b["concepts"]),
                                ("tint", model.tint,
                                 torch.where(b["tints"] == -1, len(COLOURS), b["tints"]))):
            there = b["concepts"] >= 0
            right.setdefault(k, []).extend((head(seen).argmax(-1) == wanted)[there].tolist())
    out = {k: sum(v) / max(1, len(v)) for k, v in right.items()}
    every = [x for k in KINDS for x in right[k]]
    return {"all": sum(every) / len(every), **out}
