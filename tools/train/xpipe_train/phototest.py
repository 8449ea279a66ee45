"""Real photographs with known contents, to test on. Their licences differ per file (GPL and
CC-BY-SA among them), so they are never trained on and never committed.

    gcompris-qt-data (Debian)           animals, tools, buildings, household things; 81 photos
    tuxpaint-stamps-default (Debian)    animals, food, music, vehicles: cut out, laid on white here;
        STAMPS, chosen by eye: its drawings are not among them
    scikit-image, scikit-learn          four and two sample photos

A caption is right if it holds one of a photo's words. Where ImageNet has classes for what a photo
shows, their numbers are given; a model that is handed the 1,000 names is right with any of them.
"""
import re
import struct
import zlib
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

from PIL import Image

from .debian import unpacked
from .text import imagenet_names

DOGS, CATS, FISH = range(151, 269), range(281, 286), (0, 1, *range(389, 398))  # ImageNet class numbers


def table(text: str, names: dict[str, range]) -> list[tuple[str, list[str], list[int]]]:
    """Entries "key: word, word / class class" separated by semicolons; a class may be the name of
    several."""
    out = []
    for entry in filter(None, (e.strip() for e in text.split(";"))):
        key, rest = entry.split(":")
        words, _, classes = rest.partition("/")
        numbers = [n for c in classes.split() for n in (names[c] if c in names else [int(c)])]
        out.append((key.strip(), [w.strip() for w in words.split(",")], numbers))
    return out


FAMILIES = {"DOGS": DOGS, "CATS": CATS, "FISH": FISH}
GCOMPRIS = table("""
    animals/dog: dog / DOGS; animals/cow: cow, ox, bull / 345; animals/cat: cat / CATS;
    animals/chicken: chicken, hen, rooster / 7 8; animals/horse: horse / 339;
    animals/duck: duck, drake / 97; animals/sheep: sheep, ram / 348; animals/owl: owl / 24;
    animals/pig: pig, hog, boar / 341 342; tools/hammer: hammer / 587;
    tools/screwDriver: screwdriver / 784; renewable/dam: dam / 525; renewable/solar: solar / 807;
    fishes/fish: fish / FISH; others/baseball: baseball / 429; others/volleyball: volleyball / 890;
    others/igloo: igloo / 614; others/pillow: pillow / 721; others/pan: pan, wok / 567 909;
    others/plate: plate / 923; others/buffetset: cup, saucer / 504 968; others/cup: cup / 504 968;
    others/bucket: bucket, basket / 463 588 790; others/spoons: spoon / 618 910;
    others/chair: chair / 423 559 765; others/weighingMachine: scale / 778;
    monuments/arcDeTriomphe: arch / 873; monuments/IndiaGate: arch / 873;
    monuments/brandenburgGate: arch / 873; monuments/zimniPalace: palace / 698;
    monuments/tajMahal: mosque, palace / 668 698;
    monuments/cathedral: church, monastery, cathedral / 497 663""", FAMILIES)
STAMPS = table("""
    koala: koala / 105; kangaroo: kangaroo, wallaby / 104; wombat: wombat / 106;
    grasshopper: grasshopper, cricket / 311 312; Brown_slug: slug / 114; mantis: mantis / 315;
    hoverfly: fly, bee / 308 309; iguana: iguana, lizard / 39; frog-1: frog / 30 31 32;
    frog: frog / 30 31 32; squirrel: squirrel / 335; rabbit: rabbit, hare / 330 331 332;
    rabbit-2: rabbit, hare / 330 331 332; rabbit_little: rabbit, hare / 330 331 332;
    marmot: marmot / 336; beaver: beaver / 337; dromedary: camel, dromedary / 354;
    camel: camel, dromedary / 354; european-bear: bear / 294; bear: bear / 294 295;
    wildboar: boar, pig / 342; sea_lion: sea lion, seal / 150; otter: otter / 360;
    orca: orca, whale / 148; pig: pig, hog / 341; pig_golden: pig, hog / 341;
    pig_golden2: pig, hog / 341; horse: horse / 339; zebra: zebra / 340;
    ferret: ferret, polecat, weasel, mink / 356 357 358 359; chimp: chimpanzee / 367;
    gorilla: gorilla / 366; tiger: tiger / 292; tiger_sumatran: tiger / 292; lion: lion / 291;
    lion-2: lion / 291; sheep_lamb: sheep, lamb, ram / 348; sheep: sheep, ram / 348;
    ram: ram, sheep / 348; bison: bison / 347; cow: cow, ox / 345; cow_white: cow, ox / 345;
    bull: bull, ox, cow / 345; zebu: cow, ox, bull / 345; mountaingoat: goat, ibex / 350;
    goat: goat, ibex / 350; dingo: dingo, dog / 273; fox: fox / 277 278 279 280; dog: dog / DOGS;
    hippopotamus: hippopotamus / 344; elephant: elephant, tusker / 101 385 386;
    badger: badger / 362; little-penguin: penguin / 145; penguin: penguin / 145;
    magellanic_penguin: penguin / 145; rainbow-lorikeet: lorikeet, parrot / 90;
    vulture: vulture / 23; hen: hen, chicken / 8; chicken_profile: hen, chicken / 8;
    pink_flamingo: flamingo / 130; peacock: peacock, peafowl / 84;
    albino_peahen: peacock, peafowl / 84; ostrich: ostrich / 9; rooster: rooster, cock / 7;
    owl: owl / 24; heron_greatblue: heron / 131; drake: duck, drake / 97; duck: duck, drake / 97;
    magpie: magpie / 18; tucan: toucan / 96; gander: goose, gander / 99; pelican: pelican / 144;
    crowned_crane: crane / 134; lionfish: lionfish, fish / 396; lobster: lobster / 122 123;
    pineapple: pineapple / 953; orange: orange / 950; orange_seville: orange / 950;
    mandarine: orange, mandarin, tangerine / 950; sliced_orange: orange / 950;
    Strawberry2: strawberry / 949; apple_granny_smith: apple / 948; lemon: lemon / 951;
    sliced_lime: lime, lemon / 951; banana: banana / 954; pomegranate: pomegranate / 957;
    mushroom: mushroom / 947; cep: mushroom, bolete / 947 997; cep-1: mushroom, bolete / 947 997;
    cep-2: mushroom, bolete / 947 997; pepper: pepper / 945; yellowpepper: pepper / 945;
    broccoli: broccoli / 937; corn: corn / 987 998; teapot: teapot / 849; mug: mug, cup / 504 968;
    pitcher_small: pitcher, jug / 725; garbagecan: bin, can, trash, garbage / 412;
    wheelie_bin: bin, can, trash, garbage / 412; toilet: toilet / 861; hammer: hammer / 587;
    paintbrush_large: paintbrush, brush / 696; spade: spade, shovel / 792;
    usps_mailbox: mailbox / 637; garbagetruck: garbage truck, truck / 569;
    firetruck: fire truck, fire engine / 555; 747: airliner, airplane, plane / 404;
    sportscar2: sports car, car / 817; truck: truck / 717; wheel_tractor: wheel, tire / 479;
    green_korean_bus: bus / 654 779 874; pink_tricycle: tricycle / 870;
    basketball: basketball / 430; soccer: soccer ball, ball / 805;
    tennis_ball: tennis ball, ball / 852; tennis_racket: racket / 752;
    guitar_electric: guitar / 546; guitar_electric_bass: guitar / 546;
    guitar_classical: guitar / 402; guitar2: guitar / 402 546; cello: cello / 486;
    violin: violin / 889; trumpet: trumpet, cornet / 513; bassoon: bassoon / 432;
    drumkit: drum / 541; drum_tomtom_floor: drum / 541; camera_35mm: camera / 732 759;
    binoculars: binoculars / 447; edward_bear: teddy bear, teddy / 850; Christmas_Tree_photo: tree;
    apple_fuji: apple; apple_sierra_beauty: apple; grapes: grape; pear: pear; tomato: tomato;
    carrot: carrot; Lightbulb: light bulb, bulb; garlic: garlic; onion: onion; potato: potato;
    rose: rose, flower; daffodil: daffodil, flower; iris: iris, flower; pumpkin_small: pumpkin;
    giraffe: giraffe; donkey: donkey; dolphin: dolphin; deer: deer; crow: crow, raven, bird;
    pigeon: pigeon, dove, bird; seagull: gull, bird; turkey: turkey""", FAMILIES)
SAMPLES = {
    "skimage/data": table(
        "chelsea.png: cat / CATS; coffee.png: coffee, espresso, cup / 504 967 968; rocket.jpg: "
        "rocket, missile / 657 744 812; motorcycle_left.png: motorcycle, moped, scooter / 665 670",
        FAMILIES),
    "sklearn/datasets/images": table(
        "china.jpg: palace, temple, pagoda, tower, monastery / 663 698; flower.jpg: flower, dahlia",
        FAMILIES),
}


@dataclass
class Photo:
    file: str           # PNG
    words: list[str]    # a caption that holds one is right
    classes: list[int]  # of ImageNet; none where it has no class for this
    source: str


def read_rcc(path: Path) -> dict[str, bytes]:
    """Files of a Qt resource collection (rcc, versions 1 to 3) that are stored plain or
    zlib-compressed."""
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


def fetch(work: Path) -> list[Photo]:
    """All photos, as PNG under work/photos."""
    folder, deb = work / "photos", work / "deb"
    folder.mkdir(parents=True, exist_ok=True)
    deb.mkdir(parents=True, exist_ok=True)
    names = imagenet_names()
    found: list[tuple[str, object, list, list, str]] = []
    games = unpacked("gcompris-qt-data", deb)
    for rcc in ("explore_farm_animals", "categorization"):
        for name, body in sorted(read_rcc(next(games.rglob(f"{rcc}.rcc"))).items()):
            key = re.sub(r"\d*\.\w+$", "", "/".join(name.split("/")[-2:]))
            found += [("gcompris-" + Path(name).stem, BytesIO(body), words, classes, "gcompris")
                      for k, words, classes in GCOMPRIS if k == key and name.endswith("webp")]
    stamps = {p.stem: p for p in sorted(unpacked("tuxpaint-stamps-default", deb).rglob("*.png"))
              if "cartoon" not in p.parts and "symbols" not in p.parts}
    found += [("stamp-" + name, stamps[name], words, classes, "tuxpaint") for name, words, classes in STAMPS]
    for folder_of, rows in SAMPLES.items():
        package, *inside = folder_of.split("/")
        spec = find_spec(package)  # need not be installed where the PNG are there already
        at = Path(spec.origin).parent.joinpath(*inside) if spec else Path(package)
        found += [(f"{package}-{Path(name).stem}", at / name, words, classes, package) for name, words, classes in rows]
    out = []
    for name, source, words, classes, package in found:
        to = folder / (name + ".png")
        if not to.exists():
            on_white(Image.open(source)).save(to)
        out.append(Photo(str(to), words + [names[c] for c in classes], list(classes), package))
    return out


def on_white(im: Image.Image) -> Image.Image:
    """RGB, 640 px at most; what is transparent is white."""
    if im.mode != "RGB":
        im = im.convert("RGBA")
        white = Image.new("RGB", im.size, (255, 255, 255))
        white.paste(im, (0, 0), im)
        im = white
    im.thumbnail((640, 640), Image.LANCZOS)
    return im


def right(caption: str, words: list[str]) -> bool:
    """Whether the caption holds one of the words, whole (a final s allowed)."""
    return any(re.search(rf"\b{re.escape(w)}s?\b", caption.lower()) for w in words)
