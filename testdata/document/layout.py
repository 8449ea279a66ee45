"""Makes pages whose reading order, tables and forms are known: python layout.py [SEED [FOLDER]].

order.pdf, order.json.gz    100 pages of two and three columns; the lines in reading order
tables.pdf, tables.json.gz  ruled and unruled tables with spans; cells as [row, column, rows, columns, text]
forms.pdf, forms.json.gz    forms; labels and values
"""

import gzip
import json
import random
import sys
from pathlib import Path

from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen import canvas

SYLLABLES = "ba be bi bo bu da de di do du fa fe fi ga ge go ka ke ki ko la le li lo ma me mi mo na ne no pa pe po ra re ri ro sa se si so ta te ti to va ve vi wo ze".split()
LABELS = "Name|First name|Date of birth|Street|Postcode|City|Country|Phone|E-mail|Invoice no.|Customer number|Order date|Due date|IBAN|Amount|Tax rate|Total|Reference|Department|Contact person|Nationality|Policy number|Start date|End date|Signature date|Blood group|Height|Weight|Vehicle|Licence plate".split("|")
W, H = 595.0, 842.0


class Maker:
    def __init__(self, name, seed, folder):
        self.r = random.Random(f"{name} {seed}")
        self.c = canvas.Canvas(str(folder / f"{name}.pdf"), pagesize=(W, H), invariant=True, pageCompression=1)
        self.truth, self.name, self.folder = [], name, folder
        self.later = []  # what is drawn, in the order of the file

    def word(self):
        w = "".join(self.r.choice(SYLLABLES) for _ in range(self.r.choice((1, 2, 2, 3, 3, 4))))
        return w

    def words(self, lo, hi):
        return [self.word() for _ in range(self.r.randint(lo, hi))]

    def sentence(self, lo=6, hi=14):
        s = " ".join(self.words(lo, hi))
        return s[0].upper() + s[1:] + "."

    def draw(self, x, y, text, font, size, width=None):
        """text at x, y; spread over width where that is given"""
        self.later.append((x, y, text, font, size, width))

    def end(self, truth, shuffle=True):
        if shuffle and self.r.random() < 0.5:
            self.r.shuffle(self.later)
        for x, y, text, font, size, width in self.later:
            t = self.c.beginText(x, y)
            t.setFont(font, size)
            spread = width and " " in text
            t.setWordSpace((width - stringWidth(text, font, size)) / text.count(" ") if spread else 0)
            t.textOut(text)
            self.c.drawText(t)
        self.later = []
        self.truth.append(truth)
        self.c.showPage()

    def save(self):
        self.c.save()
        text = json.dumps(self.truth, ensure_ascii=False, separators=(",", ":")) + "\n"
        (self.folder / f"{self.name}.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))

    def fill(self, text, font, size, width):
        lines, line = [], ""
        for w in text.split():
            if line and stringWidth(line + " " + w, font, size) > width:
                lines.append(line)
                line = w
            else:
                line = (line + " " + w).strip()
        return lines + [line]


class Order(Maker):
    def paragraph(self, x, y, width, bottom, font, size, lead, justify, text, out, hang=0, mark=""):
        """Draws lines down to bottom; returns the y below."""
        lines = self.fill(text, font, size, width - hang)
        for i, line in enumerate(lines):
            if y < bottom:
                return y
            if mark and i == 0:
                self.draw(x, y, mark, font, size)
            self.draw(x + hang, y, line, font, size, width - hang if justify and i < len(lines) - 1 else None)
            out.append((mark + " " if mark and i == 0 else "") + line)
            y -= lead
        return y

    def page(self):
        r = self.r
        columns = r.choice((2, 2, 3))
        size = r.choice((8, 9, 10)) if columns == 3 else r.choice((9, 10, 11))
        lead = size * r.uniform(1.15, 1.4)
        body, bold = r.choice((("Helvetica", "Helvetica-Bold"), ("Times-Roman", "Times-Bold")))
        margin, gutter = r.uniform(40, 70), r.uniform(12, 30)
        width = (W - 2 * margin - gutter * (columns - 1)) / columns
        justify = r.random() < 0.6
        lines, top = [], H - r.uniform(60, 80)
        if r.random() < 0.5:
            head = " ".join(self.words(3, 6))
            self.draw(margin, H - 35, head, body, 8)
            lines.append(head)
        if r.random() < 0.75:
            for line in self.fill(" ".join(self.words(6, 12)).title(), bold, 18, W - 2 * margin):
                self.draw((W - stringWidth(line, bold, 18)) / 2 if justify else margin, top, line, bold, 18)
                lines.append(line)
                top -= 23
            authors = ", ".join(" ".join(self.words(2, 2)).title() for _ in range(3))
            self.draw((W - stringWidth(authors, body, size)) / 2 if justify else margin, top, authors, body, size)
            lines.append(authors)
            top -= lead * 2
        if r.random() < 0.3:
            top = self.paragraph(margin, top, W - 2 * margin, 100, body, size, lead, justify,
                                 " ".join(self.sentence() for _ in range(5)), lines) - lead
        if r.random() < 0.2:
            top = self.figure(margin, top, W - 2 * margin, r.uniform(60, 130), body, size, lead, lines)
        foot = r.random() < 0.6
        bottom = 70 if foot else 55
        middle = r.uniform(350, 480) if r.random() < 0.25 else None
        if middle and middle < top - 120:
            self.columns(columns, margin, gutter, width, top, middle + 2.2 * lead, body, bold, size, lead, justify, lines)
            head = " ".join(self.words(8, 11)).title()
            self.draw(margin, middle, head, bold, size + 3)
            lines.append(head)
            top = middle - lead * 1.8
        self.columns(columns, margin, gutter, width, top, bottom, body, bold, size, lead, justify, lines)
        if foot:
            number = str(r.randint(1, 400))
            self.draw(W / 2, 35, number, body, 9)
            lines.append(number)
        self.end({"columns": columns, "lines": lines})

    def figure(self, x, y, width, height, body, size, lead, lines):
        self.c.setFillColorRGB(0.8, 0.85, 0.9)
        self.c.setStrokeColorRGB(0.2, 0.2, 0.2)
        p = self.c.beginPath()
        p.moveTo(x + 5, y - height + 10)
        for k in range(1, 9):
            p.lineTo(x + 5 + k * (width - 10) / 8, y - height + 10 + self.r.uniform(0, height - 20))
        self.c.drawPath(p, stroke=1, fill=1)
        self.c.setFillColorRGB(0, 0, 0)
        y -= height + lead
        text = f"Figure {self.r.randint(1, 9)}. " + self.sentence(4, 12)
        return self.paragraph(x, y, width, 0, body, size - 1, lead, False, text, lines) - lead

    def columns(self, n, margin, gutter, width, top, bottom, body, bold, size, lead, justify, lines):
        r = self.r
        for k in range(n):
            x, y = margin + k * (width + gutter), top
            last = bottom + (r.uniform(0, (top - bottom) * 0.5) if k == n - 1 else 0)
            note = []
            if r.random() < 0.2 and top - last > 200:
                note = self.fill(f"{r.randint(1, 9)} " + self.sentence(8, 14), body, size - 2, width)
                for i, line in enumerate(note):
                    self.draw(x, last + (len(note) - 1 - i) * (size - 1), line, body, size - 2)
                last += len(note) * (size - 1) + lead
            if r.random() < 0.15 and y - last > 250:
                y = self.figure(x, y, width, r.uniform(50, 120), body, size, lead, lines)
            while y > last:
                what = r.random()
                if what < 0.15 and y - last > 4 * lead:
                    head = f"{r.randint(1, 9)} " + " ".join(self.words(1, 3)).title()
                    y -= lead * 0.5
                    self.draw(x, y, head, bold, size + 1)
                    lines.append(head)
                    y -= lead * 1.4
                elif what < 0.25:
                    for i in range(r.randint(2, 4)):
                        y = self.paragraph(x, y, width, last, body, size, lead, justify, self.sentence(5, 14), lines,
                                           hang=size * 1.2, mark=r.choice(("•", f"{i + 1}.")))
                    y -= lead * 0.5
                else:
                    y = self.paragraph(x, y, width, last, body, size, lead, justify,
                                       " ".join(self.sentence() for _ in range(r.randint(2, 5))), lines)
                    y -= lead * r.choice((0, 0.5))
            lines += note


class Tables(Maker):
    def cell(self, kind, long):
        r = self.r
        if kind == "number":
            return f"{r.uniform(0, 999):.{r.randint(0, 2)}f}"
        return " ".join(self.words(1, 7 if long else 2))

    def table(self, style, x, y, total):
        """style: grid, rules (level lines alone) or gaps"""
        r = self.r
        rows, cols = r.randint(3, 9), r.randint(3, 6)
        size = r.choice((8, 9, 10))
        weights = [r.uniform(0.7, 1.6) for _ in range(cols)]
        edges = [x]
        for w in weights:
            edges.append(edges[-1] + w * total / sum(weights))
        kinds = ["text"] + [r.choice(("number", "number", "text")) for _ in range(cols - 1)]
        align = [r.choice("lc") if k == "text" else r.choice("rrc") for k in kinds]
        align[0] = "l"
        owner = {}
        cells = []

        def put(a, b, h, w):
            cells.append([a, b, h, w, ""])
            for i in range(a, a + h):
                for j in range(b, b + w):
                    owner[i, j] = len(cells) - 1

        header = 0
        if r.random() < 0.5 and cols >= 4:  # a header of two rows with cells that span
            header = 1
            put(0, 0, 2, 1)
            b = 1
            while b < cols:
                w = min(r.choice((1, 2, 2, 3)), cols - b)
                if w == 1:
                    put(0, b, 2, 1)
                else:
                    put(0, b, 1, w)
                b += w
            if all(c[3] == 1 for c in cells):  # none does: a row like any other
                header = 0
                owner.clear()
                cells.clear()
        if style == "grid":
            for _ in range(r.randint(0, 3)):
                a, b = r.randrange(header + 1, rows), r.randrange(cols)
                h, w = r.choice(((2, 1), (1, 2), (3, 1), (2, 2)))
                if a + h <= rows and b + w <= cols and all((i, j) not in owner for i in range(a, a + h) for j in range(b, b + w)):
                    put(a, b, h, w)
        for i in range(rows):
            for j in range(cols):
                if (i, j) not in owner:
                    put(i, j, 1, 1)
        long = style == "grid" and r.random() < 0.5
        pad = 4
        texts = {}
        for k, (a, b, h, w, _) in enumerate(cells):
            font = "Helvetica-Bold" if a <= header else "Helvetica"
            text = " ".join(self.words(1, 2)).title() if a <= header else self.cell(kinds[b], long)
            if a > header and b > 0 and r.random() < 0.04:
                text = ""
            room = edges[b + w] - edges[b] - 2 * pad
            lines = self.fill(text, font, size, room)
            if len(lines) > 1 and not long:
                text = text.split()[0]
                while stringWidth(text, font, size) > room:
                    text = text[:-1]
                lines = [text]
            lines = [line for line in lines if stringWidth(line, font, size) <= room]
            texts[k] = (lines, font)
            cells[k][4] = " ".join(lines)
        heights = [size * 1.25 + 2 * r.choice((2, 3, 4))] * rows
        for k, (a, b, h, w, _) in enumerate(cells):
            need = len(texts[k][0]) * size * 1.15 + 6
            have = sum(heights[a:a + h])
            if need > have:
                heights[a + h - 1] += need - have
        ys = [y]
        for h in heights:
            ys.append(ys[-1] - h)
        for k, (a, b, h, w, _) in enumerate(cells):
            lines, font = texts[k]
            middle = (ys[a] + ys[a + h]) / 2 if style == "grid" or a <= header else (ys[a] + ys[a + 1]) / 2
            first = middle + (len(lines) - 1) * size * 1.15 / 2 - size * 0.35
            where = "c" if w > 1 else align[b]
            for i, line in enumerate(lines):
                wide = stringWidth(line, font, size)
                left, right = edges[b] + pad, edges[b + w] - pad
                at = {"l": left, "r": right - wide, "c": (left + right - wide) / 2}[where]
                self.draw(at, first - i * size * 1.15, line, font, size)
        self.c.setLineWidth(r.choice((0.5, 1)))
        if style == "grid":
            for i in range(rows):
                for j in range(cols):
                    k = owner[i, j]
                    if i == 0 or owner[i - 1, j] != k:
                        self.c.line(edges[j], ys[i], edges[j + 1], ys[i])
                    if j == 0 or owner[i, j - 1] != k:
                        self.c.line(edges[j], ys[i], edges[j], ys[i + 1])
            self.c.line(edges[0], ys[-1], edges[-1], ys[-1])
            self.c.line(edges[-1], ys[0], edges[-1], ys[-1])
        elif style == "rules":
            for at in (0, header + 1, rows):
                self.c.line(edges[0], ys[at], edges[-1], ys[at])
        return {"style": style, "rows": rows, "columns": cols,
                "cells": sorted(c for c in cells if c[4])}, ys[-1]

    def page(self, style):
        r = self.r
        y, tables = H - 70, []
        for _ in range(2):
            for line in self.fill(" ".join(self.sentence() for _ in range(3)), "Times-Roman", 10, W - 120):
                self.draw(60, y, line, "Times-Roman", 10)
                y -= 13
            total = r.uniform(300, W - 120)
            t, y = self.table(style, 60 + r.uniform(0, W - 120 - total), y - 10, total)
            tables.append(t)
            y -= 28
        self.end({"tables": tables})


class Forms(Maker):
    def value(self):
        r = self.r
        return r.choice((lambda: " ".join(self.words(1, 3)).title(), lambda: f"{r.randint(1, 28)}.{r.randint(1, 12)}.19{r.randint(50, 99)}",
                         lambda: str(r.randint(100, 99999)), lambda: f"{r.uniform(1, 9999):.2f} EUR"))()

    def page(self):
        r = self.r
        style = r.choice(("inline", "aligned", "aligned", "plain", "above", "boxed", "line"))
        columns = 1 if style in ("plain", "aligned") and r.random() < 0.5 else 2
        colon = style in ("inline", "aligned") or style in ("line", "above") and r.random() < 0.5
        size = r.choice((9, 10, 11))
        labels = r.sample(LABELS, r.randint(6, 14))
        self.draw(60, H - 70, " ".join(self.words(2, 4)).title(), "Helvetica-Bold", 16)
        width = (W - 120) / columns
        tall = size * r.uniform(1.7, 2.6) * (1.6 if style in ("above", "boxed") else 1)
        offset = max(stringWidth(n, "Helvetica", size) for n in labels) + r.uniform(12, 40)
        pairs = []
        for i, label in enumerate(labels):
            x, y = 60 + (i % columns) * width, H - 110 - (i // columns) * tall
            value = self.value()
            shown = label + (":" if colon else "")
            small = size - 2 if style == "boxed" else size
            font = r.choice(("Helvetica", "Helvetica")) if style != "above" else "Helvetica-Bold"
            self.draw(x, y, shown, font, small)
            if style == "inline":
                self.draw(x + stringWidth(shown + " ", font, size), y, value, "Helvetica", size)
            elif style in ("aligned", "plain"):
                self.draw(x + offset, y, value, "Helvetica", size)
            elif style == "line":
                at = x + stringWidth(shown, font, size) + 6
                self.c.line(at, y - 2, x + width - 15, y - 2)
                self.draw(at + 4, y, value, "Helvetica", size)
            else:
                self.draw(x, y - size * 1.3, value, "Helvetica", size)
            if style == "boxed":
                self.c.rect(x - 4, y + small - tall + 3, width, tall)
            pairs.append([label, value])
        self.end({"style": style, "pairs": pairs})


def main():
    seed = sys.argv[1] if len(sys.argv) > 1 else "pages for tests"
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent
    order = Order("order", seed, folder)
    for _ in range(100):
        order.page()
    order.save()
    tables = Tables("tables", seed, folder)
    for i in range(60):
        tables.page(("grid", "grid", "gaps", "rules")[i % 4])
    tables.save()
    forms = Forms("forms", seed, folder)
    for _ in range(40):
        forms.page()
    forms.save()


if __name__ == "__main__":
    main()
