"""Fast checks of the trainer's own parts; no packages of pictures and no cache needed.

    PYTHONPATH=models/train build/venv-train/bin/python -m pytest -q models/train/tests
"""
import random

import numpy as np
import pytest
import torch
from PIL import Image
from xpipe_train import data, pictures, text
from xpipe_train.concepts import Discriminant
from xpipe_train.model import Blip2Mini, ConceptQFormer, MiniConfig, top_two


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    names = ["red apple", "dog face", "piñata", "keycap: #"] * 3
    path = tmp_path_factory.mktemp("tok") / "tokenizer.json"
    text.train_tokenizer(names, ["Question: what color is the shape? Answer: blue"], path, 320)
    return text.Codec(path)


def small(codec, **kw):
    c = MiniConfig(width=32, heads=2, ff=64, qformer_layers=1, queries=3, lm_layers=1, vocab=codec.tok.get_vocab_size(), emoji=5, **kw)
    torch.manual_seed(0)
    return c, Blip2Mini(c, torch.randint(3, 50, (1005, c.concept_words)), torch.nn.Linear(1280, 1000), text.IDS)


def test_names_survive_the_tokenizer_whatever_their_case(codec):
    for name in ("red apple", "piñata", "keycap: #"):
        assert codec.decode(codec.plain(name.upper())) == name
    assert codec.prompt("What Color?") == codec.prompt("what color?")
    assert codec.prompt(None) == [text.IDS["bos"]]


def test_targets_start_where_the_answer_does(codec):
    tokens, targets = codec.answer("what color is the shape?", "blue")
    assert len(tokens) == len(targets)
    assert [t for t in targets if t >= 0] == [*codec.plain("blue"), text.IDS["eos"]]
    assert targets.index(next(t for t in targets if t >= 0)) == len(codec.prompt("what color is the shape?")) - 1


def test_top_two_is_topk():
    a, b = torch.rand(7, 11).softmax(-1), torch.rand(7, 5).softmax(-1)
    ids, probs = top_two(a, 0, b, 11)
    for part, offset, at in ((a, 0, 0), (b, 11, 2)):
        want = part.topk(2)
        assert torch.equal(ids[:, at:at + 2], want.indices + offset)
        assert torch.equal(probs[:, at:at + 2], want.values)


def test_discriminant_separates_and_leaves_a_style_out():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(6, 20)).astype(np.float32) * 3
    y, style = np.repeat(np.arange(6), 40), np.tile(np.arange(2), 120)
    x = (centres[y] + rng.normal(size=(240, 20))).astype(np.float32)
    kept = (y != 5) | (style == 0)  # class 5 is drawn in style 0 alone
    fit = Discriminant(0.3).fit(x[kept], y[kept], style[kept], 6)
    w, b = fit.weights()
    assert ((x @ w.T + b).argmax(1) == y).mean() > 0.95
    w, b = fit.weights(without=0)
    assert b[5] == -1e4 and (b[:5] > -1e4).all()


def test_concept_tokens_pass_the_qformer_unchanged(codec):
    c, model = small(codec)
    x = torch.randn(2, 26 + c.concept_tokens, c.width)
    out = model.eval().query_output(x)
    assert out.shape == (2, c.queries + c.concept_tokens, c.width)
    assert torch.equal(out[:, c.queries:], x[:, -c.concept_tokens:])
    assert isinstance(model.qformer, ConceptQFormer)


def test_cached_prefix_gives_the_loss_of_the_whole_sequence(codec):
    c, model = small(codec, dropout=0.0)
    model.eval()
    q = torch.randn(2, c.queries + c.concept_tokens, c.width)
    image, tokens, targets = data.padded([(0, *codec.caption("red apple")), (1, *codec.caption("dog face")), (1, *codec.caption("piñata"))])
    loss, _ = model.text_loss(model.prefix(q), image, tokens, targets)
    x = torch.cat([model.language_projection(q)[image], model.lm.get_input_embeddings()(tokens)], 1)
    logits = model.lm(inputs_embeds=x).logits[:, q.shape[1]:]
    want = torch.nn.functional.cross_entropy(logits[targets >= 0], targets[targets >= 0])
    assert abs(loss.item() - want.item()) < 1e-5


def test_bled_colours_keep_what_is_drawn_and_fill_the_rest():
    sprite = np.zeros((32, 32, 4), np.uint8)
    sprite[8:16, 8:16] = (200, 10, 10, 255)
    out = np.asarray(pictures.bled(Image.fromarray(sprite)))
    assert (out == (200, 10, 10)).all()


def test_rephrasing_is_seeded_and_keeps_the_subject():
    qs = [text.rephrased("what color is the shape?", random.Random(i)) for i in range(50)]
    assert qs == [text.rephrased("what color is the shape?", random.Random(i)) for i in range(50)]
    assert all("colo" in q for q in qs) and len(set(qs)) > 4
