"""Random small files and what Pillow 13.0.0 makes of them, for TestRandomFiles.

    random_reference.py COUNT SEED

writes to stdout for each file a line "FORMAT SETTINGS|BYTES WIDTH HEIGHT",
then the file, then its RGB pixels.
"""

import io
import sys

import numpy as np
import PIL
from PIL import Image


def draw(rng: np.random.Generator) -> Image.Image:
    w, h = (int(rng.integers(1, 80)) for _ in range(2))
    smooth = rng.normal(0, 1, (max(1, h // int(rng.integers(1, 12))), max(1, w // int(rng.integers(1, 12))), 3))
    px = (smooth * rng.uniform(10, 120) + rng.uniform(60, 190, 3)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(px).resize((w, h), int(rng.integers(0, 4)))


def encode(rng: np.random.Generator, im: Image.Image) -> tuple[str, dict, Image.Image]:
    def pick(*options):
        return options[rng.integers(len(options))]

    alpha = Image.fromarray(rng.integers(0, 256, (im.height, im.width), dtype=np.uint8)) if rng.random() < 0.5 else Image.new("L", im.size, 128)
    with_alpha = im.copy()
    with_alpha.putalpha(alpha)
    match pick("JPEG", "JPEG", "JPEG", "WEBP", "WEBP", "PNG", "GIF", "TIFF", "BMP", "PPM", "TGA", "ICO", "QOI"):
        case "JPEG":
            options = dict(quality=int(rng.integers(1, 101)), subsampling=int(rng.integers(0, 3)), progressive=bool(rng.integers(2)), optimize=bool(rng.integers(2)))
            if rng.random() < 0.3:
                options["restart_marker_blocks"] = int(rng.integers(1, 9))
            return "JPEG", options, im.convert(pick("RGB", "RGB", "RGB", "L", "CMYK"))
        case "WEBP":
            return "WEBP", dict(quality=int(rng.integers(0, 101)), method=int(rng.integers(0, 7)), lossless=bool(rng.integers(2)), exact=bool(rng.integers(2))), pick(im, with_alpha)
        case "PNG":
            return "PNG", dict(compress_level=int(rng.integers(0, 10))), pick(im, with_alpha, im.convert("L"), im.convert("1"), im.quantize(int(rng.integers(2, 257))), with_alpha.convert("LA"))
        case "GIF":
            return "GIF", dict(interlace=int(rng.integers(2))), pick(im.quantize(int(rng.integers(2, 257))), im.convert("L"), with_alpha)
        case "TIFF":
            return "TIFF", dict(compression=pick("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")), pick(im, im.convert("L"))
        case "PPM":
            return "PPM", {}, pick(im, im.convert("L"), im.convert("1"), im.convert("I"), im.convert("F"))
        case "TGA":
            return "TGA", dict(compression=pick(None, "tga_rle")), pick(im, with_alpha, im.convert("L"), with_alpha.convert("LA"), im.quantize(int(rng.integers(2, 257))))
        case "ICO":
            return "ICO", dict(sizes=[im.size], bitmap_format=pick("png", "bmp")), pick(im, im.convert("L"), im.convert("P"))
        case "QOI":
            return "QOI", {}, pick(im, with_alpha)
    return "BMP", {}, pick(im, im.convert("L"), im.convert("1"), im.quantize(int(rng.integers(2, 257))))


def main() -> None:
    if PIL.__version__ != "13.0.0":
        sys.exit(f"Pillow is {PIL.__version__}, the reference is 13.0.0")
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    out = sys.stdout.buffer
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        kind, options, im = encode(rng, draw(rng))
        file = io.BytesIO()
        im.save(file, kind, **options)
        px = Image.open(io.BytesIO(file.getvalue())).convert("RGB")
        out.write(f"{kind} {im.mode} {options}|{len(file.getvalue())} {px.width} {px.height}\n".encode())
        out.write(file.getvalue() + px.tobytes())
    out.flush()


main()
