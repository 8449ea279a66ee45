"""clip-mini: CLIP (2103.00020) over the frozen encoder, from cached pooled features.

The image encoder is EfficientNet-lite0 up to the square roots of its pooled feature;
visual_projection leads from there into the common space. The text encoder is transformers'
CLIPTextModel, small. They are taught in two stages: "vectors" learns the projection and one free
vector a name, starting from clip_teacher's closed forms (the classifier's part by distillation);
"words" makes the text encoder say these vectors, and then compares it with pictures themselves.

A stage's weights:
    distil    KL of the ImageNet names' scores to the classifier's, on photos, drawings and
              synthetic features, `pictures` of them a batch
    drawn     cross entropy of drawings (`drawings` a batch) over the emoji names
    all       both over all names at once
    regress   1 - cosine between `texts` names in the words of some prompt and their vectors
    bag       steps in which, as the stage begins, the text encoder is fitted as a weighted sum of
              words
    contrast  cross entropy both ways between drawings and their names' texts within the batch
        (`texts` of them), InfoNCE

Keys of the config: model (ClipConfig), shrink, scale (exp of logit_scale; measured on a left-out
style), left_out (a style kept out of everything, to measure on; null for the final model).
"""
import json
import math
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel

from .. import clip_teacher, features, pictures
from ..data import cached_views
from ..encoder import POOLED, Encoder
from ..sources import TRAIN_STYLES
from ..text import imagenet_names

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
PROMPTS = ["{}", "{}", "{}", "a photo of a {}", "a photo of a {}", "a photo of {}",
           "an emoji of {}", "an emoji of a {}", "a picture of a {}", "a drawing of a {}",
           "this is a photo of a {}", "{} emoji", "an image of a {}"]
TAGGED = 40  # a tag of more drawings than this says too little


@dataclass
class ClipConfig:
    drawn: int = 144  # dimensions for drawings
    photo: int = 176  # dimensions for the classifier's classes
    balance: float = 1.0  # length of the former against the latter
    width: int = 320  # of the text encoder
    heads: int = 5
    ff: int = 1280
    layers: int = 1
    vocab: int = 3600
    positions: int = 32


class Clip(nn.Module):
    def __init__(self, c: ClipConfig, names: int):
        super().__init__()
        self.c, space = c, c.drawn + c.photo
        self.visual_projection = nn.Linear(POOLED, space)
        self.vectors = nn.Parameter(torch.zeros(names, space))
        self.sharpness = nn.Parameter(torch.zeros(2))  # log scales of the stages that learn vectors: drawings, photos
        self.text_model = CLIPTextModel._from_config(
            CLIPTextConfig(
                vocab_size=c.vocab, hidden_size=c.width, intermediate_size=c.ff,
                projection_dim=space, num_hidden_layers=c.layers, num_attention_heads=c.heads,
                max_position_embeddings=c.positions, hidden_act="quick_gelu",
                bos_token_id=c.vocab - 2, eos_token_id=c.vocab - 1, pad_token_id=c.vocab - 1),
            attn_implementation="eager")
        self.text_projection = nn.Linear(c.width, space, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(2.6592))

    def image(self, pooled):
        """pooled [B,1280] as the encoder gives it -> [B,E], not normalised."""
        return self.visual_projection(pooled.sqrt())

    def text(self, ids):
        """ids [B,T], end of text behind -> [B,E] of length 1. One layer is computed at the end of
        the text alone: nothing else of it is read."""
        t = self.text_model.text_model
        if self.c.layers != 1:
            return F.normalize(self.text_projection(self.text_model(ids).pooler_output), dim=-1)
        x, (layer,) = t.embeddings(input_ids=ids), t.encoder.layers
        end = (ids == self.c.vocab - 1).int().argmax(1)
        rows = torch.arange(len(ids), device=ids.device)
        h, a = layer.layer_norm1(x), layer.self_attn
        split = lambda y: y.unflatten(-1, (self.c.heads, -1)).transpose(1, 2)
        seen = torch.arange(ids.shape[1], device=ids.device)[None] <= end[:, None]
        y = F.scaled_dot_product_attention(split(a.q_proj(h[rows, end])[:, None]),
                                           split(a.k_proj(h)), split(a.v_proj(h)),
                                           attn_mask=seen[:, None, None])
        y = x[rows, end] + a.out_proj(y.transpose(1, 2).flatten(2)[:, 0])
        y = y + layer.mlp(layer.layer_norm2(y))
        return F.normalize(self.text_projection(t.final_layer_norm(y)), dim=-1)

    def start_as_bag(self, rows: list[list[int]], targets: torch.Tensor, weight: torch.Tensor,
                     prompts, steps: int) -> float:
        """Fits the embeddings, and how much attention each word draws, with the rest of the text
        encoder standing still: values and outputs are the identity, the query is constant, the MLP
        adds nothing. That is a weighted sum of words, a thousandth of the work; what the layers add
        is learned from there. rows: ids of the names [n]; prompts(n): n random (ids before, ids
        behind); targets [n,E] of length 1. Returns the mean cosine reached."""
        t, c = self.text_model.text_model, self.c
        table, norm = t.embeddings.token_embedding.weight, nn.functional.layer_norm
        draw = nn.Parameter(torch.zeros(c.heads, c.width))
        with torch.no_grad():
            start = torch.zeros(c.vocab, c.width)
            for r, v in zip(rows, targets):
                start[r] += v / len(r)
            used = start.norm(dim=1) > 0
            table.normal_(std=0.02)
            table[used] = 0.5 * F.normalize(start[used], dim=1)
        e = nn.Parameter(table.detach().clone())
        optimiser = torch.optim.Adam([{"params": [e], "lr": 0.01}, {"params": [draw], "lr": 0.01}])
        for step in range(steps):
            for g in optimiser.param_groups:
                g["lr"] = 0.01 * (1 - step / steps) + 1e-4
            texts = [[c.vocab - 2, *before, *r, *behind, c.vocab - 1]
                     for r, (before, behind) in zip(rows, prompts(len(rows)))]
            flat = torch.tensor([i for x in texts for i in x])
            where = torch.repeat_interleave(torch.arange(len(texts)), torch.tensor([len(x) for x in texts]))
            h = norm(e, (c.width,))  # of each word, not of each place
            pull = (h @ draw.T).exp()
            part = (h.unflatten(1, (c.heads, -1)) * pull[..., None]).flatten(1)
            total = torch.zeros(len(texts), c.width).index_add(0, where, part[flat]).unflatten(1, (c.heads, -1))
            y = (total / torch.zeros(len(texts), c.heads).index_add(0, where, pull[flat])[..., None]).flatten(1) + e[-1]
            cosine = (F.normalize(norm(y, (c.width,))[:, :targets.shape[1]], dim=1) * targets).sum(1)
            loss = ((1 - cosine) * weight).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            table.copy_(e)
            t.embeddings.position_embedding.weight.zero_()
            self.text_projection.weight.copy_(torch.eye(c.width)[:targets.shape[1]])
            layer, width = t.encoder.layers[-1], c.width // c.heads
            a = layer.self_attn
            for m in (a.q_proj, a.k_proj):
                m.weight.zero_()
                m.bias.zero_()
            for h in range(c.heads):
                a.q_proj.bias[h * width] = width ** 0.5
                a.k_proj.weight[h * width] = draw[h]
            for m in (a.v_proj, a.out_proj):
                m.weight.copy_(torch.eye(c.width))
                m.bias.zero_()
            layer.mlp.fc2.weight.zero_()
            layer.mlp.fc2.bias.zero_()
        return cosine.detach().mean().item()


def train_tokenizer(texts: list[str], out: Path, vocab: int) -> None:
    """Lower-case BPE in CLIP's form: words end in </w>, the two special tokens are the last."""
    tok = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix="", fuse_unk=False))
    tok.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                Regex(r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""),
                behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False)])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tok.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=vocab - len(alphabet) - 2,
                                                       show_progress=False,
                                                       end_of_word_suffix="</w>",
                                                       initial_alphabet=alphabet))
    merges = [tuple(m) if not isinstance(m, str) else tuple(m.split(" "))
              for m in json.loads(tok.to_str())["model"]["merges"]]
    while True:  # the trainer counts other pieces than we keep
        pieces = list(dict.fromkeys(alphabet + [a + "</w>" for a in alphabet] + ["".join(m) for m in merges]))
        if len(pieces) <= vocab - 2:
            break
        merges = merges[:len(merges) - (len(pieces) - (vocab - 2))]
    ids = {t: i for i, t in enumerate(pieces + [BOS, EOS])}
    pre, norm = tok.pre_tokenizer, tok.normalizer
    tok = Tokenizer(
        models.BPE(ids, merges, continuing_subword_prefix="", end_of_word_suffix="</w>",
                   fuse_unk=False, unk_token=EOS))
    tok.normalizer, tok.pre_tokenizer, tok.decoder = norm, pre, decoders.ByteLevel()
    tok.add_special_tokens([BOS, EOS])
    tok.post_processor = processors.RobertaProcessing(sep=(EOS, ids[EOS]), cls=(BOS, ids[BOS]),
                                                      add_prefix_space=False, trim_offsets=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    tok.save(str(out))


class Names:
    """All names, and which concepts and classes each stands for. More words have no vector of their
    own: theirs is the mean of their names'."""

    def __init__(self, root: Path):
        emoji, _, _ = pictures.emoji_index(root)
        photo = imagenet_names()
        self.all = list(dict.fromkeys(emoji + photo))
        number = {n: i for i, n in enumerate(self.all)}
        self.of_emoji = torch.tensor([number[n] for n in emoji])
        self.of_photo = torch.tensor([number[n] for n in photo])
        self.families = {number[w]: ks for w, ks in clip_teacher.FAMILIES.items() if w in number}
        more: dict[str, set] = {w: {number[photo[k]] for k in ks}
                                for w, ks in clip_teacher.FAMILIES.items() if w not in number}
        data = json.loads((root / "packages/emojibase-data/en/data.json").read_text())
        from ..sources import normal_name
        for e in data:
            i = number.get(normal_name(e["label"]))
            for tag in e.get("tags", []) if i is not None else []:
                tag = normal_name(tag)
                if tag not in number and not (tag in clip_teacher.FAMILIES):
                    more.setdefault(tag, set()).add(i)
        self.more = {w: sorted(s) for w, s in more.items() if w in clip_teacher.FAMILIES or len(s) <= TAGGED}


class Task:
    def __init__(self, config: dict, root: Path, run: Path):
        c = self.c = ClipConfig(**config["model"])
        self.names = names = Names(root)
        self.words = names.all + list(names.more)
        tokenizer = run / "tokenizer.json"
        if not tokenizer.exists():
            train_tokenizer(names.all * 4 + list(names.more)
                            + [p.format(n) for p in dict.fromkeys(PROMPTS) for n in names.all[:3]],
                            tokenizer, c.vocab)
        self.tok = Tokenizer.from_file(str(tokenizer))
        c.vocab = self.tok.get_vocab_size()
        self.memo: dict[str, list[int]] = {}
        self.model = Clip(c, len(names.all))
        self.model.logit_scale.data.fill_(math.log(config["scale"]))
        self.classifier = Encoder().classifier
        self.bag = False  # whether the text encoder has been started as a sum of words
        self._pictures(config, root)
        if not (run / "last.pt").exists():
            self._start(config)

    def _pictures(self, config, root):
        styles, left = list(TRAIN_STYLES), config.get("left_out")
        raw = [features.load(root, n)[1:] for n in cached_views(root, "emoji")]
        pooled, labels = np.concatenate([p for p, _ in raw]), np.array([c for _, m in raw for _, c in m])
        style = np.array([styles.index(s) for _, m in raw for s, _ in m])
        out = style == styles.index(left) if left else np.zeros(len(style), bool)
        tensor = lambda a: torch.as_tensor(a.astype(np.float32))
        self.drawn, self.drawn_labels, self.drawn_styles = (tensor(pooled[~out]),
                                                            torch.as_tensor(labels[~out]),
                                                            style[~out])
        pick = np.flatnonzero(out)[::3]
        self.left = (tensor(pooled[pick]), torch.as_tensor(labels[pick])) if left else None
        crops = [features.load(root, n)[1:] for n in cached_views(root, "photos")]
        # photos that the agreement with the classifier is measured on
        held = sorted({f for _, m in crops for f in m})[:2]
        rows = [(tensor(p), np.array([f in held for f in m])) for p, m in crops]
        self.photos = torch.cat([p[~h] for p, h in rows])
        self.photos_held = torch.cat([p[h] for p, h in rows])
        self.shapes = torch.cat([tensor(features.load(root, n)[1]) for n in cached_views(root, "shapes")])[::4]
        test, meta = features.load(root, "emoji-test")[1:]
        self.test = tensor(test), torch.tensor([c for _, c in meta])

    @torch.no_grad()
    def _start(self, config):
        m, n, c = self.model, self.names, self.c
        a, a0, means, seen = clip_teacher.canonical(np.sqrt(self.drawn.numpy()),
                                                    self.drawn_labels.numpy(), self.drawn_styles,
                                                    len(n.of_emoji), config["shrink"], c.drawn)
        some = torch.cat(
            [self.photos.repeat(4, 1), self.drawn[::9], self.shapes,
             clip_teacher.synthetic(self.classifier, self.photos, 6000),
             clip_teacher.synthetic(self.classifier, self.drawn, 2000)])
        b, b0, u = clip_teacher.classifier_plane(self.classifier, some, c.photo)
        a, a0, means = (torch.as_tensor(x) * c.balance for x in (a, a0, means))
        m.visual_projection.weight.copy_(torch.cat([a, b]))
        m.visual_projection.bias.copy_(torch.cat([a0, b0]))
        vectors = torch.zeros(len(n.all), 2, c.drawn + c.photo)
        vectors[n.of_emoji, 0, :c.drawn] = F.normalize(means, dim=1)
        photo = F.pad(F.normalize(u, dim=1), (c.drawn, 0))
        vectors[n.of_photo, 1] += photo
        for i, ks in n.families.items():
            vectors[i, 1] += photo[ks].mean(0)
        vectors = F.normalize(F.normalize(vectors, dim=2).sum(1), dim=1)
        m.vectors.copy_(vectors)
        m.sharpness.copy_(torch.stack([torch.tensor(0.0), u.norm(dim=1).mean().log()]))

    def _bag(self, steps: int) -> None:
        rng = random.Random(0)
        frames = []
        for p in PROMPTS:
            before, behind = p.split("{}")
            frames.append((self.ids(before)[1:-1] if before else [], self.ids(behind)[1:-1] if behind else []))
        weight = torch.tensor([1.0] * len(self.names.all) + [0.1] * len(self.names.more))
        with torch.enable_grad():
            cosine = self.model.start_as_bag([self.ids(w)[1:-1] for w in self.words],
                                             self.targets(), weight,
                                             lambda n: rng.choices(frames, k=n), steps)
        print(f"  words summed: cosine {cosine:.3f}", flush=True)

    def targets(self):
        """The vectors of all words [n,E]."""
        v = F.normalize(self.model.vectors.detach(), dim=1)
        return torch.cat([v, torch.stack([F.normalize(v[s].mean(0), dim=0) for s in self.names.more.values()])])

    def ids(self, text: str) -> list[int]:
        if text not in self.memo:
            self.memo[text] = self.tok.encode(text).ids[:self.c.positions]
        return self.memo[text]

    def tokens(self, texts: list[str]) -> torch.Tensor:
        rows = [self.ids(t) for t in texts]
        longest = max(map(len, rows))
        return torch.tensor([r + [self.c.vocab - 1] * (longest - len(r)) for r in rows])

    def state(self):
        return {"bag": self.bag}

    def load(self, state):
        self.bag = state.get("bag", False)

    def batch(self, rng: random.Random, stage: dict):
        if stage.get("bag") and not self.bag:
            self._bag(stage["bag"])
            self.bag = True
        take = lambda x, n: x[torch.tensor([rng.randrange(len(x)) for _ in range(n)], dtype=torch.long)]
        out, n = {}, stage.get("pictures", 0)
        if n:
            real, fake = n // 2, n // 2
            out["pictures"] = torch.cat(
                [take(self.photos, real * 2 // 3), take(self.drawn, real // 3),
                 take(self.shapes, real // 12),
                 clip_teacher.synthetic(self.classifier, self.photos, fake * 3 // 4),
                 clip_teacher.synthetic(self.classifier, self.drawn, fake // 4)])
        if stage.get("drawings"):
            rows = torch.tensor([rng.randrange(len(self.drawn)) for _ in range(stage["drawings"])])
            out["drawings"], out["labels"] = self.drawn[rows], self.drawn_labels[rows]
        n = stage.get("texts", 0)
        if stage.get("contrast"):
            concepts = rng.sample(range(len(self.by_concept)), n)
            rows = torch.tensor([rng.choice(self.by_concept[c]) for c in concepts])
            out["pairs"] = self.drawn[rows]
            chosen = self.names.of_emoji[self.drawn_labels[rows]].tolist()
            chosen += rng.sample(range(len(self.words)), n // 2)
        elif n:
            chosen = (rng.sample(range(len(self.names.all)), n * 3 // 4)
                      + rng.sample(range(len(self.names.all), len(self.words)), n - n * 3 // 4))
        if n:
            out["words"] = torch.tensor(chosen)
            out["ids"] = self.tokens([rng.choice(PROMPTS).format(self.words[i]) for i in chosen])
        return out

    @property
    def by_concept(self):
        if not hasattr(self, "_by_concept"):
            rows: dict[int, list] = {}
            for i, c in enumerate(self.drawn_labels.tolist()):
                rows.setdefault(c, []).append(i)
            self._by_concept = list(rows.values())
        return self._by_concept

    def losses(self, batch, stage):
        m, n = self.model, self.names
        loss, shown = torch.zeros(()), {}

        def add(name, value):
            nonlocal loss
            loss, shown[name] = loss + stage[name] * value, value.item()

        v = F.normalize(m.vectors, dim=1) if "pictures" in batch or "drawings" in batch else None
        if "pictures" in batch:
            with torch.no_grad():
                said = self.classifier(batch["pictures"]).softmax(1)
            z = m.image(batch["pictures"])
            scores = z @ v.T * m.sharpness[1].exp()
            if stage.get("distil"):
                add("distil", F.kl_div(scores[:, n.of_photo].log_softmax(1), said, reduction="batchmean"))
            if stage.get("all"):
                wanted = torch.zeros_like(scores).index_add_(1, n.of_photo, said)
                add("all", F.kl_div(scores.log_softmax(1), wanted, reduction="batchmean"))
        if "drawings" in batch:
            scores = F.normalize(m.image(batch["drawings"]), dim=1) @ v.T * (m.sharpness[0].exp() * 20)
            if stage.get("drawn"):
                add("drawn", F.cross_entropy(scores[:, n.of_emoji], batch["labels"], label_smoothing=0.05))
            if stage.get("all"):
                add("all", F.cross_entropy(scores, n.of_emoji[batch["labels"]], label_smoothing=0.05))
        if "ids" in batch:
            t = m.text(batch["ids"])
            if stage.get("regress"):
                add("regress", (1 - (t * self.wanted[batch["words"]]).sum(1)).mean())
            if "pairs" in batch:
                image = F.normalize(m.image(batch["pairs"]), dim=1)
                scores = image @ t[:len(image)].T * 20
                here = torch.arange(len(image))
                add("contrast", (F.cross_entropy(scores, here) + F.cross_entropy(scores.T, here)) / 2)
        return loss, shown

    @property
    def wanted(self):
        """Targets of the texts; vectors stand still by then."""
        if not hasattr(self, "_wanted"):
            self._wanted = self.targets()
        return self._wanted

    @torch.no_grad()
    def evaluate(self, limit):
        """With the vectors themselves (v) and with the text encoder: the left-out style, the test
        style, the share of held photos' crops on which the classifier's first class comes first;
        all: among all names."""
        m, n = self.model, self.names
        every = torch.cat([m.text(self.tokens(n.all[i:i + 256])) for i in range(0, len(n.all), 256)])
        out = {}
        for how, t in (("", every), (" v", F.normalize(m.vectors, dim=1))):
            for name, (x, y) in {"left out": self.left or (None, None), "test style": self.test}.items():
                if x is None:
                    continue
                z = m.image(x)
                scores = z @ t[n.of_emoji].T
                out[name + how] = hits(scores, y, 1)
                out[name + how + " top 5"] = hits(scores, y, 5)
                out[name + how + " all"] = hits(z @ t.T, n.of_emoji[y], 1)
            z, y = m.image(self.photos_held), self.classifier(self.photos_held).argmax(1)
            out["photos" + how] = hits(z @ t[n.of_photo].T, y, 1)
            out["photos" + how + " top 5"] = hits(z @ t[n.of_photo].T, y, 5)
            out["photos" + how + " all"] = hits(z @ t.T, n.of_photo[y], 1)
        return out


def hits(scores, y, k):
    return (scores.topk(k, 1).indices == y[:, None]).any(1).float().mean().item()
