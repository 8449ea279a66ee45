"""Pillow's side of vision's benchmarks, on one thread.

    benchmark_reference.py make DIR      writes the pictures that are decoded
    benchmark_reference.py file PATH     times file -> model input, N on stdin
    benchmark_reference.py resize FILTER W H OW OH

The last two print the seconds of each of the runs asked for on stdin, one line
each, so that a Go benchmark can take turns with them.
"""

import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def photo(w: int, h: int) -> Image.Image:
    """Noise with the 1/f spectrum of photographs, and some grain."""
    rng = np.random.default_rng(7)
    out = np.zeros((h, w, 3), np.float32)
    size, weight = 4, 64.0
    while size < max(w, h):
        small = rng.normal(0, 1, (max(1, size * h // max(w, h)), size)).astype(np.float32)
        layer = np.asarray(Image.fromarray(small).resize((w, h), Image.Resampling.BICUBIC))
        tint = 1 + rng.normal(0, 0.3, 3).astype(np.float32)
        out += weight * layer[..., None] * tint
        size, weight = size * 2, weight * 0.55
    out += rng.normal(0, 7, out.shape).astype(np.float32) + 120
    return Image.fromarray(out.clip(0, 255).astype(np.uint8))


def model_input(path: str) -> np.ndarray:
    im = ImageOps.exif_transpose(Image.open(path)).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
    px = (np.asarray(im).astype(np.float64) * (1 / 255)).astype(np.float32)
    return np.ascontiguousarray(((px - MEAN) / STD).transpose(2, 0, 1)[None])


def serve(work) -> None:
    work()
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            work()
        print(time.perf_counter() - start, flush=True)


def main() -> None:
    match sys.argv[1:]:
        case ["make", out]:
            photo(640, 480).save(Path(out) / "vga.jpg", quality=85)
            photo(4000, 3000).save(Path(out) / "12mp.jpg", quality=85)
        case ["file", path]:
            serve(lambda: model_input(path))
        case ["resize", f, *size]:
            w, h, ow, oh = map(int, size)
            im = photo(w, h)
            serve(lambda: im.resize((ow, oh), int(f)))


main()
