"""Scenes without their pictures: what is laid out, and whether the answers are true."""
import random
from collections import Counter

from xpipe_train import scenes
from xpipe_train.scenes import GAP, SIDE, Scene, Thing


def thing(word, x, y, tint=None):
    return Thing(word, tint, x, y, 60, (x - 30, y - 30, x + 30, y + 30))


def test_things_keep_apart_and_have_a_cell_each():
    rng = random.Random(3)
    for _ in range(300):
        s = scenes.layout(rng)
        assert 1 <= len(s.things) <= scenes.MOST and max(s.counts.values()) <= scenes.MOST_ALIKE
        assert len(scenes.cells(s, 7)) == len(s.things)
        for i, a in enumerate(s.things):
            assert GAP <= a.box[0] and a.box[2] <= SIDE - GAP and GAP <= a.box[1] and a.box[3] <= SIDE - GAP
            for b in s.things[:i]:
                assert max(abs(a.x - b.x), abs(a.y - b.y)) >= (a.side + b.side) / 2 + GAP


def test_answers_are_true_and_balanced():
    rng = random.Random(4)
    answers = {k: Counter() for k in scenes.KINDS}
    for _ in range(1500):
        s = scenes.layout(rng)
        for kind, q, a in scenes.questions(s, rng):
            answers[kind][a] += 1
            if kind == "count":
                named = [w for w in scenes.CONCEPTS if scenes.plural(w) in q.rstrip("?").split()]
                assert a == str(s.counts[named[0]])
    assert set(answers["count"]) == set("012345") and max(answers["count"].values()) < 0.25 * answers["count"].total()
    for kind in ("exist", "relation"):
        yes, no = answers[kind]["yes"], answers[kind]["no"]
        assert abs(yes - no) < 0.1 * (yes + no)


def test_where_is_said_only_where_it_is_clear():
    dog, cat = thing("dog", 80, 160), thing("cat", 240, 170)
    assert scenes.where(dog, cat) == "left" and scenes.where(cat, dog) == "right"
    assert scenes.where(thing("dog", 100, 60), thing("cat", 120, 200)) == "above"
    assert scenes.where(thing("dog", 100, 100), thing("cat", 200, 200)) is None
    assert scenes.questions(Scene([dog, cat]), random.Random(0))
