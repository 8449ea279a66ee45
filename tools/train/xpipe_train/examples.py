"""Makes testdata/images: python -m xpipe_train.examples OUT. Nothing among them was trained on.

Emoji by Twitter on white, a scene of them, easy-VQA test images, and photos that scikit-image ships
(CC0).
"""
import random
import sys
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from . import pictures, scenes
from .sources import TEST_STYLE

EMOJI = {"apple": "red apple", "dog": "dog face", "umbrella": "umbrella", "rocket": "rocket",
         "pizza": "pizza", "guitar": "guitar"}
SHAPES = {"blue-triangle": ("blue", "triangle"), "red-circle": ("red", "circle"),
          "gray-rectangle": ("gray", "rectangle")}
# what, its tint, its centre
SCENE = [("dog", None, 70, 75), ("dog", None, 250, 230), ("car", "blue", 75, 240),
         ("apple", "green", 240, 80)]
PHOTOS = {"cat": "chelsea.png", "coffee": "coffee.png"}  # scikit-image's names


def main(root=Path("build/train"), out=Path("testdata/images")):
    out.mkdir(parents=True, exist_ok=True)
    names, _, test = pictures.emoji_index(root)
    files = {names[c]: path for _, path, c in test}
    for name, label in EMOJI.items():
        pictures.flat_emoji(files[label]).save(out / f"{name}.png", optimize=True)
    things = [scenes.Thing(w, tint, x, y, 90, ()) for w, tint, x, y in SCENE]
    scene = scenes.render(scenes.Scene(things), scenes.load_sprites(root, TEST_STYLE), random.Random(8))
    scene.save(out / "scene.png", optimize=True)
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
