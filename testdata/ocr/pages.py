"""Makes pages with known text, as PNG files with NAME.json: lines in reading order, each with its box.

    python testdata/ocr/pages.py OUT [--count N] [--kind KIND]... [--fonts DIR]

Fonts are Debian's fonts-dejavu, fonts-liberation and fonts-noto-cjk; --fonts names a folder where
they were unpacked. A page is seeded by its kind and number.
"""

import argparse
import json
import random
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

WORDS = """the of and to in a is that for it as was with be by on not he his but at are this have from or had an
they which one you were all her she there would their we him been has when who will no more if out so what time
paper letter account balance invoice number street garden water morning station travel mountain river weather report
question answer history science machine language reading picture window kitchen market bread butter apple orange
house family doctor hospital school teacher student library music concert theatre museum painting colour simple
important different several between during without against through another country government business company
system program process result example figure table chapter section method analysis measure value data model error
quick brown fox jumps over lazy dog western eastern northern southern winter summer autumn spring January March
August October Monday Friday London Paris Berlin Vienna Geneva price total amount paid customer order delivery""".split()
GERMAN = """der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er hat
daß sie nach wird bei einer über Größe Straße Bäume Häuser Äpfel Öfen Übung weiß groß schön Mädchen Brücke natürlich
Gebäude Schlüssel Königin Frühstück Verspätung Gemüse Käse Tür Bücher Wörter möglich können müssen dürfen hören""".split()
FRENCH = """le la les des une est dans pour qui sur avec être à été où déjà élève français même après très près façon
garçon forêt hôpital fenêtre château île août cœur sœur œuvre Noël naïf maïs aiguë général préféré évènement théâtre
l'été d'abord aujourd'hui qu'il n'est reçu leçon çà voilà là-bas peut-être créé idée musée lycée vérité""".split()
CHINESE = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经"
JAPANESE = "日本語の文章を読む人は東京から京都まで電車で行きました。春になると花が咲きます。山と川と海がきれいです。"


class Fonts:
    """Fonts by style and size."""

    NAMES = {"sans": "LiberationSans-Regular.ttf", "bold": "LiberationSans-Bold.ttf",
             "serif": "LiberationSerif-Regular.ttf", "mono": "LiberationMono-Regular.ttf",
             "dejavu": "DejaVuSans.ttf", "italic": "LiberationSerif-Italic.ttf", "cjk": "NotoSansCJK-Regular.ttc"}

    def __init__(self, folders):
        self.files = {f.name: str(f) for folder in folders for f in Path(folder).rglob("*.tt[fc]")}
        self.cache = {}

    def __call__(self, style, size):
        key = style, size
        if key not in self.cache:
            self.cache[key] = ImageFont.truetype(self.files[self.NAMES[style]], size)
        return self.cache[key]


class Page:
    """A page that is written on."""

    def __init__(self, fonts, width=1240, height=1755, ground=255, ink=0):
        self.fonts, self.ink, self.lines = fonts, ink, []
        self.image = Image.new("L", (width, height), ground)
        self.draw = ImageDraw.Draw(self.image)

    def text(self, x, y, text, style="serif", size=25, right=False):
        """Writes a line, its top left (or right) at (x, y)."""
        font = self.fonts(style, size)
        if right:
            x -= self.draw.textlength(text, font=font)
        self.draw.text((x, y), text, font=font, fill=self.ink)
        box = self.draw.textbbox((x, y), text, font=font)
        self.lines.append({"text": text, "box": [round(v) for v in box]})

    def fill(self, words, width, style, size):
        """Lines of words that fill a width."""
        font, line = self.fonts(style, size), ""
        for word in words:
            longer = f"{line} {word}".strip()
            if self.draw.textlength(longer, font=font) > width and line:
                yield line
                longer = word
            line = longer
        if line:
            yield line

    def paragraph(self, r, x, y, width, count, vocabulary=WORDS, style="serif", size=25, leading=1.35, bottom=None):
        """Writes a paragraph of count words and returns where it ends."""
        words = [r.choice(vocabulary) for _ in range(count)]
        words[0] = words[0].capitalize()
        words[-1] += "."
        for line in self.fill(words, width, style, size):
            if bottom and y + size > bottom:
                break
            self.text(x, y, line, style, size)
            y += int(size * leading)
        return y


def letter(r, fonts, vocabulary=WORDS, style="serif"):
    page = Page(fonts)
    for i, line in enumerate(["Anna Meyer", "12 Garden Street", "1010 Vienna"]):
        page.text(140, 120 + 36 * i, line, "sans", 26)
    page.text(1100, 300, f"Vienna, {r.randint(1, 28)} October 2026", "sans", 26, right=True)
    page.text(140, 390, "Your account " + str(r.randint(10000, 99999)), "bold", 32)
    y = 480
    for _ in range(5):
        y = page.paragraph(r, 140, y, 960, r.randint(30, 60), vocabulary, style, 27) + 26
    page.text(140, y + 20, "Yours sincerely", style, 27)
    return page


def form(r, fonts):
    page = Page(fonts)
    page.text(140, 110, "Application for a library card", "bold", 40)
    y = 230
    for label in ["Surname", "First name", "Date of birth", "Street and number", "Postal code", "City", "Telephone",
                  "E-mail", "Occupation", "Signature"]:
        page.text(140, y, label + ":", "sans", 26)
        page.draw.line((480, y + 36, 1100, y + 36), fill=0, width=2)
        some = " ".join(r.choice(WORDS).capitalize() for _ in range(r.randint(1, 3)))
        value = {"Telephone": f"+43 1 {r.randint(100, 999)} {r.randint(1000, 9999)}",
                 "Postal code": str(r.randint(1000, 9999)),
                 "Date of birth": f"{r.randint(1, 28)}.{r.randint(1, 12)}.19{r.randint(50, 99)}",
                 "E-mail": f"{r.choice(WORDS)}@{r.choice(WORDS)}.org"}.get(label, some)
        page.text(500, y, value, "dejavu", 24)
        y += 76
    page.paragraph(r, 140, y + 60, 960, 60, style="sans", size=20)
    return page


def receipt(r, fonts):
    page = Page(fonts, 600, 1200)
    page.text(190, 40, "CORNER MARKET", "mono", 30)
    y, total = 130, 0
    for _ in range(r.randint(12, 20)):
        price = r.randint(50, 3000)
        total += price
        page.text(40, y, " ".join(r.choice(WORDS).capitalize() for _ in range(r.randint(1, 3)))[:24], "mono", 24)
        page.text(560, y, f"{price / 100:.2f}", "mono", 24, right=True)
        y += 38
    page.text(40, y + 20, "TOTAL", "mono", 30)
    page.text(560, y + 20, f"{total / 100:.2f}", "mono", 30, right=True)
    return page


def table(r, fonts, size=25, count=5):
    page = Page(fonts)
    page.text(140, 100, "Table of " + r.choice(WORDS) + " and " + r.choice(WORDS), "bold", 32)
    y, pitch = 190, 960 // count
    for row in range(min(34, int(1400 / (size * 1.9)))):
        for c in range(count):
            text = r.choice(WORDS) if c == 0 or row == 0 else f"{r.uniform(0, 500):.{r.randint(0, 2)}f}"
            page.text(150 + c * pitch, y, text, "sans", size)
        if count < 8:
            page.draw.line((140, y + int(size * 1.45), 1100, y + int(size * 1.45)), fill=0)
        y += int(size * 1.9)
    return page


def columns(r, fonts, count=None):
    """Two or three columns under a heading, with headings, footnotes, figures and a head line."""
    count = count or r.choice([2, 2, 3])
    page = Page(fonts)
    size = r.choice([19, 21, 23]) if count == 3 else r.choice([21, 23, 25])
    gutter = r.choice([30, 40, 60])
    left, right, top, bottom = 110, 1130, 90, 1650
    titled = lambda n: " ".join(r.choice(WORDS).capitalize() for _ in range(n))
    if r.random() < 0.5:
        page.text(left, top, titled(2), "italic", 22)
        page.text(right, top, str(r.randint(1, 300)), "italic", 22, right=True)
        top += 70
    if r.random() < 0.8:
        for line in page.fill(titled(r.randint(4, 11)).split(), right - left, "bold", 44):
            page.text(left, top, line, "bold", 44)
            top += 58
        top += 10
        if r.random() < 0.5:
            page.text(left, top, titled(4), "italic", 26)
            top += 44
        top += 20
    if r.random() < 0.3:
        top = page.paragraph(r, left, top, right - left, r.randint(30, 60), style="italic", size=size) + 24
    foot = r.random() < 0.4
    if foot:
        bottom -= 90
    width = (right - left - gutter * (count - 1)) // count
    bands = [(top, bottom)]
    if r.random() < 0.2 and bottom - top > 900:  # a heading across the page, in the middle
        middle = (top + bottom) // 2
        bands = [(top, middle - 60), (middle + 40, bottom)]
    for b, (y0, y1) in enumerate(bands):
        if b:
            page.text(left, y0 - 62, titled(r.randint(5, 7)), "bold", 34)
        for c in range(count):
            x, y, first = left + c * (width + gutter), y0, True
            while y < y1 - 3 * size:
                kind = r.random()
                if not first and kind < 0.12 and y < y1 - 260:
                    h = r.randint(120, 220)
                    page.draw.rectangle((x + 10, y + 8, x + width - 10, y + h), outline=0, fill=200, width=2)
                    caption = f"Fig. {r.randint(1, 9)}: " + " ".join(r.choice(WORDS) for _ in range(3))
                    page.text(x, y + h + 16, caption, "italic", size - 2)
                    y += h + 16 + int(size * 2.4)
                elif kind < 0.3 and y < y1 - 6 * size:
                    page.text(x, y, f"{r.randint(1, 9)} {titled(2)}", "bold", size + 3)
                    y += int(size * 2.1)
                y = page.paragraph(r, x, y, width, r.randint(20, 90), size=size, bottom=y1)
                y += r.choice([0, int(size * 0.6)])
                first = False
                if r.random() < 0.06:
                    break
    if foot:
        page.text(left, bottom + 40, "* " + " ".join(r.choice(WORDS) for _ in range(r.randint(16, 20))), "serif", 18)
    if r.random() < 0.5:
        page.text(610, 1690, str(r.randint(1, 300)), "serif", 20)
    return page


def chinese(r, fonts):
    page = Page(fonts)
    y = 140
    for i in range(14):
        source = JAPANESE if i % 3 == 2 else CHINESE
        page.text(130, y, "".join(r.choice(source) for _ in range(r.randint(14, 30))), "cjk", 30)
        y += 62
    for _ in range(4):
        page.text(130, y, " ".join(r.choice(WORDS) for _ in range(8)), "sans", 28)
        y += 56
    return page


def turned(page, degrees, ground=255):
    page.image = page.image.rotate(degrees, Image.BICUBIC, expand=degrees % 180 == 90, fillcolor=ground)
    return page


def photograph(page):
    """A page as a camera may take it: dim, blurred, from the side."""
    w, h = page.image.size
    corners = (-30, -20, -10, h + 30, w + 40, h + 10, w + 10, -30)
    page.image = page.image.transform((w, h), Image.QUAD, corners, Image.BICUBIC, fillcolor=140)
    page.image = page.image.filter(ImageFilter.GaussianBlur(0.8)).point(lambda v: 40 + v * 0.62)
    return page


KINDS = {
    "letter": letter,
    "german": lambda r, f: letter(r, f, GERMAN, "sans"),
    "french": lambda r, f: letter(r, f, FRENCH),
    "form": form,
    "receipt": receipt,
    "table": table,
    "small": lambda r, f: table(r, f, 15, 10),
    "columns": columns,
    "chinese": chinese,
    "upended": lambda r, f: turned(letter(r, f), 180),
    "upended-receipt": lambda r, f: turned(receipt(r, f), 180),
    "side": lambda r, f: turned(letter(r, f), 90),
    "skewed": lambda r, f: turned(letter(r, f), 3),
    "skewed-columns": lambda r, f: turned(columns(r, f, 2), -2),
    "photograph": lambda r, f: photograph(letter(r, f)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=2, help="pages of each kind")
    parser.add_argument("--first", type=int, default=0, help="the number of the first")
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    parser.add_argument("--fonts", action="append", default=["/usr/share/fonts"])
    parser.add_argument("--boxes", type=Path, help="write the boxes of all lines to this file, and no pages")
    args = parser.parse_args()
    fonts = Fonts(args.fonts)
    boxes = []
    for kind in args.kind or KINDS:
        for i in range(args.first, args.first + args.count):
            page = KINDS[kind](random.Random(f"{kind} {i}"), fonts)
            if args.boxes:
                boxes.append([line["box"] for line in page.lines])
                continue
            args.out.mkdir(parents=True, exist_ok=True)
            page.image.save(args.out / f"{kind}-{i:03}.png")
            (args.out / f"{kind}-{i:03}.json").write_text(json.dumps(
                {"size": page.image.size, "lines": page.lines}, ensure_ascii=False) + "\n")
    if args.boxes:
        args.boxes.write_text("[\n" + ",\n".join(json.dumps(b, separators=(",", ":")) for b in boxes) + "\n]\n")


if __name__ == "__main__":
    main()
