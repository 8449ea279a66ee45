"""Pictures and names out of registry packages.

`fetch` brings the npm packages with the ordinary client; `render` writes every emoji of every style
as a PNG with alpha, `sprites/<style>/<hexcode>[_k].png`, 144 px on the longer side. What may go
into committed weights is listed in TRAIN_STYLES with its licence; the Twitter style is for testing
alone.
"""
import json
import re
import subprocess
import tarfile
import unicodedata
from io import BytesIO
from pathlib import Path

from PIL import Image

PACKAGES = {  # npm package -> version
    "emojibase-data": "17.0.0",
    "emoji-datasource-google": "16.0.0",
    "emoji-datasource-twitter": "16.0.0",
    "@lobehub/fluent-emoji-3d": "1.1.0",
    "fluentui-emoji": "1.3.0",
    "@iconify-json/noto-v1": "1.2.5",
    "@iconify-json/fxemoji": "1.2.2",
    "@iconify-json/emojione": "1.2.3",
    "@iconify-json/streamline-emojis": "1.2.4",
}
TRAIN_STYLES = {  # style -> (package, licence)
    "google": ("emoji-datasource-google", "Apache-2.0"),
    "fluent-3d": ("@lobehub/fluent-emoji-3d", "MIT"),
    "fluent-flat": ("fluentui-emoji", "MIT"),
    "fluent-modern": ("fluentui-emoji", "MIT"),
    "noto-v1": ("@iconify-json/noto-v1", "Apache-2.0"),
    "fxemoji": ("@iconify-json/fxemoji", "Apache-2.0"),
    "emojitwo": ("@iconify-json/emojione", "CC-BY-4.0"),
    "streamline": ("@iconify-json/streamline-emojis", "CC-BY-4.0"),
}
TEST_STYLE = "twitter"  # emoji-datasource-twitter, CC-BY-4.0: never trained on
SIZE = 144


def fetch(root: Path) -> Path:
    """Downloads and unpacks the packages under root/packages; returns that folder."""
    out = root / "packages"
    out.mkdir(parents=True, exist_ok=True)
    for name, version in PACKAGES.items():
        folder = out / name.replace("/", "+")
        if folder.exists():
            continue
        made = subprocess.run(["npm", "pack", f"{name}@{version}", "--silent", "--pack-destination", str(out)],
                              check=True, capture_output=True, text=True).stdout.strip().splitlines()[-1]
        with tarfile.open(out / made) as tar:
            tar.extractall(out / (folder.name + ".part"), filter="data")
        (out / (folder.name + ".part") / "package").rename(folder)
        (out / (folder.name + ".part")).rmdir()
        (out / made).unlink()
    return out


def normal_name(label: str) -> str:
    """The form of a name that captions are trained on and compared in: lower case, plain quotes."""
    label = label.lower().replace("’", "'")
    return re.sub(r"\s+", " ", re.sub(r"[“”\"]", "", label)).strip()


def concepts(packages: Path) -> dict[str, str]:
    """hexcode (emojibase's, upper case) -> name, for every emoji but flags, skin tones and
    components."""
    out = {}
    for e in json.loads((packages / "emojibase-data/en/data.json").read_text()):
        if e.get("group") in (None, 2, 9):  # regional letters, components, flags
            continue
        out[e["hexcode"]] = normal_name(e["label"])
    return out


def _slug(text: str) -> str:
    text = unicodedata.normalize("NFD", text.lower())
    text = "".join(c for c in text if not unicodedata.combining(c))
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-")


def _key(hexcode: str) -> str:
    return "-".join(p for p in hexcode.upper().split("-") if p != "FE0F")


def _slugs(packages: Path, names: dict[str, str]) -> dict[str, str]:
    """Every spelling of a name met in the icon sets, hyphens dropped -> hexcode."""
    out: dict[str, str] = {}
    codes = json.loads((packages / "emojibase-data/en/shortcodes/emojibase.json").read_text())
    for source in ("cldr", "unicode", "shortcode"):
        for hexcode, name in names.items():
            if source == "cldr":
                spellings = [name]
            elif source == "shortcode":
                got = codes.get(hexcode, [])
                spellings = [got] if isinstance(got, str) else got
            else:
                points = _key(hexcode).split("-")
                spellings = [unicodedata.name(chr(int(points[0], 16)), "")] if len(points) == 1 else []
            for s in spellings:
                if s:
                    out.setdefault(_slug(s).replace("-", ""), hexcode)
    return out


def _svg(svg: str) -> Image.Image:
    import resvg_py
    return Image.open(BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SIZE, height=SIZE)))).convert("RGBA")


def _fit(im: Image.Image) -> Image.Image:
    return im if max(im.size) <= SIZE else im.resize((SIZE, SIZE), Image.BICUBIC)


def _styles(packages: Path, names: dict[str, str]):
    """Yields (style, hexcode, thunk that makes the RGBA picture)."""
    by_key = {_key(h): h for h in names}
    by_slug = _slugs(packages, names)
    for style, folder in (("google", "emoji-datasource-google/img/google/64"),
                          ("twitter", "emoji-datasource-twitter/img/twitter/64"),
                          ("fluent-3d", "@lobehub+fluent-emoji-3d/assets")):
        for path in sorted((packages / folder).iterdir()):
            if (h := by_key.get(_key(path.stem))) and path.suffix in (".png", ".webp"):
                # 64 px sources stay as they are: what a user hands over is this file
                yield style, h, lambda p=path: _fit(Image.open(p).convert("RGBA"))
    for style, folder in (("fluent-flat", "flat"), ("fluent-modern", "modern")):
        for path in sorted((packages / "fluentui-emoji/icons" / folder).glob("*.svg")):
            if h := by_slug.get(_slug(path.stem).replace("-", "")):
                yield style, h, lambda p=path: _svg(p.read_text())
    for style, folder in (("noto-v1", "noto-v1"), ("fxemoji", "fxemoji"), ("emojitwo", "emojione"),
                          ("streamline", "streamline-emojis")):
        icons = json.loads((packages / f"@iconify-json+{folder}/icons.json").read_text())
        aliases: dict[str, list[str]] = {}
        for alias, to in icons.get("aliases", {}).items():
            aliases.setdefault(to["parent"], []).append(alias)
        for name, icon in icons["icons"].items():
            for spelling in [name, re.sub(r"-\d+$", "", name)] + aliases.get(name, []):
                if h := by_slug.get(_slug(spelling).replace("-", "")):
                    w, hgt = icon.get("width", icons.get("width", 16)), icon.get("height", icons.get("height", 16))
                    left, top = icon.get("left", 0), icon.get("top", 0)
                    yield style, h, lambda b=icon["body"], v=(left, top, w, hgt): _svg(
                        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                        f'viewBox="{v[0]} {v[1]} {v[2]} {v[3]}">{b}</svg>')
                    break


def render(root: Path) -> None:
    """Writes sprites/<style>/<hexcode>[_k].png and sprites/index.json (style -> [[file, hexcode],
    ...])."""
    packages, out = fetch(root), root / "sprites"
    names = concepts(packages)
    index: dict[str, list] = {}
    failed = 0
    for style, hexcode, make in _styles(packages, names):
        folder = out / style
        folder.mkdir(parents=True, exist_ok=True)
        rows = index.setdefault(style, [])
        k = sum(1 for _, h in rows[-12:] if h == hexcode)
        path = folder / (hexcode + (f"_{k}" if k else "") + ".png")
        if not path.exists():
            try:
                make().save(path)
            except Exception as err:  # an icon a renderer cannot read is one sample less
                failed += 1
                print("skipped", style, hexcode, err)
                continue
        rows.append([f"{style}/{path.name}", hexcode])
    (out / "index.json").write_text(json.dumps({"names": names, "styles": index}))
    for style, rows in index.items():
        print(f"{style:14s} {len(rows):5d} pictures {len({h for _, h in rows}):5d} concepts")
    print("failed", failed)


if __name__ == "__main__":
    import sys
    render(Path(sys.argv[1] if len(sys.argv) > 1 else "build/train"))
