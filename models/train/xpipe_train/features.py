"""Caches encoder features on disk: features/<set>/{grid,pooled}.npy (float16) and meta.json.

A set that is complete is not made again, so that the command may be stopped and repeated; more views of the
emoji are more sets (`emoji-0`, `emoji-1`, ...), each with its own seed.
"""
import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
from PIL import Image

from . import photos, pictures
from .encoder import CELL, GRID, POOLED, Features

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
                print(f"{name} {len(meta)}/{count} {(time.time() - start) / len(meta) * 1e3:.1f} ms each", flush=True)
    if batch:
        flush()
    assert len(meta) == count, (name, len(meta), count)
    grid.flush(), pooled.flush()
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
          ((pictures.augmented_emoji(Image.open(path).convert("RGBA"), rng), [style, c]) for style, path, c in train), encode)


def shapes_set(root: Path, k: int, encode: Features) -> None:
    """View k of every easy-VQA training image; view 0 is the file itself. Meta rows are image ids."""
    paths, _ = pictures.easy_vqa("train")
    rng = random.Random(2000 + k)
    cache(root, f"shapes-{k}", len(paths),
          ((Image.open(paths[i]) if k == 0 else pictures.augmented_shape(Image.open(paths[i]), rng), i) for i in sorted(paths)),
          encode)


def photos_set(root: Path, k: int, encode: Features) -> None:
    """View 0: crops of the photos; view 1: crops cut out, on plain backgrounds. Meta rows are file names."""
    rng = random.Random(3000 + k)
    files = photos.fetch(root)

    def crops():
        for path in files:
            im = Image.open(path).convert("RGB")
            for _ in range(photos.CROPS):
                yield (photos.cut_out if k else photos.crop)(im, rng), path.name
    cache(root, f"photos-{k}", photos.CROPS * len(files), crops(), encode)


def test_sets(root: Path, encode: Features) -> None:
    """What the evaluation shows: the held-out style on white (and with its alpha dropped), easy-VQA's test images."""
    _, _, test = pictures.emoji_index(root)
    cache(root, "emoji-test", len(test), ((pictures.flat_emoji(p), [s, c]) for s, p, c in test), encode)
    cache(root, "emoji-bare", len(test), ((pictures.bare_emoji(p), [s, c]) for s, p, c in test), encode)
    paths, _ = pictures.easy_vqa("test")
    cache(root, "shapes-test", len(paths), ((Image.open(paths[i]), i) for i in sorted(paths)), encode)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--root", type=Path, default=Path("build/train"))
    ap.add_argument("--emoji-views", type=int, default=6)
    ap.add_argument("--shape-views", type=int, default=2)
    args = ap.parse_args()
    encode = Features(args.root / "encoder.onnx")
    test_sets(args.root, encode)
    photos_set(args.root, 0, encode)
    photos_set(args.root, 1, encode)
    for k in range(max(args.emoji_views, args.shape_views)):
        if k < args.emoji_views:
            emoji_set(args.root, k, encode)
        if k < args.shape_views:
            shapes_set(args.root, k, encode)


if __name__ == "__main__":
    main()
