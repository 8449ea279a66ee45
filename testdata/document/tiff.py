"""Makes pages.tif, three pages of different kinds and sizes, and pages.tif.json, their pixels as Pillow has them: python tiff.py"""

import hashlib
import json
from pathlib import Path

from PIL import Image, ImageSequence

HERE = Path(__file__).parent


def main():
    pages = [Image.new("L", (9, 5)), Image.new("RGB", (4, 7)), Image.new("1", (16, 3))]
    for n, im in enumerate(pages):
        for y in range(im.height):
            for x in range(im.width):
                v = (x * 23 + y * 7 + n * 50) % 256
                im.putpixel((x, y), (v, 255 - v, v // 2) if im.mode == "RGB" else v if im.mode == "L" else 255 * (v % 2))
    pages[0].save(HERE / "pages.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    truth = [{"width": f.width, "height": f.height, "sha256": hashlib.sha256(f.convert("RGB").tobytes()).hexdigest()}
             for f in ImageSequence.Iterator(Image.open(HERE / "pages.tif"))]
    (HERE / "pages.tif.json").write_text(json.dumps(truth) + "\n")


if __name__ == "__main__":
    main()
