"""Streams pictures resized by Pillow, for TestResizeEqualsPillow.

The test and this script draw the same random pictures from the same generator
(splitmix64), so only the results travel: for each case on stdin, one line
"filter width height out_width out_height seed kind reducing_gap", a gap of 0
for none, the RGB bytes of the result go to stdout.
"""

import sys

import numpy as np
from PIL import Image


def noise(seed: int, n: int) -> np.ndarray:
    """n bytes of splitmix64, counter based, low byte first."""
    words = (n + 7) // 8
    z = np.arange(1, words + 1, dtype=np.uint64)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z += np.uint64(seed)
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z.astype("<u8").view(np.uint8)[:n]


def picture(seed: int, w: int, h: int, kind: int) -> np.ndarray:
    """kind 0: noise; 1: black and white noise, which overshoots; 2: a gradient."""
    if kind == 2:
        y, x, c = (a.astype(np.uint8) for a in np.ogrid[:h, :w, :3])
        return x * np.uint8(7) + y * np.uint8(3) + c * np.uint8(50)
    px = noise(seed, w * h * 3).reshape(h, w, 3)
    return px if kind == 0 else (px >> np.uint8(7)) * np.uint8(255)


def main() -> None:
    import PIL

    if PIL.__version__ != "13.0.0":
        sys.exit(f"Pillow is {PIL.__version__}, the reference is 13.0.0")
    np.seterr(over="ignore")
    for line in sys.stdin:
        f, w, h, ow, oh, seed, kind, gap = map(int, line.split())
        im = Image.fromarray(picture(seed, w, h, kind))
        out = im.resize((ow, oh), f, reducing_gap=gap or None)
        sys.stdout.buffer.write(out.tobytes())
    sys.stdout.buffer.flush()


main()
