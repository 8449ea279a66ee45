"""Features of things cut out of drawn scenes: what lxmert-mini is trained on.

    python -m xpipe_train.lxmert_crops [--root build/train] [--scenes 220]     #
        build/train/lxmert/STYLE.npz

Scenes full of different things are drawn in each training style, cut as the Go side cuts regions,
and put through the frozen trunk. Training then lays out any number of scenes from these without
drawing one. A style's file holds features [n,F] float16, concept [n], tint [n] (-1: its own
colours) and whole [scenes,F], the scenes as a whole.
"""
import argparse
import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import nn

from .encoder import MEAN, STD, Encoder
from .scenes import (CONCEPTS, LARGEST, MOST, SIDE, SMALLEST, TEST_SCENES, TEST_SEED, TINTS, Scene,
                     Thing, _place, layout, load_sprites, questions, render)
from .sources import TEST_STYLE, TRAIN_STYLES

SIZE = 128     # pixels of a region's side, as the trunk sees it
MARGIN = 0.1   # of a box's longer side, added on every side of it
GRID = 4       # cells a side of the coarse colours
LEVELS = (-0.9, 0.0, 0.9)  # of each channel, whose 27 combinations are the palette
FEATURES = 1280 + 112 + 3 * GRID * GRID + 27 + 6


class Colours(nn.Module):
    """pixel_values [R,3,128,128] -> [R,81]: the mean colours of 4x4 cells; how much of the
    palette's colours there is in what differs from the crop's frame; that part's mean colour, and
    the frame's. Deep features forget much of this."""

    def __init__(self):
        super().__init__()
        self.register_buffer("palette", torch.cartesian_prod(*[torch.tensor(LEVELS)] * 3))

    def forward(self, pixel_values):
        small = nn.functional.avg_pool2d(pixel_values, 4)  # [R,3,32,32]
        frame = torch.cat([small[:, :, 0], small[:, :, -1], small[:, :, :, 0], small[:, :, :, -1]], 2).mean(2)  # [R,3]
        x = small.flatten(2).transpose(1, 2)  # [R,1024,3]
        away = (x - frame[:, None]).abs().amax(2)
        weight = torch.sigmoid((away - 0.25) * 16)[:, :, None]
        total = weight.sum(1) + 1
        near = ((x[:, :, None] - self.palette) ** 2).sum(3).mul(-6).softmax(2)  # [R,1024,27]
        return torch.cat(
            [nn.functional.avg_pool2d(pixel_values, SIZE // GRID).flatten(1),
             (near * weight).sum(1) / total,
             (x * weight).sum(1) / total, frame], 1)


class Trunk(nn.Module):
    """pixel_values [R,3,128,128] -> [R,F]: EfficientNet-lite0's pooled feature (square root), the
    mean of its 112 channels at stride 16, and Colours."""

    def __init__(self):
        super().__init__()
        self.net, self.colours = Encoder(), Colours()
        self.net.classifier = None

    def forward(self, pixel_values):
        net = self.net
        x = net.act(net.stem(pixel_values))
        for i, block in enumerate(net.blocks):
            x = block(x)
            if i == 10:
                middle = x.mean((2, 3))
        pooled = net.act(net.head(x)).mean((2, 3))
        return torch.cat([pooled.clamp(min=0).add(1e-6).sqrt(), middle, self.colours(pixel_values)], 1)


def square(box, width, height):
    """The part of a picture that is cut out for a box: see pipeline's region crops, which this
    repeats."""
    x1, y1, x2, y2 = box
    longer = max(x2 - x1, y2 - y1)
    side = round(longer * (1 + 2 * MARGIN))
    out = []
    for lo, hi, size in ((x1, x2, width), (y1, y2, height)):
        start = max(0, min(int((lo + hi - side) // 2), size - side))
        out.append((start, min(size, start + side)))
    return out[0][0], out[1][0], out[0][1], out[1][1]


def pixels(im: Image.Image) -> np.ndarray:
    im = im.resize((SIZE, SIZE), Image.BICUBIC)
    x = np.asarray(im, np.float32) * np.float32(1 / 255)
    return ((x - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1)


def varied(sprite: Image.Image, rng: random.Random) -> Image.Image:
    """Another drawing of the same: mirrored, turned a little, paler or stronger, softer."""
    if rng.random() < 0.5:
        sprite = sprite.transpose(Image.FLIP_LEFT_RIGHT)
    if rng.random() < 0.4:
        sprite = sprite.rotate(rng.uniform(-14, 14), Image.BICUBIC, expand=True)
        sprite = sprite.crop(sprite.getchannel("A").point(lambda a: 255 if a > 24 else 0).getbbox())
    if rng.random() < 0.4:
        w, h = sprite.size
        sprite = sprite.resize(
            (max(8, round(w * rng.uniform(0.85, 1.15))),
             max(8, round(h * rng.uniform(0.85, 1.15)))), Image.BICUBIC)
    if rng.random() < 0.5:
        alpha, rgb = sprite.getchannel("A"), sprite.convert("RGB")
        for kind in (ImageEnhance.Color, ImageEnhance.Brightness, ImageEnhance.Contrast):
            rgb = kind(rgb).enhance(rng.uniform(0.7, 1.3))
        sprite = Image.merge("RGBA", (*rgb.split(), alpha))
    return sprite


def full_scene(words, rng: random.Random) -> Scene:
    """A scene of six or seven different things, half of them recoloured."""
    words = rng.sample(sorted(words), rng.choice((MOST - 1, MOST)))
    largest = LARGEST
    while True:
        sides = [rng.randint(SMALLEST, largest) for _ in words]
        if placed := _place(sides, rng):
            return Scene([Thing(w, rng.choice(list(TINTS)) if rng.random() < 0.6 else None, x, y, s, ())
                          for w, s, (x, y) in zip(words, sides, placed)])
        largest = max(SMALLEST, largest - 4)


def crops(sprites, rng: random.Random):
    """(crops, concept numbers, tint numbers, the whole picture) of one scene."""
    words, tints = list(CONCEPTS), list(TINTS)
    scene = full_scene(sprites, rng)
    im = render(scene, {t.concept: [varied(rng.choice(sprites[t.concept]), rng)] for t in scene.things}, rng)
    cut = []
    for t in scene.things:
        box = [v + rng.randint(-3, 3) for v in t.box]  # a proposal is not exact
        cut.append(im.crop(square((max(0, box[0]), max(0, box[1]), min(SIDE, box[2]), min(SIDE, box[3])), SIDE, SIDE)))
    return (cut, [words.index(t.concept) for t in scene.things],
            [tints.index(t.tint) if t.tint else -1 for t in scene.things], im)


def session(root: Path):
    import onnxruntime as ort
    path = root / "lxmert/trunk.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.onnx.export(Trunk().eval(), (torch.zeros(2, 3, SIZE, SIZE),), str(path), opset_version=17, dynamo=False,
                          input_names=["pixel_values"], output_names=["features"],
                          dynamic_axes={n: {0: "R"} for n in ("pixel_values", "features")})
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    s = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda ims: s.run(None, {"pixel_values": np.stack([pixels(im) for im in ims])})[0].astype(np.float16)


def test_set(root: Path):
    """The fixed test scenes, cut at their things' boxes: ([(features, boxes, concepts, tints)],
    [(scene, kind, question, answer)]). Their features are cached in root/lxmert/test.npz."""
    rng = random.Random(TEST_SEED)
    sprites, words, tints = load_sprites(root, TEST_STYLE), list(CONCEPTS), list(TINTS)
    path, made, asked, run = root / "lxmert/test.npz", [], [], None
    cached = np.load(path)["features"] if path.exists() else None
    for n in range(TEST_SCENES):
        scene = layout(rng, sprites)
        im = render(scene, sprites, rng)
        boxes = [(0, 0, SIDE, SIDE), *(t.box for t in scene.things)]
        begin = sum(len(m[1]) for m in made)
        if cached is None:
            run = run or session(root)
            features = run([im, *(im.crop(square(t.box, SIDE, SIDE)) for t in scene.things)])
        else:
            features = cached[begin:begin + len(boxes)]
        made.append((features, boxes, [-100, *(words.index(t.concept) for t in scene.things)],
                     [-100, *(tints.index(t.tint) if t.tint else -1 for t in scene.things)]))
        asked += [(n, *q) for q in dict.fromkeys(questions(scene, rng, sprites, each=3))]
    if cached is None:
        np.savez(path, features=np.concatenate([m[0] for m in made]))
    return made, asked


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--root", type=Path, default=Path("build/train"))
    p.add_argument("--scenes", type=int, default=220, help="for each style")
    a = p.parse_args()
    run = session(a.root)
    for style in TRAIN_STYLES:
        out = a.root / f"lxmert/{style}.npz"
        if out.exists():
            continue
        rng = random.Random(f"{style} crops")
        sprites = load_sprites(a.root, style)
        kept = {k: [] for k in ("features", "concept", "tint", "whole")}
        for n in range(a.scenes):
            ims, concept, tint, im = crops(sprites, rng)
            f = run(ims + [im])
            kept["features"].append(f[:-1])
            kept["whole"].append(f[-1:])
            kept["concept"] += concept
            kept["tint"] += tint
            if n % 50 == 0:
                print(style, n, flush=True)
        np.savez(out, features=np.concatenate(kept["features"]), whole=np.concatenate(kept["whole"]),
                 concept=np.int16(kept["concept"]), tint=np.int16(kept["tint"]))


if __name__ == "__main__":
    main()
