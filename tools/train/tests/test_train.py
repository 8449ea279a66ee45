"""Fast checks of blip2-mini's own parts; no packages of pictures and no cache needed.

    PYTHONPATH=tools/train build/venv-train/bin/python -m pytest -q tools/train/tests
"""
import json
import random

import numpy as np
import pytest
import torch
from PIL import Image
from xpipe_train import data, pictures, scenes, text
from xpipe_train.concepts import Discriminant, PhotoGate
from xpipe_train.encoder import CELL, GRID, POOLED
from xpipe_train.model import CLASSES, Blip2Mini, MiniConfig, top_two
from xpipe_train.tasks import blip2


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    names = ["red apple", "dog face", "piñata", "keycap: #"] * 3
    path = tmp_path_factory.mktemp("tok") / "tokenizer.json"
    text.train_tokenizer(names, ["Question: what color is the shape? Answer: blue"], path, 320)
    return text.Codec(path)


def small(codec, **kw):
    c = MiniConfig(width=32, heads=2, ff=64, qformer_layers=1, queries=3, lm_layers=1,
                   vocab=codec.tok.get_vocab_size(), emoji=5, cell_hidden=16,
                   **{"dropout": 0.0, "cell_dropout": 0.0} | kw)
    c.cell_names, c.cell_colours = ["apple", "dog"], ["red"]
    torch.manual_seed(0)
    ids = lambda *words: blip2.padded_ids([codec.plain(w) for w in words], -1)
    return c, Blip2Mini(c, torch.randint(3, 50, (1005, c.concept_words)), ids("red apple", "dog"),
                        ids("red"), torch.nn.Linear(1280, 1000), text.IDS)


def features(n):
    return torch.randn(n, GRID, CELL), torch.randn(n, POOLED), torch.randint(0, 1005, (n, 4)), torch.rand(n, 4)


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


def test_photos_are_told_from_drawings_of_a_style_left_out():
    rng = np.random.default_rng(0)
    photo, style = np.arange(400) % 2, np.arange(400) % 3
    x = rng.normal(size=(400, POOLED)).astype(np.float32) + 2 * photo[:, None] * (np.arange(POOLED) < 8)
    gate = PhotoGate(mistaken=0.05).fit(x.astype(np.float32), photo, style)
    said = (torch.tensor(x).float() @ gate.weight + gate.bias > 0).numpy()
    assert gate.found > 0.9 and (said == photo).mean() > 0.95


def test_names_come_from_the_cells_that_speak_for_them(codec):
    _, model = small(codec)
    concepts = model.concepts
    channels = torch.rand(2, POOLED, 7, 7)
    channels[:, 3] = 0
    channels[0, 3, 2, 5] = channels[1, 3, 6, 0] = 6
    with torch.no_grad():
        for head, name in ((concepts.classifier, 7), (concepts.emoji, 2)):
            head.weight.zero_()
            head.bias.zero_()
            head.weight[name, 3] = 1
        pooled = channels.mean((2, 3))
        ids, _ = concepts(pooled)
        assert ids[:, 0].tolist() == [7, 7] and ids[:, 2].tolist() == [CLASSES + 2] * 2
        places = concepts.places(channels, pooled, ids)
        assert places.shape == (2, 4, GRID)
        for row, cell in ((0, 2 * 7 + 5), (1, 6 * 7)):
            assert torch.allclose(places[row, [0, 2], cell], torch.ones(2), atol=1e-5)
        sums = places.sum(-1)
        assert ((sums - 1).abs().lt(1e-5) | sums.eq(0)).all()
        concepts.photo.bias.fill_(1.0)
        ids, probs = concepts(pooled)
        assert torch.equal(ids[:, 2:], ids[:, :2]) and torch.equal(probs[:, 2:], probs[:, :2])
        assert torch.equal(concepts.places(channels, pooled, ids)[:, 2], places[:, 0])


def test_a_cell_reads_as_the_words_of_what_it_holds(codec):
    c, model = small(codec)
    names = torch.full((1, GRID, 3), -100.0)
    names[..., 0] = 100
    names[0, 4] = torch.tensor([-100.0, -100.0, 100.0])  # a dog
    colours = torch.full((1, GRID, 2), -100.0)
    colours[..., 1] = 100  # red
    model.neck.cells.forward = lambda grid: (names, colours, torch.zeros(1, GRID, 2))
    tokens, _ = model.neck(torch.randn(1, GRID, CELL), torch.randn(1, POOLED), model.table)
    e = lambda word: model.table[codec.plain(word)].mean(0)
    assert torch.allclose(tokens[0, 5], e("dog") + e("red") + model.neck.kind[0] + model.neck.place[4], atol=1e-5)
    empty = torch.cat([tokens[0, 1:5], tokens[0, 6:]])
    assert torch.allclose(empty, model.neck.nothing.expand_as(empty), atol=1e-5)  # all one and the same


@pytest.mark.parametrize("fusion", ["gated", "concat", "pool"])
def test_what_the_language_model_gets(codec, fusion):
    c, model = small(codec, fusion=fusion)
    model.eval()
    x, _ = model.image_embeds(*features(2))
    out = model.query_output(x)
    assert out.shape == (2, c.prefix, c.width)
    assert torch.equal(out[:, -c.concept_tokens:], x[:, -c.concept_tokens:])  # concept words pass unchanged
    if fusion == "gated":  # the gate starts all but closed to the bound queries
        assert (out[:, c.queries:-c.concept_tokens] - x[:, 1:-c.concept_tokens]).abs().max() < 0.1
        model.qformer.bound = False
        # free queries never look at bound ones
        assert torch.allclose(model.query_output(x)[:, :c.queries], out[:, :c.queries], atol=1e-6)


def test_a_bound_query_reads_its_cell_alone(codec):
    c, model = small(codec, fusion="concat")
    model.eval()
    x, _ = model.image_embeds(*features(1))
    seen = []
    model.qformer.encoder.layer[0].crossattention.attention.register_forward_hook(lambda m, i, out: seen.append(out[1]))
    model.query_output(x)
    bound = seen[0][0, :, c.queries:]
    assert torch.equal(bound, torch.eye(GRID, x.shape[1]).roll(1, 1).expand_as(bound))


def test_balance_speaks_from_text_to_image_alone(codec):
    out = []
    for balance in (1.0, 2.0):
        c, model = small(codec, balance=balance)
        model.eval()
        torch.manual_seed(1)
        q = torch.randn(2, c.prefix, c.width)
        prefix = model.prefix(q)
        rows = data.padded([(0, *codec.caption("red apple"))])
        out.append((prefix, model.text_loss(prefix, *rows)[0]))
    assert (torch.allclose(out[0][0][0][0][0] * 2, out[1][0][0][0][0])
            and torch.equal(out[0][0][0][0][1], out[1][0][0][0][1]))
    assert out[0][1] != out[1][1]


def test_scene_cells_are_where_things_are():
    rng = random.Random(0)
    scene = scenes.layout(rng)
    row = {"things": [[t.concept, t.tint, t.x, t.y, t.side, list(t.box)] for t in scene.things]}
    names, colours, centres = data.scene_cells([row])
    want = scenes.cells(scene, 7)
    assert ({int(i): data.CELL_NAMES[names[0, i] - 1] for i in np.flatnonzero(names[0])}
            == {i: w for i, (w, _) in want.items()})
    assert all(colours[0, i] == (1 + data.CELL_COLOURS.index(t) if t else 0) for i, (_, t) in want.items())
    assert np.nanmax(np.abs(centres)) <= 0.5 and np.isnan(centres).sum() == 2 * (GRID - len(want))


def test_the_shape_is_found_by_its_colour():
    a = np.full((64, 64, 3), 240, np.uint8)
    a[40:60, 2:12] = (250, 20, 20)
    names, colours, _ = data.shape_cells([Image.fromarray(a)] * 2,
                                         [{"shape": "circle", "colour": "red"}, {"colour": "red"}])
    at = np.flatnonzero(names[0])
    assert (list(at) == [5 * 7] and data.CELL_NAMES[names[0, at[0]] - 1] == "circle"
            and data.CELL_COLOURS[colours[0, at[0]] - 1] == "red")
    assert (names[1] == data.UNKNOWN).all()


def test_new_words_become_one_token_and_old_ids_stay(codec, tmp_path):
    old = json.loads(codec.tok.to_str())["model"]["vocab"]
    (tmp_path / "a.json").write_text(codec.tok.to_str())
    text.extend(tmp_path / "a.json", ["where", "giraffes"], tmp_path / "b.json")
    new = text.Codec(tmp_path / "b.json")
    assert (all(len(new.plain(w)) == 1 for w in ("where", "giraffes"))
            and new.decode(new.plain("where giraffes")) == "where giraffes")
    vocab = json.loads(new.tok.to_str())["model"]["vocab"]
    assert {t: vocab[t] for t in old} == old
    assert new.plain("red apple") == codec.plain("red apple")


def test_another_checkpoint_lends_what_fits(codec):
    c, model = small(codec)
    task = object.__new__(blip2.Task)
    task.codec, task.model = codec, model
    weights = {k: torch.randn_like(v) if v.is_floating_point() else v for k, v in model.state_dict().items()}
    table = weights["lm.model.decoder.embed_tokens.weight"]
    before = model.state_dict()["concepts.photo.bias"].clone()
    task.warm_start(weights | {"lm.model.decoder.embed_tokens.weight": table[:-2],
                               "query_tokens": torch.randn(1, 99, c.width)})
    own = model.state_dict()
    assert torch.equal(model.table[:-2], table[:-2])
    assert torch.equal(own["neck.place"], weights["neck.place"])
    assert model.query_tokens.shape[1] != 99  # what does not fit stays as it was
    assert torch.equal(own["concepts.photo.bias"], before)  # and the heads, which are fitted again


def test_cached_prefix_gives_the_loss_of_the_whole_sequence(codec):
    c, model = small(codec, dropout=0.0)
    model.eval()
    q = torch.randn(2, c.prefix, c.width)
    image, tokens, targets = data.padded(
        [(0, *codec.caption("red apple")), (1, *codec.caption("dog face")),
         (1, *codec.caption("piñata"))])
    loss, _, _ = model.text_loss(model.prefix(q), image, tokens, targets)
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
