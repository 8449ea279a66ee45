"""What Pillow 13.0.0 makes of the files of images/: their pixels, as hashes.

    build/venv/bin/python3 testdata/vision/golden.py

writes golden.json: for each file its size after the turn that Exif asks for,
the SHA-256 of the RGB bytes, that of the alpha bytes if there is transparency (other than one colour of an
RGB picture, which convert("RGBA") alone would see),
and for animations that of every frame. With --stream, file names on stdin
("NAME" or "NAME FRAME") get the raw RGB bytes on stdout instead: a test that
sees a wrong hash uses that to say how far off the pixels are.
"""

import hashlib
import json
import sys
import warnings
from pathlib import Path

import PIL
from PIL import Image, ImageOps, features

HERE = Path(__file__).parent
warnings.simplefilter("ignore")


def load(path: Path, frame: int = 0) -> Image.Image:
    im = Image.open(path)
    if frame:
        im.seek(frame)
        return im.convert("RGB")
    return ImageOps.exif_transpose(im)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def describe(path: Path) -> dict:
    im = load(path)
    rgb = im.convert("RGB")
    out: dict = {"size": list(rgb.size), "rgb": sha(rgb.tobytes())}
    alpha = im.convert("RGBA").getchannel("A")
    if im.mode != "RGB" and alpha.getextrema()[0] < 255:
        out["alpha"] = sha(alpha.tobytes())
    n = getattr(Image.open(path), "n_frames", 1)
    if n > 1:
        out["frames"] = [sha(load(path, i).convert("RGB").tobytes()) for i in range(n)]
    return out


def main() -> None:
    if PIL.__version__ != "13.0.0":
        sys.exit(f"Pillow is {PIL.__version__}, the reference is 13.0.0")
    if sys.argv[1:] == ["--stream"]:
        for line in sys.stdin:
            name, *frame = line.split()
            sys.stdout.buffer.write(load(HERE / "images" / name, int(frame[0]) if frame else 0).convert("RGB").tobytes())
            sys.stdout.buffer.flush()
        return
    libraries = {name: features.version(name) for name in ("libjpeg_turbo", "webp", "zlib", "libtiff")}
    files = {p.name: describe(p) for p in sorted((HERE / "images").iterdir())}
    text = json.dumps({"pillow": PIL.__version__, "libraries": libraries, "files": files}, indent=1)
    (HERE / "golden.json").write_text(text + "\n")


main()
