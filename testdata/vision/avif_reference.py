"""Random AVIF files and what Pillow 13.0.0 makes of them, for package vision/avif.

    avif_reference.py COUNT SEED

writes to stdout for each file a line "SETTINGS|BYTES WIDTH HEIGHT", then the
file, then its RGB pixels and its alpha.
"""

import io
import sys

import numpy as np
import PIL
from PIL import Image, ImageOps


def main() -> None:
    if PIL.__version__ != "13.0.0":
        sys.exit(f"Pillow is {PIL.__version__}, the reference is 13.0.0")
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    out = sys.stdout.buffer
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        w, h = (int(rng.integers(1, 120)) for _ in range(2))
        smooth = rng.normal(0, 1, (max(1, h // int(rng.integers(1, 12))), max(1, w // int(rng.integers(1, 12))), 3))
        px = (smooth * rng.uniform(10, 120) + rng.uniform(60, 190, 3)).clip(0, 255).astype(np.uint8)
        im = Image.fromarray(px).resize((w, h), 2)
        mode = ("RGB", "RGBA", "L")[rng.integers(3)]
        if mode == "RGBA":
            im.putalpha(Image.fromarray(rng.integers(0, 256, (h, w), dtype=np.uint8)))
        im = im.convert(mode)
        options: dict = dict(quality=int(rng.integers(1, 101)), subsampling=("4:4:4", "4:2:2", "4:2:0", "4:0:0")[rng.integers(4)], range=("full", "limited")[rng.integers(2)], speed=8, codec="aom")
        exif = Image.Exif()
        exif[0x112] = turn = int(rng.integers(1, 9))
        if rng.random() < 0.5:
            options["exif"] = exif
        if mode == "RGBA" and options["subsampling"] in ("4:4:4", "4:0:0") and rng.random() < 0.3:
            options["alpha_premultiplied"] = True
        file = io.BytesIO()
        im.save(file, "AVIF", **options)
        back = ImageOps.exif_transpose(Image.open(io.BytesIO(file.getvalue())))
        rgb, alpha = back.convert("RGB"), back.convert("RGBA").getchannel("A")
        name = f"{mode} {options['subsampling']} {options['range']} q{options['quality']} {turn if 'exif' in options else ''}{' premultiplied' if 'alpha_premultiplied' in options else ''}"
        out.write(f"{name}|{len(file.getvalue())} {rgb.width} {rgb.height}\n".encode())
        out.write(file.getvalue() + rgb.tobytes() + alpha.tobytes())
    out.flush()


main()
