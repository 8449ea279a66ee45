"""Training pictures: emoji drawn as users' files arrive, and the easy-VQA images. Everything is
seeded."""
import json
import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from . import SIZE
from .sources import TEST_STYLE, TRAIN_STYLES


def emoji_index(root: Path):
    """(names, train rows, test rows); a row is (style, file, hexcode). Joined (ZWJ) sequences stay
    out: the test asks for one name among those of the single emoji (about 1,400)."""
    index = json.loads((root / "sprites/index.json").read_text())
    drawn = {s: {h for _, h in rows} for s, rows in index["styles"].items()}
    keep = sorted(h for h in index["names"] if "200D" not in h and h in drawn["google"] and h in drawn[TEST_STYLE])
    names = [index["names"][h] for h in keep]
    number = {h: i for i, h in enumerate(keep)}
    rows = {s: [(s, root / "sprites" / f, number[h]) for f, h in index["styles"][s] if h in number]
            for s in list(TRAIN_STYLES) + [TEST_STYLE]}
    return names, [r for s in TRAIN_STYLES for r in rows[s]], rows[TEST_STYLE]


def background(rng: random.Random, size: int) -> Image.Image:
    """Plain white, black, grey, coloured, or a two-colour gradient."""
    kind = rng.random()
    if kind < 0.35:
        return Image.new("RGB", (size, size), (255, 255, 255))
    if kind < 0.55:
        return Image.new("RGB", (size, size), (0, 0, 0))
    a, b = (np.array([rng.randrange(256) for _ in range(3)], np.float32) for _ in range(2))
    if kind < 0.8:
        b = a
    t = np.linspace(0, 1, size, dtype=np.float32)
    t = t[None, :, None] if rng.random() < 0.5 else t[:, None, None]
    return Image.fromarray(np.broadcast_to(a + (b - a) * t, (size, size, 3)).astype(np.uint8))


def augmented_emoji(sprite: Image.Image, rng: random.Random) -> Image.Image:
    """One view of an RGBA sprite: four in ten the bare file with its alpha dropped or laid on
    white, the rest shifted, scaled, turned, recoloured and on another background."""
    if rng.random() < 0.4:
        if rng.random() < 0.5:
            size = rng.choice([64, 72, 96, 128, 144])
            sprite = sprite.resize((size, size), rng.choice([Image.BICUBIC, Image.BILINEAR, Image.LANCZOS]))
        kind = rng.random()
        if kind < 0.2:
            im = bled(sprite)
        elif kind < 0.6:  # convert("RGB") drops alpha: the colour under it shows, mostly black
            clean = Image.new("RGBA", sprite.size, (0, 0, 0, 0))
            clean.paste(sprite, (0, 0), sprite.getchannel("A").point(lambda a: 255 if a else 0))
            im = clean.convert("RGB")
        else:
            im = Image.new("RGB", sprite.size, (255, 255, 255))
            im.paste(sprite, (0, 0), sprite)
        return im.resize((SIZE, SIZE), Image.BICUBIC)
    side = rng.randint(72, 150)
    w, h = int(side * rng.uniform(0.88, 1.0)), int(side * rng.uniform(0.88, 1.0))
    if rng.random() < 0.5:
        w = h = side
    s = sprite.resize((w, h), Image.BICUBIC)
    if rng.random() < 0.4:
        s = s.rotate(rng.uniform(-15, 15), Image.BICUBIC, expand=True)
    alpha = s.getchannel("A")
    rgb = s.convert("RGB")
    if rng.random() < 0.6:
        rgb = ImageEnhance.Color(rgb).enhance(rng.uniform(0.5, 1.5))
        rgb = ImageEnhance.Brightness(rgb).enhance(rng.uniform(0.75, 1.25))
        rgb = ImageEnhance.Contrast(rgb).enhance(rng.uniform(0.75, 1.25))
    canvas = max(s.width, s.height, int(side * rng.uniform(1.0, 1.35)))
    im = background(rng, canvas)
    im.paste(rgb, (rng.randint(0, canvas - s.width), rng.randint(0, canvas - s.height)), alpha)
    return im.resize((SIZE, SIZE), Image.BICUBIC)


def bled(sprite: Image.Image) -> Image.Image:
    """RGB of a sprite whose colours run on under its transparent part, as many exporters leave
    them."""
    rgba = np.asarray(sprite, np.float32)
    alpha = rgba[..., 3:] / 255
    colour, weight = rgba[..., :3] * alpha, alpha
    out, size = np.where(weight > 0, rgba[..., :3], 0), sprite.width
    empty = weight[..., 0] == 0
    while empty.any() and size > 1:
        size //= 2
        small = [np.asarray(Image.fromarray(np.ascontiguousarray(p)).resize((size, size), Image.BOX)
                            .resize(sprite.size, Image.NEAREST)) for p in
                 (colour[..., 0], colour[..., 1], colour[..., 2], weight[..., 0])]
        found = empty & (small[3] > 0)
        out[found] = np.stack(small[:3], -1)[found] / small[3][found][:, None]
        empty &= ~found
    return Image.fromarray(out.clip(0, 255).astype(np.uint8))


def flat_emoji(path) -> Image.Image:
    """The drawing laid on white: how the test set shows the held-out style (the Twitter files
    themselves have their colours run on under alpha 0, so that dropping alpha drops the
    outline)."""
    sprite = Image.open(path).convert("RGBA")
    im = Image.new("RGB", sprite.size, (255, 255, 255))
    im.paste(sprite, (0, 0), sprite)
    return im


def bare_emoji(path) -> Image.Image:
    """The file as a reader that drops alpha sees it."""
    return Image.open(path).convert("RGB")


def easy_vqa(split: str):
    """(image paths by id, [(question, answer, image id)]) of the official split "train" or "test".

    cmd/evalattend/scene.go draws plain shapes of the same kind in Go, to measure maps on.
    """
    import easy_vqa as pkg
    questions = (pkg.get_train_questions if split == "train" else pkg.get_test_questions)()
    paths = (pkg.get_train_image_paths if split == "train" else pkg.get_test_image_paths)()
    return paths, list(zip(*questions))


def augmented_shape(im: Image.Image, rng: random.Random) -> Image.Image:
    """An easy-VQA image with small shifts and brightness changes; colours stay nameable, answers
    stay true."""
    im = im.convert("RGB")
    if rng.random() < 0.75:
        corner = im.getpixel((0, 0))
        dx, dy = rng.randint(-4, 4), rng.randint(-4, 4)
        moved = Image.new("RGB", im.size, corner)
        moved.paste(im, (dx, dy))
        im = ImageEnhance.Brightness(moved).enhance(rng.uniform(0.92, 1.05))
        if rng.random() < 0.5:
            im = im.transpose(Image.FLIP_LEFT_RIGHT)
    return im
