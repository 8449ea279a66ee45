"""Real photographs to learn from: what a photo looks like to the encoder, and that the classifier names it.

There are few photographs with a licence that allows it: ten of Debian's lomiri-wallpapers-16.04, each cut into
many crops. They are not labelled: the caption of a crop is what the frozen classifier calls it. The trainer also
gives a crop's features another class's words, so that all 1,000 names are learned although ten photos show few.
"""
import random
import subprocess
from pathlib import Path

from PIL import Image, ImageEnhance

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
