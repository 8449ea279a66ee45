"""Caches encoder features on disk: features/<set>/{grid,pooled}.npy (float16) and meta.json.

A set that is complete is not made again, so that the command may be stopped and repeated; more
views of the emoji are more sets (`emoji-0`, `emoji-1`, ...), each with its own seed.
"""
import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from . import photos, pictures, scenes
from .encoder import CELL, GRID, POOLED, Features
from .sources import TEST_STYLE, TRAIN_STYLES

BATCH = 16


def cache(root: Path, name: str, count: int, items, encode: Features) -> None:
    """items yields (PIL image, meta row) `count` times."""
    out = root / "features" / name
    if (out / "meta.json").exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    grid = np.lib.format.open_memmap(out / "grid.npy", "w+", np.float16, (count, GRID, CELL))
    pooled = np.lib.format.open_memmap(out / "pooled.npy", "w+", np.float16, (count, POOLED))
    meta, batch, start = [], [], time.time()

    def flush():
        n = len(meta) - len(batch)
        grid[n:n + len(batch)], pooled[n:n + len(batch)] = encode(batch)
        batch.clear()

    for image, row in items:
        batch.append(image)
        meta.append(row)
        if len(batch) == BATCH:
            flush()
            if len(meta) % (BATCH * 50) == 0:
                print(f"{name} {len(meta)}/{count} {(time.time() - start) / len(meta) * 1e3:.1f} "
                      "ms each", flush=True)
    if batch:
        flush()
    assert len(meta) == count, (name, len(meta), count)
    grid.flush()
    pooled.flush()
    (out / "meta.json").write_text(json.dumps(meta))
    print(f"{name} done: {count} in {time.time() - start:.0f} s", flush=True)


def load(root: Path, name: str):
    """(grid memmap, pooled array, meta list) of a cached set."""
    out = root / "features" / name
    return (np.load(out / "grid.npy", mmap_mode="r"), np.load(out / "pooled.npy"),
            json.loads((out / "meta.json").read_text()))


def emoji_set(root: Path, k: int, encode: Features) -> None:
    """View k of every training sprite; meta rows are [style, concept number]."""
    _, train, _ = pictures.emoji_index(root)
    rng = random.Random(1000 + k)
    cache(root, f"emoji-{k}", len(train),
          ((pictures.augmented_emoji(Image.open(path).convert("RGBA"), rng), [style, c])
           for style, path, c in train), encode)


def shapes_set(root: Path, k: int, encode: Features) -> None:
    """View k of every easy-VQA training image; view 0 is the file itself. Meta rows are image
    ids."""
    paths, _ = pictures.easy_vqa("train")
    cache(root, f"shapes-{k}", len(paths), zip(shape_views(k), sorted(paths)), encode)


def shape_views(k: int):
    """The pictures of shapes_set, in order of their ids."""
    paths, _ = pictures.easy_vqa("train")
    rng = random.Random(2000 + k)
    for i in sorted(paths):
        yield Image.open(paths[i]) if k == 0 else pictures.augmented_shape(Image.open(paths[i]), rng)


def photos_set(root: Path, k: int, encode: Features) -> None:
    """View 0: crops of the photos; view 1: crops cut out, on plain backgrounds. Meta rows are file
    names."""
    rng = random.Random(3000 + k)
    files = photos.fetch(root)

    def crops():
        for path in files:
            im = Image.open(path).convert("RGB")
            for _ in range(photos.CROPS):
                yield (photos.cut_out if k else photos.crop)(im, rng), path.name
    cache(root, f"photos-{k}", photos.CROPS * len(files), crops(), encode)


SCENES = 1000  # in a set


def jittered(sprite: Image.Image, rng: random.Random) -> Image.Image:
    """A drawing mirrored, turned a little, its colours stronger or weaker: the hand of yet another
    style."""
    if rng.random() < 0.5:
        sprite = sprite.transpose(Image.FLIP_LEFT_RIGHT)
    if rng.random() < 0.5:
        sprite = sprite.rotate(rng.uniform(-15, 15), Image.BICUBIC, expand=True)
        sprite = sprite.crop(sprite.getchannel("A").point(lambda a: 255 if a > 24 else 0).getbbox())
    rgb = sprite.convert("RGB")
    for kind, spread in ((ImageEnhance.Color, 0.4), (ImageEnhance.Brightness, 0.2), (ImageEnhance.Contrast, 0.3)):
        rgb = kind(rgb).enhance(rng.uniform(1 - spread, 1 + spread))
    rgb.putalpha(sprite.getchannel("A"))
    return rgb


def scene_row(scene: scenes.Scene, style: str) -> dict:
    return {"style": style, "things": [[t.concept, t.tint, t.x, t.y, t.side, list(t.box)] for t in scene.things]}


def scene_of(row: dict) -> scenes.Scene:
    return scenes.Scene([scenes.Thing(*t) for t in row["things"]])


def scenes_set(root: Path, k: int, encode: Features) -> None:
    """A thousand scenes in the training styles. Meta rows say what is where (scene_of)."""
    rng = random.Random(4000 + k)
    sprites = {}
    for style in TRAIN_STYLES:  # each drawing as it is, and in four other ways
        sprites[style] = {w: drawn + [jittered(s, rng) for s in drawn for _ in range(4)]
                          for w, drawn in scenes.load_sprites(root, style).items()}

    def drawn():
        for _ in range(SCENES):
            style = rng.choice(list(TRAIN_STYLES))
            scene = scenes.layout(rng, sprites[style])
            image = scenes.render(scene, sprites[style], rng)
            yield image, scene_row(scene, style)
    cache(root, f"scenes-{k}", SCENES, drawn(), encode)


def scenes_test(root: Path, encode: Features, count=500, seed=2026) -> None:
    """The pictures of scenes.write_test; meta rows hold their questions too."""
    rng = random.Random(seed)
    sprites = scenes.load_sprites(root, TEST_STYLE)

    def drawn():
        for _ in range(count):
            scene = scenes.layout(rng, sprites)
            image = scenes.render(scene, sprites, rng)
            yield image, scene_row(scene, TEST_STYLE) | {"asked": scenes.questions(scene, rng, sprites)}
    cache(root, "scenes-test", count, drawn(), encode)


def test_sets(root: Path, encode: Features) -> None:
    """What the evaluation shows: the held-out style on white (and with its alpha dropped),
    easy-VQA's test images."""
    _, _, test = pictures.emoji_index(root)
    cache(root, "emoji-test", len(test), ((pictures.flat_emoji(p), [s, c]) for s, p, c in test), encode)
    cache(root, "emoji-bare", len(test), ((pictures.bare_emoji(p), [s, c]) for s, p, c in test), encode)
    paths, _ = pictures.easy_vqa("test")
    cache(root, "shapes-test", len(paths), ((Image.open(paths[i]), i) for i in sorted(paths)), encode)
    scenes_test(root, encode)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--root", type=Path, default=Path("build/train"))
    ap.add_argument("--emoji-views", type=int, default=3)
    ap.add_argument("--shape-views", type=int, default=2)
    ap.add_argument("--scene-sets", type=int, default=16, help="of a thousand pictures each")
    args = ap.parse_args()
    encode = Features(args.root / "encoder.onnx")
    test_sets(args.root, encode)
    photos_set(args.root, 0, encode)
    photos_set(args.root, 1, encode)
    for k in range(args.scene_sets):
        scenes_set(args.root, k, encode)
    for k in range(max(args.emoji_views, args.shape_views)):
        if k < args.emoji_views:
            emoji_set(args.root, k, encode)
        if k < args.shape_views:
            shapes_set(args.root, k, encode)


if __name__ == "__main__":
    main()
