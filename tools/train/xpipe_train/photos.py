"""Real photographs to learn from: what a photo looks like to the encoder, and that the classifier
names it.

There are few photographs with a licence that allows it: ten of Debian's lomiri-wallpapers-16.04,
each cut into many crops. They are not labelled: the caption of a crop is what the frozen classifier
calls it. A second view shows crops in the outline of an ellipse on a plain background, as goods are
photographed. The trainer also gives a crop's features another class's words, so that all 1,000
names are learned although ten photos show few.
"""
import random
import subprocess
from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance

PACKAGE = "lomiri-wallpapers-16.04"
PHOTOS = {  # file -> author and licence, from the package's copyright file
    "aitzgorri_by_Aitzol_Berasategi.jpg": "Aitzol Berasategi, CC-BY-4.0",
    "friends_by_Aitzol_Berasategi.jpg": "Aitzol Berasategi, CC-BY-4.0",
    "life_by_Aitzol_Berasategi.jpg": "Aitzol Berasategi, CC-BY-4.0",
    "picosdeeuropa_by_Aitzol_Berasategi.jpg": "Aitzol Berasategi, CC-BY-4.0",
    "sunset_by_Aitzol_Berasategi.jpg": "Aitzol Berasategi, CC-BY-4.0",
    "Picture_0B_by_freespace.jpg": "Trevor \"Freespace\", CC-BY-4.0",
    "Picture_1A_by_freespace.jpg": "Trevor \"Freespace\", CC-BY-4.0",
    "umang_by_Abhishek_Mudgal.jpg": "Abhishek Mudgal, CC-BY-4.0",
    "Wine_by_Jakkub_Mede.jpg": "Jakub Mede, CC-BY-4.0",
    "seeding_by_Clements_Engelhardt.jpg": "Clemens Engelhardt, CC0-1.0",
}
CROPS = 60  # of each photo in a view


def fetch(root: Path) -> list[Path]:
    """The photos named above, out of the package, scaled to 900 px at most."""
    out = root / "photos"
    if not out.exists():
        work = root / "deb"
        work.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-q", PACKAGE], cwd=work, check=True)
        subprocess.run(["dpkg", "-x", str(next(work.glob(f"{PACKAGE}_*.deb"))), str(work / "x")], check=True)
        part = root / "photos.part"
        part.mkdir(exist_ok=True)
        for path in (work / "x").rglob("*.jpg"):
            if path.name in PHOTOS and not path.is_symlink():
                im = Image.open(path).convert("RGB")
                im.thumbnail((900, 900), Image.LANCZOS)
                im.save(part / path.name, quality=92)
        part.rename(out)
    found = sorted(out.iterdir())
    assert len(found) == len(PHOTOS), found
    return found


def crop(im: Image.Image, rng: random.Random) -> Image.Image:
    """A random part of a photo, a tenth to all of its area, sometimes mirrored or recoloured."""
    share, aspect = rng.uniform(0.1, 1.0) ** 0.5, rng.uniform(0.75, 1.33)
    w, h = min(im.width, int(im.width * share * aspect)), min(im.height, int(im.height * share / aspect))
    x, y = rng.randint(0, im.width - w), rng.randint(0, im.height - h)
    im = im.crop((x, y, x + w, y + h))
    if rng.random() < 0.5:
        im = im.transpose(Image.FLIP_LEFT_RIGHT)
    if rng.random() < 0.7:
        im = ImageEnhance.Color(im).enhance(rng.uniform(0.5, 1.6))
        im = ImageEnhance.Brightness(im).enhance(rng.uniform(0.7, 1.3))
    return im


def cut_out(im: Image.Image, rng: random.Random) -> Image.Image:
    """A crop seen through a turned ellipse or rounded box, on white, black or a plain colour."""
    im = crop(im, rng).resize((240, 240), Image.BICUBIC)
    mask = Image.new("L", (480, 480), 0)
    w, h = rng.randint(100, 220), rng.randint(100, 220)
    box = (240 - w, 240 - h, 240 + w, 240 + h)
    draw = ImageDraw.Draw(mask)
    if rng.random() < 0.6:
        draw.ellipse(box, fill=255)
    else:
        draw.rounded_rectangle(box, radius=min(w, h) // 2, fill=255)
    mask = mask.rotate(rng.uniform(0, 180), Image.BICUBIC).resize((240, 240), Image.BOX)
    kind = rng.random()
    colour = (255, 255, 255) if kind < 0.6 else (0, 0, 0) if kind < 0.7 else tuple(rng.randrange(256) for _ in range(3))
    out = Image.new("RGB", im.size, colour)
    out.paste(im, (0, 0), mask)
    return out
