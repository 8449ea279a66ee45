"""Real photographs with known contents, to test on: Debian's gcompris-qt-data and the photos of scikit-image.

Their licences differ per file (CC-BY-SA and GPL among them), so they are never trained on and never committed.
A caption is right if it holds one of the words for what the photo shows.
"""
import re
import struct
import subprocess
import zlib
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

from PIL import Image

from .text import imagenet_names

PACKAGE = "gcompris-qt-data"
DOGS, CATS, FISH = range(151, 269), range(281, 286), (0, 1, *range(389, 398))  # ImageNet class numbers
GCOMPRIS = [  # file name without digits -> words that are right, and classes whose every name is right
    ("animals/dog", ["dog"], DOGS), ("animals/cow", ["cow", "ox", "bull"], ()), ("animals/cat", ["cat"], CATS),
    ("animals/chicken", ["chicken", "hen", "rooster"], ()), ("animals/horse", ["horse"], ()), ("animals/duck", ["duck", "drake"], ()),
    ("animals/sheep", ["sheep", "ram"], ()), ("animals/owl", ["owl"], ()), ("animals/pig", ["pig", "hog", "boar"], ()),
    ("tools/hammer", ["hammer"], ()), ("tools/screwDriver", ["screwdriver"], ()), ("renewable/dam", ["dam"], ()),
    ("renewable/solar", ["solar"], ()), ("fishes/fish", ["fish"], FISH), ("others/baseball", ["baseball"], ()),
    ("others/volleyball", ["volleyball"], ()), ("others/igloo", ["igloo"], ()), ("others/pillow", ["pillow"], ()),
    ("others/pan", ["pan", "wok"], ()), ("others/plate", ["plate"], ()), ("others/buffetset", ["cup", "saucer"], ()),
    ("others/cup", ["cup"], ()), ("others/bucket", ["bucket", "basket"], ()), ("others/spoons", ["spoon"], ()),
    ("others/chair", ["chair"], ()), ("others/weighingMachine", ["scale"], ()), ("monuments/arcDeTriomphe", ["arch"], ()),
    ("monuments/IndiaGate", ["arch"], ()), ("monuments/brandenburgGate", ["arch"], ()), ("monuments/zimniPalace", ["palace"], ()),
    ("monuments/tajMahal", ["mosque", "palace"], ()), ("monuments/cathedral", ["church", "monastery", "cathedral"], ()),
]
SKIMAGE = [("chelsea.png", ["cat"], CATS), ("coffee.png", ["coffee", "espresso", "cup"], ()), ("rocket.jpg", ["rocket", "missile"], ()),
           ("motorcycle_left.png", ["motorcycle", "moped", "scooter"], ())]


def read_rcc(path: Path) -> dict[str, bytes]:
    """Files of a Qt resource collection (rcc, versions 1 to 3) that are stored plain or zlib-compressed."""
    raw = path.read_bytes()
    version, tree, data, names = struct.unpack(">IIII", raw[4:20])
    size = 14 if version == 1 else 22
    out = {}

    def walk(node: int, prefix: str):
        at = tree + node * size
        name_at, flags = struct.unpack(">IH", raw[at:at + 6])
        length = struct.unpack(">H", raw[names + name_at:names + name_at + 2])[0]
        name = raw[names + name_at + 6:names + name_at + 6 + 2 * length].decode("utf-16-be") if node else ""
        if flags & 2:
            count, first = struct.unpack(">II", raw[at + 6:at + 14])
            for child in range(first, first + count):
                walk(child, f"{prefix}{name}/" if node else "")
        elif not flags & 4:
            start = data + struct.unpack(">I", raw[at + 10:at + 14])[0]
            n = struct.unpack(">I", raw[start:start + 4])[0]
            body = raw[start + 4:start + 4 + n]
            out[prefix + name] = zlib.decompress(body[4:]) if flags & 1 else body

    walk(0, "")
    return out


def fetch(work: Path) -> list[tuple[str, list[str]]]:
    """[(PNG file, right words)] under work/photos."""
    folder, deb = work / "photos", work / "deb"
    folder.mkdir(parents=True, exist_ok=True)
    deb.mkdir(parents=True, exist_ok=True)
    if not list(deb.glob(f"{PACKAGE}_*.deb")):
        subprocess.run(["apt-get", "download", "-q", PACKAGE], cwd=deb, check=True)
    if not (deb / "x").exists():
        subprocess.run(["dpkg", "-x", str(next(deb.glob(f"{PACKAGE}_*.deb"))), str(deb / "x")], check=True)
    names = imagenet_names()
    pictures = []
    for rcc in ("explore_farm_animals", "categorization"):
        for name, body in sorted(read_rcc(next((deb / "x").rglob(f"{rcc}.rcc"))).items()):
            key = re.sub(r"\d*\.\w+$", "", "/".join(name.split("/")[-2:]))
            pictures += [(name.split("/")[-1], BytesIO(body), words, classes) for k, words, classes in GCOMPRIS if k == key and name.endswith("webp")]
    pictures += [(n, Path(find_spec("skimage").origin).parent / "data" / n, words, classes) for n, words, classes in SKIMAGE]
    out = []
    for name, source, words, classes in pictures:
        to = folder / (Path(name).stem + ".png")
        if not to.exists():
            im = Image.open(source).convert("RGB")
            im.thumbnail((640, 640), Image.LANCZOS)
            im.save(to)
        out.append((str(to), words + [names[c] for c in classes]))
    return out


def right(caption: str, words: list[str]) -> bool:
    """Whether the caption holds one of the words, whole (a final s allowed)."""
    return any(re.search(rf"\b{re.escape(w)}s?\b", caption.lower()) for w in words)
