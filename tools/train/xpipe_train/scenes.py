"""Scenes: pictures with several things in them, and questions about them whose answers are known.

    python -m xpipe_train.scenes OUT [--root build/train]     # the fixed test set, in the held-out
        drawing style

A scene is a canvas of 320 px with one to seven things on a plain or gently graded background. A
thing is one of CONCEPTS, in its own colours or recoloured in one of TINTS; the same thing may be
there up to five times. Things do not touch, so each has its own cell of a 7x7 grid and its own box.
Everything is drawn from the random.Random handed in.
Plain single shapes are drawn a second time, in Go: cmd/evalattend/scene.go.
"""
import argparse
import json
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from .sources import TEST_STYLE, TRAIN_STYLES

SIDE = 320            # pixels of the canvas
SMALLEST, LARGEST = 56, 100  # a thing's longer side
GAP = 6               # pixels between things, and to the canvas's edge
MOST, MOST_ALIKE = 7, 5
TEST_SCENES, TEST_SEED = 500, 2026
CLEAR = 45            # pixels that make "left of" beyond dispute
DOMINANT = 1.6        # how much one axis must outweigh the other for "where"

CONCEPTS = {  # the word in questions -> CLDR name of the emoji
    "dog": "dog face", "cat": "cat face", "monkey": "monkey", "rabbit": "rabbit", "elephant": "elephant",
    "turtle": "turtle", "frog": "frog", "butterfly": "butterfly", "crab": "crab", "octopus": "octopus",
    "apple": "red apple", "banana": "banana", "lemon": "lemon", "strawberry": "strawberry",
    "pineapple": "pineapple", "carrot": "carrot", "mushroom": "mushroom", "pizza": "pizza",
    "hamburger": "hamburger", "cake": "birthday cake",
    "car": "automobile", "bus": "bus", "airplane": "airplane", "helicopter": "helicopter", "bicycle": "bicycle",
    "rocket": "rocket", "boat": "sailboat",
    "balloon": "balloon", "hat": "top hat", "guitar": "guitar", "shoe": "high-heeled shoe", "heart": "red heart",
    "book": "open book", "key": "key", "hammer": "hammer", "bell": "bell", "dress": "dress", "star": "star",
    "umbrella": "umbrella", "tree": "deciduous tree", "flower": "sunflower", "house": "house",
}
PLURALS = {"butterfly": "butterflies", "strawberry": "strawberries", "bus": "buses",
           "dress": "dresses", "octopus": "octopuses"}
# RGB of a thing's middle grey
TINTS = {
    "red": (215, 30, 35), "orange": (250, 135, 15), "yellow": (245, 220, 30),
    "green": (40, 160, 60),
    "blue": (40, 85, 220), "purple": (130, 50, 175), "pink": (250, 130, 185),
    "brown": (120, 70, 35), "gray": (135, 135, 135),
}
PLACES = ("left", "right", "above", "below")
ANSWERS = ("yes", "no", *map(str, range(MOST_ALIKE + 1)), *TINTS, *PLACES)
KINDS = ("count", "colour", "exist", "relation")


@dataclass
class Thing:
    concept: str
    tint: str | None
    x: float      # of the centre
    y: float
    side: int     # longer side of its box
    box: tuple    # x1, y1, x2, y2 in pixels: the square of that side until it is drawn, then what is drawn


@dataclass
class Scene:
    things: list[Thing]
    background: tuple = ()  # two RGB and "x" or "y", once drawn
    counts: Counter = field(default_factory=Counter)

    def __post_init__(self):
        self.counts = Counter(t.concept for t in self.things)

    def single(self):
        """The things of which there is one."""
        return [t for t in self.things if self.counts[t.concept] == 1]


def plural(concept: str) -> str:
    return PLURALS.get(concept, concept + "s")


def load_sprites(root: Path, style: str) -> dict[str, list[Image.Image]]:
    """concept -> its drawings in a style, cut to what is opaque, RGBA. A style may lack some
    concepts."""
    index = json.loads((root / "sprites/index.json").read_text())
    word = {h: w for w, name in CONCEPTS.items() for h, n in index["names"].items() if n == name}
    out: dict[str, list[Image.Image]] = {}
    for file, h in index["styles"][style]:
        if h in word:
            im = Image.open(root / "sprites" / file).convert("RGBA")
            out.setdefault(word[h], []).append(
                im.crop(im.getchannel("A").point(lambda a: 255 if a > 24 else 0).getbbox()))
    return out


def tinted(sprite: Image.Image, tint: str | None) -> Image.Image:
    """The drawing in shades of one colour: its grey values, brought to one mean, pick the shade."""
    if tint is None:
        return sprite
    a = np.asarray(sprite, np.float32)
    grey = a[..., :3] @ np.float32([0.299, 0.587, 0.114]) / 255
    weight = a[..., 3] / 255
    mean = (grey * weight).sum() / max(weight.sum(), 1)
    spread = np.sqrt(((grey - mean) ** 2 * weight).sum() / max(weight.sum(), 1))
    z = np.clip((grey - mean) / max(spread, 0.08), -2, 2)[..., None] / 2
    colour = np.float32(TINTS[tint])
    dark, light = colour * 0.55, colour + (255 - colour) * 0.5
    rgb = np.where(z < 0, colour + (colour - dark) * z, colour + (light - colour) * z)
    return Image.fromarray(np.concatenate([rgb, a[..., 3:]], -1).clip(0, 255).astype(np.uint8), "RGBA")


def layout(rng: random.Random, concepts=None) -> Scene:
    """Which things are where; concepts are those that may occur (all)."""
    concepts = sorted(concepts or CONCEPTS)
    alike = rng.choices(range(1, MOST_ALIKE + 1), (8, 20, 24, 24, 24))[0]  # so that counts asked about are balanced
    total = rng.randint(alike, MOST) if rng.random() < 0.5 else rng.randint(max(alike, 4), MOST)
    words = rng.sample(concepts, total)
    kinds = [words[0]] * alike
    while len(kinds) < total:
        n = min(total - len(kinds), rng.choices((1, 2), (5, 1))[0], MOST_ALIKE)
        kinds += [words[len(kinds)]] * n
    colour = {w: rng.choice(list(TINTS)) if rng.random() < 0.5 else None for w in words}
    things = []
    for w in kinds:
        # things alike are as often of one colour as of several
        tint = colour[w] if rng.random() < 0.7 else (rng.choice(list(TINTS)) if rng.random() < 0.5 else None)
        things.append((w, tint))
    largest = LARGEST
    while True:
        sides = [rng.randint(SMALLEST, largest) for _ in things]
        placed = _place(sides, rng)
        if placed:
            return Scene([Thing(w, t, x, y, s, (x - s / 2, y - s / 2, x + s / 2, y + s / 2))
                          for (w, t), s, (x, y) in zip(things, sides, placed)])
        largest = max(SMALLEST, largest - 4)


def _place(sides, rng):
    """Centres of squares that keep GAP between them, or None where chance found none."""
    placed: dict[int, tuple] = {}
    for i in sorted(range(len(sides)), key=lambda i: -sides[i]):
        for _ in range(60):
            half = sides[i] / 2
            x, y = (rng.uniform(GAP + half, SIDE - GAP - half) for _ in range(2))
            if all(max(abs(x - px), abs(y - py)) >= half + sides[j] / 2 + GAP for j, (px, py) in placed.items()):
                placed[i] = (x, y)
                break
        else:
            return None
    return [placed[i] for i in range(len(sides))]


def backdrop(rng: random.Random) -> tuple:
    """Two near colours and the axis along which one turns into the other."""
    kind = rng.random()
    if kind < 0.35:
        a = [rng.randint(205, 255)] * 3 if rng.random() < 0.5 else [rng.randint(205, 255) for _ in range(3)]
    elif kind < 0.55:
        a = [rng.randint(0, 50)] * 3 if rng.random() < 0.5 else [rng.randint(0, 60) for _ in range(3)]
    else:
        a = [rng.randrange(256) for _ in range(3)]
    b = a if rng.random() < 0.5 else [min(255, max(0, v + rng.randint(-40, 40))) for v in a]
    return tuple(a), tuple(b), rng.choice("xy")


def painted(background: tuple, size: int = SIDE) -> Image.Image:
    a, b, axis = np.float32(background[0]), np.float32(background[1]), background[2]
    t = np.linspace(0, 1, size, dtype=np.float32)
    t = t[None, :, None] if axis == "x" else t[:, None, None]
    return Image.fromarray(np.broadcast_to(a + (b - a) * t, (size, size, 3)).round().astype(np.uint8))


def hidden(sprite: Image.Image, background: tuple) -> float:
    """Share of a drawing that nearly has the background's colour."""
    a = np.asarray(sprite.resize((24, 24)), np.float32)
    seen = a[a[..., 3] > 128][:, :3]
    return max(float((np.abs(seen - np.float32(c)).max(1) < 28).mean()) for c in background[:2]) if len(seen) else 1.0


def render(scene: Scene, sprites: dict[str, list[Image.Image]], rng: random.Random) -> Image.Image:
    """Draws the scene in the style of sprites (see load_sprites) as RGB; sets the things' boxes and
    the background.

    The background is one on which every thing can be seen, as far as 30 draws find one."""
    drawn = []
    for t in scene.things:
        s = tinted(rng.choice(sprites[t.concept]), t.tint)
        scale = t.side / max(s.size)
        drawn.append(s.resize((max(8, round(s.width * scale)), max(8, round(s.height * scale))), Image.BICUBIC))
    options = []
    for _ in range(30):
        b = backdrop(rng)
        worst = max((hidden(s, b) for s in drawn), default=0.0)
        options.append((worst, b))
        if worst < 0.15:
            break
    scene.background = min(options, key=lambda o: o[0])[1]
    im = painted(scene.background)
    for t, s in zip(scene.things, drawn):
        x, y = round(t.x - s.width / 2), round(t.y - s.height / 2)
        im.paste(s, (x, y), s)
        t.box = (x, y, x + s.width, y + s.height)
    return im


def cells(scene: Scene, grid: int) -> dict[int, tuple[str, str | None]]:
    """cell number (row by row) of each thing's centre -> (concept, tint)."""
    at = lambda v: min(grid - 1, int(v * grid / SIDE))
    return {at(t.y) * grid + at(t.x): (t.concept, t.tint) for t in scene.things}


def _a(word: str) -> str:
    return ("an " if word[0] in "aeiou" else "a ") + word


FORMS = {
    "count": ("how many {s} are there", "how many {s} are in the picture",
              "how many {s} do you see", "count the {s}"),
    "colour": ("what {c} is the {w}", "which {c} is the {w}", "what is the {c} of the {w}",
               "what {c} does the {w} have"),
    "exist": ("is there {a}", "is there {a} in the picture", "do you see {a}",
              "does the picture show {a}"),
    "where": ("where is the {w} relative to the {v}", "where is the {w} compared to the {v}",
              "where is the {w} seen from the {v}"),
    "side": ("is the {w} {p} the {v}", "is the {w} {p} the {v} in the picture"),
}
PHRASES = {"left": ("left of", "to the left of"), "right": ("right of", "to the right of"),
           "above": ("above",), "below": ("below", "under")}


def _ask(form: str, rng: random.Random, word="", other="", place="") -> str:
    text = rng.choice(FORMS[form]).format(w=word, v=other, s=plural(word),
                                          a=_a(word) if word else "",
                                          c=rng.choice(("color", "colour")),
                                          p=rng.choice(PHRASES[place]) if place else "")
    return text + ("?" if rng.random() < 0.7 else "")


def where(a: Thing, b: Thing) -> str | None:
    """Where a is relative to b, if that is clear."""
    dx, dy = a.x - b.x, a.y - b.y
    if abs(dx) >= CLEAR and abs(dx) >= DOMINANT * abs(dy):
        return "left" if dx < 0 else "right"
    if abs(dy) >= CLEAR and abs(dy) >= DOMINANT * abs(dx):
        return "above" if dy < 0 else "below"
    return None


def _side(a: Thing, b: Thing, rng) -> tuple[str, str] | None:
    """(place, yes or no) of "is a left of b", along an axis where that is clear."""
    axes = [(d, names) for d, names in ((a.x - b.x, PLACES[:2]), (a.y - b.y, PLACES[2:])) if abs(d) >= CLEAR]
    if not axes:
        return None
    d, names = rng.choice(axes)
    truth = names[0] if d < 0 else names[1]
    return rng.choice([(truth, "yes"), (names[0] if truth == names[1] else names[1], "no")])


def questions(scene: Scene, rng: random.Random, concepts=None, each: int = 2) -> list[tuple[str, str, str]]:
    """Up to `each` questions of every kind: (kind, question, answer). Absent things asked about are
    of concepts (all).

    A colour is asked of a recoloured thing that is there once, a relation of two things that are
    there once."""
    absent = sorted(set(concepts or CONCEPTS) - set(scene.counts))
    present = sorted(scene.counts)
    most = max(present, key=lambda w: (scene.counts[w], w))
    out = []
    for _ in range(each):
        if rng.random() < 1 / 6:
            word = rng.choice(absent)
        else:
            word = most if rng.random() < 0.8 else rng.choice(present)
        out.append(("count", _ask("count", rng, word), str(scene.counts[word])))
    single = scene.single()
    coloured = [t for t in single if t.tint]
    for t in rng.sample(coloured, min(each, len(coloured))):
        out.append(("colour", _ask("colour", rng, t.concept), t.tint))
    for _ in range(each):
        there = rng.random() < 0.5
        out.append(("exist", _ask("exist", rng, rng.choice(present if there else absent)), "yes" if there else "no"))
    pairs = [(a, b) for a in single for b in single if a is not b]
    rng.shuffle(pairs)
    for n in range(each):
        for a, b in pairs[n::each]:
            if n % 2 == 0 and (place := where(a, b)):
                out.append(("relation", _ask("where", rng, a.concept, b.concept), place))
                break
            if n % 2 == 1 and (side := _side(a, b, rng)):
                out.append(("relation", _ask("side", rng, a.concept, b.concept, side[0]), side[1]))
                break
    return out


def masked(question: str) -> str:
    """A question without its things: what a guesser who never saw a picture may still go by."""
    words = {w for c in CONCEPTS for w in (c, plural(c))}
    return " ".join("X" if w in words else w for w in question.rstrip("?").split())


def priors(asked: list[tuple[str, str, str]], train: int = 20000, seed: int = 7) -> dict[str, float]:
    """kind -> share of asked that the commonest training answer to the same wording gets right."""
    rng = random.Random(seed)
    counts: dict[str, Counter] = defaultdict(Counter)
    seen = 0
    while seen < train:
        for _, q, a in questions(layout(rng), rng):
            counts[masked(q)][a] += 1
            seen += 1
    right, total = Counter(), Counter()
    for kind, q, a in asked:
        guess = counts[masked(q)].most_common(1)
        total[kind] += 1
        right[kind] += bool(guess) and guess[0][0] == a
    return {k: right[k] / total[k] for k in KINDS if total[k]}


def write_test(out: Path, root: Path) -> dict[str, float]:
    """Writes out/NNN.png, questions.jsonl, boxes.jsonl and priors.json; returns the priors."""
    out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(TEST_SEED)
    sprites = load_sprites(root, TEST_STYLE)
    asked, lines, boxes = [], [], []
    for n in range(TEST_SCENES):
        scene = layout(rng, sprites)
        name = f"{n:03d}.png"
        render(scene, sprites, rng).save(out / name, optimize=True)
        for kind, q, a in dict.fromkeys(questions(scene, rng, sprites, each=3)):
            asked.append((kind, q, a))
            lines.append(json.dumps({"image": name, "question": q, "answer": a, "kind": kind}))
        boxes.append(
            json.dumps(
                {"image": name, "things": [{"concept": t.concept, "tint": t.tint, "box": t.box}
                                           for t in scene.things]}))
    (out / "questions.jsonl").write_text("\n".join(lines) + "\n")
    (out / "boxes.jsonl").write_text("\n".join(boxes) + "\n")
    found = priors(asked)
    (out / "priors.json").write_text(json.dumps(found, indent=1) + "\n")
    for kind in KINDS:
        answers = Counter(a for k, _, a in asked if k == kind)
        print(f"{kind:9s} {sum(answers.values()):5d} questions, prior {found[kind]:.1%}, answers "
              f"{dict(sorted(answers.items()))}")
    return found


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("out", type=Path)
    p.add_argument("--root", type=Path, default=Path("build/train"))
    a = p.parse_args()
    for style in TRAIN_STYLES:
        lacking = sorted(set(CONCEPTS) - set(load_sprites(a.root, style)))
        print(f"{style:14s} lacks {len(lacking)}: {' '.join(lacking)}")
    write_test(a.out, a.root)


if __name__ == "__main__":
    main()
