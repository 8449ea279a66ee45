"""clip-mini's parts: the text encoder's short cut, its start as a sum of words, the tokenizer, the
closed forms."""
import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from torch.nn import functional as F

from xpipe_train import clip_teacher
from xpipe_train.tasks import clip

SMALL = clip.ClipConfig(drawn=12, photo=20, width=32, heads=2, ff=48, vocab=60, positions=10)


def tokens(*rows):
    longest = max(map(len, rows))
    return torch.tensor([[58, *r, 59, *[59] * (longest - len(r))] for r in rows])


@pytest.mark.parametrize("layers", [1, 2])
def test_text_equals_transformers(layers):
    torch.manual_seed(0)
    model = clip.Clip(clip.ClipConfig(**SMALL.__dict__ | {"layers": layers}), 5).eval()
    ids = tokens([1, 2, 3], [4], [], [5, 6, 7, 8])
    with torch.no_grad():
        want = F.normalize(model.text_projection(model.text_model(ids).pooler_output), dim=-1)
        assert torch.allclose(model.text(ids), want, atol=1e-6)


def test_bag_is_what_the_encoder_computes():
    torch.manual_seed(0)
    model = clip.Clip(SMALL, 5).eval()
    rows = [[1, 2], [3], [4, 5, 1], [6, 7]]
    targets = F.normalize(torch.randn(4, 32), dim=1)
    cosine = model.start_as_bag(rows, targets, torch.ones(4), lambda n: [([], [])] * n, 60)
    with torch.no_grad():
        got = (model.text(tokens(*rows)) * targets).sum(1).mean().item()
    assert got > 0.9 and abs(got - cosine) < 0.05


def test_tokenizer_has_clips_form(tmp_path):
    clip.train_tokenizer(["red apple", "green apple", "t-shirt"] * 3, tmp_path / "tokenizer.json", 540)
    tok = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ids = tok.encode("Red  APPLE").ids
    assert ids == tok.encode("red apple").ids and len(ids) == 4
    assert (ids[0], ids[-1]) == (tok.get_vocab_size() - 2, tok.get_vocab_size() - 1)
    assert "apple</w>" in json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]


def test_canonical_tells_classes_apart_across_styles():
    rng = np.random.default_rng(0)
    centres, shift = rng.normal(size=(6, 16)) * 2, rng.normal(size=(4, 16))
    y, style = np.tile(np.arange(6), 40), np.repeat(np.arange(4), 60)
    x = (centres[y] + shift[style] * 0.5 + rng.normal(size=(240, 16)) * 0.5).astype(np.float32)
    a, offset, means, seen = clip_teacher.canonical(x[style < 3], y[style < 3], style[style < 3], 6, 0.3, 5)
    z, m = x[style == 3] @ a.T + offset, means / np.linalg.norm(means, axis=1, keepdims=True)
    assert seen.all() and ((z @ m.T).argmax(1) == y[style == 3]).mean() > 0.95


def test_classifier_plane_keeps_the_order():
    torch.manual_seed(0)
    classifier = torch.nn.Linear(24, 30)
    pooled = torch.rand(600, 24)
    with torch.no_grad():
        b, b0, u = clip_teacher.classifier_plane(classifier, pooled, 26)
        z = pooled.sqrt() @ b.T + b0
        agree = ((z @ F.normalize(u, dim=1).T).argmax(1) == classifier(pooled).argmax(1)).float().mean()
    assert agree > 0.7
    made = clip_teacher.synthetic(classifier, pooled, 50)
    assert made.shape == (50, 24) and (made >= 0).all()
