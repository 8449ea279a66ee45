"""Makes PDF files and what pypdfium2 reads in them: python pdf.py, in this folder's requirements.

pages.pdf      fonts, columns, curves, transparency, a turned and cropped page, links, an outline, hidden text
mixed.pdf      text around a picture with text
scan.pdf       a picture of a page, with words of another program hidden beneath it
encrypted.pdf  the same as pages.pdf, AES-256; the user's password is "secret", the owner's "owner"
pages.json     sizes, pixels (SHA-256 of R G B at two scales), characters with boxes
pages.2.*.png  the page with curves
"""

import hashlib
import io
import json
import math
from pathlib import Path

import pikepdf
import pypdfium2
import reportlab
from PIL import Image
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen import canvas

HERE = Path(__file__).parent
FONTS = Path(reportlab.__file__).parent / "fonts"


def picture(alpha):
    im = Image.new("RGBA" if alpha else "RGB", (48, 32))
    for y in range(32):
        for x in range(48):
            px = (x * 5, y * 8, (x * y) % 256)
            im.putpixel((x, y), px + ((x * 255) // 47,) if alpha else px)
    return ImageReader(im)


def make():
    pdfmetrics.registerFont(TTFont("Vera", FONTS / "Vera.ttf"))
    pdfmetrics.registerFont(TTFont("VeraBd", FONTS / "VeraBd.ttf"))
    out = io.BytesIO()
    c = canvas.Canvas(out, pagesize=(595.2756, 841.8898), invariant=True, pageCompression=1)
    c.setTitle("Pages for tests")
    c.setAuthor("Ada Löwe")
    c.setSubject("words, lines and pictures")
    c.setKeywords("pdf, test")

    # 1: headings and columns, ligatures, a hyphen at a line's end
    c.bookmarkPage("one")
    c.addOutlineEntry("First chapter", "one", 0)
    c.setFont("VeraBd", 18)
    c.drawString(60, 770, "1 Of words and boxes")
    c.setFont("Vera", 10)
    left = ["The quick brown fox jumps over the", "lazy dog, and the finest of all differ-", "ences are found at the ends of lines.",
            "Ünïcödé wörds, “quoted”, 3,8 % of them."]
    right = ["A second column stands to the right", "of the first and is read after it."]
    for i, line in enumerate(left):
        c.drawString(60, 730 - 14 * i, line)
    for i, line in enumerate(right):
        c.drawString(320, 730 - 14 * i, line)
    c.linkURL("https://example.org/first", (60, 640, 200, 655), relative=0)
    c.drawString(60, 643, "see example.org/first")
    c.linkRect("", "two", (60, 610, 200, 625), relative=0)
    c.drawString(60, 613, "see the next page")
    c.saveState()
    c.translate(500, 300)
    c.rotate(90)
    c.drawString(0, 0, "turned text")
    c.restoreState()
    c.showPage()

    # 2: drawings
    c.bookmarkPage("two")
    c.addOutlineEntry("Second chapter", "two", 0)
    c.bookmarkPage("part")
    c.addOutlineEntry("A part of it", "part", 1)
    c.setFont("Vera", 9)
    for r in range(5):
        c.line(60, 700 - 20 * r, 300, 700 - 20 * r)
    for k in range(4):
        c.line(60 + 80 * k, 620, 60 + 80 * k, 700)
    for r in range(4):
        for k in range(3):
            c.drawString(64 + 80 * k, 685 - 20 * r, f"cell {r} {k}")
    c.setStrokeColorRGB(0.8, 0.1, 0.1)
    c.setFillColorRGB(0.1, 0.6, 0.9)
    c.bezier(100, 400, 150, 500, 250, 300, 300, 420)
    c.circle(400, 450, 50, stroke=1, fill=1)
    c.setFillAlpha(0.5)
    c.circle(440, 470, 50, stroke=0, fill=1)
    c.setFillAlpha(1)
    c.drawImage(picture(False), 60, 150, 192, 128)
    c.drawImage(picture(True), 300, 150, 192, 128, mask="auto")
    c.linearGradient(60, 80, 500, 120, ((1, 0, 0), (0, 0, 1)))
    c.showPage()

    # 3: turned and cropped
    c.setPageSize((400, 300))
    c.setCropBox((50, 20, 350, 280))
    c.setPageRotation(90)
    c.setFont("Vera", 12)
    c.setFillColorRGB(0, 0, 0)
    c.drawString(80, 200, "A page that lies on its side")
    c.rect(80, 100, 100, 50)
    c.showPage()

    # 4: a scan with somebody's reading beneath it, and one word that is shown
    c.setPageSize((300, 200))
    c.setCropBox((0, 0, 300, 200))
    c.setPageRotation(0)
    c.drawImage(picture(False), 0, 0, 300, 200)
    c.saveState()
    t = c.beginText(40, 100)
    t.setFont("Vera", 14)
    t.setTextRenderMode(3)
    t.textLine("hidden reading")
    c.drawText(t)
    c.restoreState()
    c.setFont("Vera", 14)
    c.drawString(40, 60, "shown")
    c.showPage()

    # 5: 420 points, whose pixels at 150 dpi are rounded up beyond themselves; nothing on it
    c.setPageSize((420, 792))
    c.setCropBox((0, 0, 420, 792))
    c.showPage()
    c.save()
    return out.getvalue()


def rgb(page, scale):
    return page.render(scale=scale).to_numpy()[:, :, ::-1]


def scan():
    out = io.BytesIO()
    picture = HERE.parent / "ocr" / "golden" / "note.png"
    width, height = Image.open(picture).size
    scale = 72 / 150  # so that a page drawn at 150 dpi has the picture's pixels
    c = canvas.Canvas(out, pagesize=(width * scale, height * scale), invariant=True, pageCompression=1)
    c.drawImage(ImageReader(Image.open(picture).convert("RGB")), 0, 0, width * scale, height * scale)
    text = c.beginText(20, 100)
    text.setTextRenderMode(3)
    text.setFont("Helvetica", 10)
    text.textLine("what another program has read")
    c.drawText(text)
    c.save()
    return out.getvalue()


def mixed():
    """Text of the page's own around a picture with text, on which the page writes a word, too."""
    out = io.BytesIO()
    note = Image.open(HERE.parent / "ocr" / "golden" / "note.png").convert("RGB").crop((0, 0, 640, 140))
    scale = 72 / 150
    c = canvas.Canvas(out, pagesize=(420, 300), invariant=True, pageCompression=1)
    c.setFont("Helvetica-Bold", 16)
    c.drawString(40, 260, "What stands around a picture")
    c.setFont("Helvetica", 10)
    for i, line in enumerate(["A page says of itself what it can, and shows the rest in pixels that have to",
                              "be read. Both belong to one text, each of them once and in its place."]):
        c.drawString(40, 236 - 13 * i, line)
    c.drawImage(ImageReader(note), 40, 120, 640 * scale, 140 * scale)
    c.drawString(270, 135, "stamped")
    c.drawString(40, 104, "Figure 1. A note with French and German words")
    c.save()
    return out.getvalue()


def main():
    data = make()
    (HERE / "mixed.pdf").write_bytes(mixed())
    (HERE / "scan.pdf").write_bytes(scan())
    (HERE / "pages.pdf").write_bytes(data)
    with pikepdf.open(io.BytesIO(data)) as pdf:
        pdf.save(HERE / "encrypted.pdf", encryption=pikepdf.Encryption(user="secret", owner="owner", R=6),
                 deterministic_id=False)
    pages = []
    for i, page in enumerate(pypdfium2.PdfDocument(data)):
        text = page.get_textpage()
        entry = {"width": page.get_width(), "height": page.get_height(), "pixels": {}, "chars": []}
        for name, scale in (("72", 1), ("150", 150 / 72)):
            px = rgb(page, scale)
            entry["pixels"][name] = {"width": px.shape[1], "height": px.shape[0],
                                     "sha256": hashlib.sha256(px.tobytes()).hexdigest()}
        if i == 1:  # curves, which PDFium draws a little otherwise on other machines
            for name, scale in (("72", 1), ("150", 150 / 72)):
                Image.fromarray(rgb(page, scale)).save(HERE / f"pages.2.{name}dpi.png", optimize=True)
        for j in range(text.count_chars()):
            code = pypdfium2.raw.FPDFText_GetUnicode(text, j)
            entry["chars"].append([code] + [round(v, 3) for v in text.get_charbox(j)])
        pages.append(entry)
        assert math.ceil(page.get_width()) == entry["pixels"]["72"]["width"]
    (HERE / "pages.json").write_text(json.dumps({"pypdfium2": str(pypdfium2.PYPDFIUM_INFO), "pages": pages},
                                                separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
