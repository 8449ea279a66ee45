"""Makes testdata/images: python -m xpipe_train.examples OUT. Nothing among them was trained on.

Emoji by Twitter on white, easy-VQA test images, and photos that scikit-image ships (CC0).
"""
import sys
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from . import pictures

EMOJI = {"apple": "red apple", "dog": "dog face", "umbrella": "umbrella", "rocket": "rocket", "pizza": "pizza", "guitar": "guitar"}
SHAPES = {"blue-triangle": ("blue", "triangle"), "red-circle": ("red", "circle"), "gray-rectangle": ("gray", "rectangle")}
PHOTOS = {"cat": "chelsea.png", "coffee": "coffee.png"}  # scikit-image's names


def main(root=Path("build/train"), out=Path("testdata/images")):
    out.mkdir(parents=True, exist_ok=True)
    names, _, test = pictures.emoji_index(root)
    files = {names[c]: path for _, path, c in test}
    for name, label in EMOJI.items():
        pictures.flat_emoji(files[label]).save(out / f"{name}.png", optimize=True)
    paths, asked = pictures.easy_vqa("test")
    said: dict[int, set] = {}
    for _, a, i in asked:
        said.setdefault(i, set()).add(a)
    for name, (colour, shape) in SHAPES.items():
        i = min(i for i, s in said.items() if {colour, shape} <= s)
        Image.open(paths[i]).convert("RGB").save(out / f"{name}.png", optimize=True)
    for name, file in PHOTOS.items():
        im = Image.open(Path(find_spec("skimage").origin).parent / "data" / file).convert("RGB")
        im.thumbnail((320, 320), Image.LANCZOS)
        im.save(out / f"{name}.jpg", quality=88)


if __name__ == "__main__":
    main(*(Path(a) for a in sys.argv[1:]))
