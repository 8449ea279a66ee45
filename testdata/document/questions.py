"""Makes documents with questions whose answers are known: python questions.py [SEED [FOLDER]].

questions/tune-NAME.pdf, questions/held-NAME.pdf   forms, invoices, tables, articles in two columns, reports
questions/questions.json.gz   for each file its questions: [question, answer, kind, [[page, x0, y0, x1, y1], ...]],
                              boxes in units of the page; no boxes: the document does not answer it, though one
                              of the kind near is much like it

The two halves share no label, sentence, table or wording of a question (questions_words.py). What answers
questions may be worked on with the tune half alone.
"""

import gzip
import json
import random
import sys
from pathlib import Path

from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen import canvas

from questions_words import HALVES

W, H = 595.0, 842.0


class Maker:
    """One document and its questions."""

    def __init__(self, folder, name, half, seed):
        self.r = random.Random(f"{name} {seed}")
        self.words = HALVES[half]
        self.file = f"{name}.pdf"
        self.c = canvas.Canvas(str(folder / self.file), pagesize=(W, H), invariant=True, pageCompression=1)
        self.page = 1
        self.drawn = []  # [page, text, box]
        self.questions = []

    def draw(self, x, y, text, font="Helvetica", size=10):
        self.c.setFont(font, size)
        self.c.drawString(x, y, text)
        wide = stringWidth(text, font, size)
        self.drawn.append([self.page, text, [x / W, (H - y - size * 0.8) / H, (x + wide) / W, (H - y + size * 0.2) / H]])
        return len(self.drawn) - 1

    def right(self, x, y, text, font="Helvetica", size=10):
        return self.draw(x - stringWidth(text, font, size), y, text, font, size)

    def next(self):
        self.c.showPage()
        self.page += 1

    def fill(self, text, font, size, width):
        lines, line = [], ""
        for w in text.split():
            if line and stringWidth(line + " " + w, font, size) > width:
                lines.append(line)
                line = w
            else:
                line = (line + " " + w).strip()
        return lines + [line]

    def paragraph(self, x, y, width, text, font="Times-Roman", size=10, lead=12.5):
        """Draws text in lines; returns the y below and where each character of it stands: ids of drawn lines."""
        where = []
        for line in self.fill(text, font, size, width):
            i = self.draw(x, y, line, font, size)
            where += [i] * (len(line) + 1)
            y -= lead
        return y, where

    def ask(self, question, answer, kind, ids):
        boxes = [[self.drawn[i][0], *(round(v, 5) for v in self.drawn[i][2])] for i in sorted(set(ids))]
        self.questions.append([question, answer, kind, boxes])

    def ask_in(self, question, answer, kind, text, where):
        at = text.index(answer)
        self.ask(question, answer, kind, where[at:at + len(answer)])

    def absent(self, kind, n=1):
        for q in self.r.sample(self.words["absent"][kind], n):
            self.questions.append([q, "", kind, []])

    def save(self):
        self.c.save()
        return {"file": self.file, "questions": self.questions}


def value(r, w, kind):
    """A value of a kind, as it is printed."""
    month = r.choice("January February March April May June July August September October November December".split())
    if kind == "date":
        d, y = r.randint(1, 28), r.randint(2015, 2029)
        return r.choice((f"{d} {month} {y}", f"{y}-{r.randint(1, 12):02}-{d:02}", f"{d:02}/{r.randint(1, 12):02}/{y}", f"{month} {d}, {y}"))
    if kind == "birth":
        return f"{r.randint(1, 28)} {month} {r.randint(1940, 2005)}"
    if kind == "person":
        return f"{r.choice(w['first'])} {r.choice(w['last'])}"
    if kind == "money":
        return r.choice(("{:,.2f} EUR", "${:,.2f}", "£{:,.2f}")).format(r.uniform(20, 9000))
    if kind == "number":
        return str(r.randint(2, 480))
    if kind == "code":
        return r.choice((f"{r.choice('ABKNRT')}{r.choice('CXZ')}-{r.randint(1000, 99999)}", str(r.randint(100000, 9999999))))
    if kind == "place":
        return r.choice(w["cities"])
    if kind == "street":
        return f"{r.randint(1, 220)} {r.choice(w['streets'])}, {r.choice(w['cities'])}"
    if kind == "phone":
        return f"+{r.randint(30, 49)} {r.randint(100, 999)} {r.randint(1000000, 9999999)}"
    if kind == "mail":
        return f"{r.choice(w['first']).lower()}.{r.choice(w['last']).lower()}@{r.choice(w['hosts'])}"
    if kind == "percent":
        return f"{r.uniform(0.5, 60):.1f} %"
    if kind == "weight":
        return f"{r.randint(2, 95)} kg"
    if kind == "company":
        return f"{r.choice(w['last'])} {r.choice(w['firms'])}"
    return r.choice(w[kind])


def form(folder, half, i, seed):
    m = Maker(folder, f"{half}-form-{i}", half, seed)
    r, w = m.r, m.words
    title, fields = w["forms"][i % len(w["forms"])]
    style = ("inline", "aligned", "above", "boxed", "line", "plain")[i % 6]
    colon = style in ("inline", "aligned") or style == "line" and r.random() < 0.5
    size = r.choice((9, 10, 11))
    m.draw(60, H - 70, title, "Helvetica-Bold", 16)
    y, _ = m.paragraph(60, H - 95, W - 120, " ".join(r.sample(w["notes"], 2)), size=9, lead=11)
    fields = r.sample(fields, len(fields))
    missing = next(f for f in fields if len(f) > 2)  # a form like others, without this field
    fields.remove(missing)
    columns = 2 if style in ("above", "boxed", "line") else 1
    width = (W - 120) / columns
    offset = max(stringWidth(f[0], "Helvetica", size) for f in fields) + 22
    tall = size * (3.4 if style in ("above", "boxed") else 2.1)
    top = y - 24
    asked = []
    for k, (label, kind, *questions) in enumerate(fields):
        x, y = 60 + (k % columns) * width, top - (k // columns) * tall
        text, shown = value(r, w, kind), label + (":" if colon else "")
        small = size - 2 if style == "boxed" else size
        if style == "inline":
            at = m.draw(x, y, shown + " " + text, "Helvetica", size)
        else:
            m.draw(x, y, shown, "Helvetica-Bold" if style == "above" else "Helvetica", small)
            if style in ("aligned", "plain"):
                at = m.draw(x + offset, y, text, "Helvetica", size)
            elif style == "line":
                to = x + stringWidth(shown, "Helvetica", size) + 6
                m.c.line(to, y - 2, x + width - 12, y - 2)
                at = m.draw(to + 4, y, text, "Helvetica", size)
            else:
                at = m.draw(x, y - size * 1.3, text, "Helvetica", size)
                if style == "boxed":
                    m.c.rect(x - 4, y + small - tall + 3, width, tall)
        if questions:
            asked.append((r.choice(questions), text, at))
    for question, text, at in r.sample(asked, min(5, len(asked))):
        m.ask(question, text, "form", [at])
    m.absent("form")
    m.questions.append([r.choice(missing[2:]), "", "near", []])
    return m.save()


def invoice(folder, half, i, seed):
    m = Maker(folder, f"{half}-invoice-{i}", half, seed)
    r, w = m.r, m.words
    v = w["invoice"]
    seller, buyer = value(r, w, "company"), value(r, w, "company")
    asked = []
    at = m.draw(60, H - 60, seller, "Helvetica-Bold", 14)
    asked.append((r.choice(v["seller"]), seller, [at]))
    m.draw(60, H - 76, value(r, w, "street"), size=9)
    m.draw(60, H - 88, value(r, w, "phone") + "   " + value(r, w, "mail"), size=9)
    m.right(W - 60, H - 62, v["title"], "Helvetica-Bold", 20)
    y = H - 130
    m.draw(60, y, v["to"], "Helvetica-Bold", 9)
    asked.append((r.choice(v["buyer"]), buyer, [m.draw(60, y - 13, buyer)]))
    m.draw(60, y - 26, value(r, w, "street"))
    for k, (label, kind, *questions) in enumerate(v["fields"]):
        text = value(r, w, kind)
        m.draw(330, y - k * 14, label, size=9)
        at = m.right(W - 60, y - k * 14, text, size=9) if i % 2 else m.draw(430, y - k * 14, text, size=9)
        asked.append((r.choice(questions), text, [at]))
    y -= 14 * len(v["fields"]) + 40
    edges = [60, 300, 370, 455, W - 60]
    heads = v["heads"]
    rows = 34 if i % 3 == 2 else r.randint(4, 9)
    items = r.sample([f"{a} {b}".capitalize() for a in w["looks"] for b in w["goods"]], rows)

    def head(y):
        m.draw(edges[0] + 3, y, heads[0], "Helvetica-Bold", 9)
        for k in (1, 2, 3):
            m.right(edges[k + 1] - 3, y, heads[k], "Helvetica-Bold", 9)
        m.c.line(edges[0], y - 4, edges[-1], y - 4)

    head(y)
    total, lines = 0, []
    for item in items:
        y -= 16
        if y < 80:
            m.right(W - 60, 40, f"Page {m.page}", size=8)
            m.next()
            y = H - 70
            head(y)
            y -= 16
        n, price = r.randint(1, 40), round(r.uniform(2, 400), 2)
        total += round(n * price, 2)
        m.draw(edges[0] + 3, y, item, size=9)
        cells = [m.right(edges[k + 1] - 3, y, t, size=9) for k, t in ((1, str(n)), (2, f"{price:.2f}"), (3, f"{n * price:,.2f}"))]
        lines.append((item.lower(), str(n), f"{price:.2f}", cells))
        if i % 2 == 0:
            m.c.line(edges[0], y - 4, edges[-1], y - 4)
    for item, n, price, cells in r.sample(lines, 2):
        which = r.random() < 0.5
        q = r.choice(v["count"] if which else v["price"]).format(item)
        asked.append((q, n if which else price, [cells[0 if which else 1]]))
    y -= 26
    if y < 120:
        m.right(W - 60, 40, f"Page {m.page}", size=8)
        m.next()
        y = H - 80
    rate = r.choice((5, 7, 10, 19, 20, 21))
    for (label, questions), text in zip(v["sums"], (f"{total:,.2f}", f"{total * rate / 100:,.2f}", f"{total * (100 + rate) / 100:,.2f}")):
        label = label.format(rate)
        m.draw(350, y, label, "Helvetica-Bold" if label == v["sums"][-1][0] else "Helvetica")
        at = m.right(W - 63, y, text)
        if questions:
            asked.append((r.choice(questions), text, [at]))
        y -= 15
    y -= 20
    for text, answer, *questions in r.sample(v["terms"], 2):
        filled = value(r, w, answer) if answer in ("percent", "date", "code") else answer
        text = text.format(filled)
        y, where = m.paragraph(60, y, W - 120, text, "Helvetica", 9, 11.5)
        m.ask_in(r.choice(questions), filled, "invoice", text, where)
        y -= 4
    for question, text, at in r.sample(asked, min(5, len(asked))):
        m.ask(question, text, "invoice", at)
    m.absent("invoice")
    return m.save()


def table(m, x, y, total, style, subject):
    """Draws a table of figures and asks for cells of it; returns the y below."""
    r, w = m.r, m.words
    caption, corner, heads, rows, asks, kind = subject
    number = len([d for d in m.drawn if d[1].startswith("Table ")]) + 1
    m.draw(x, y, f"Table {number}. {caption}", "Helvetica-Bold", 9)
    y -= 18
    heads, rows = r.sample(heads, min(len(heads), 4)), r.sample(rows, min(len(rows), r.randint(5, 8)))
    heads.sort()
    edges = [x + total * 0.3 + k * total * 0.7 / len(heads) for k in range(len(heads) + 1)]
    size, high = 9, r.choice((14, 16, 18))
    ys = [y - k * high for k in range(len(rows) + 1)]
    m.draw(x + 4, ys[0], corner, "Helvetica-Bold", size)
    for k, h in enumerate(heads):
        m.right(edges[k + 1] - 4, ys[0], h, "Helvetica-Bold", size)
    cells = {}
    for i, name in enumerate(rows):
        m.draw(x + 4, ys[i + 1], name, "Helvetica", size)
        for k, h in enumerate(heads):
            text = {"count": f"{r.randint(10, 99000):,}", "decimal": f"{r.uniform(0, 120):.1f}", "percent": f"{r.uniform(1, 99):.0f}%"}[kind]
            cells[name, h] = text, m.right(edges[k + 1] - 4, ys[i + 1], text, "Helvetica", size)
    top, bottom = ys[0] + high - 5, ys[-1] - 5
    m.c.setLineWidth(0.5)
    if style == "grid":
        for k in range(len(rows) + 2):
            m.c.line(x, top - k * high, x + total, top - k * high)
        for e in (x, *edges):
            m.c.line(e, top, e, bottom)
    elif style == "rules":
        for at in (top, ys[0] - 5, bottom):
            m.c.line(x, at, x + total, at)
    for key in r.sample(sorted(cells), 2):
        text, at = cells[key]
        m.ask(r.choice(asks).format(row=key[0], head=key[1]), text, "table", [at])
    without = [name for name in subject[3] if name not in rows]
    if without and r.random() < 0.5:
        m.questions.append([r.choice(asks).format(row=r.choice(without), head=heads[0]), "", "near", []])
    return bottom - 24


def tables(folder, half, i, seed):
    m = Maker(folder, f"{half}-tables-{i}", half, seed)
    r, w = m.r, m.words
    m.draw(60, H - 66, w["reports"][i % len(w["reports"])][0], "Helvetica-Bold", 15)
    y = H - 92
    for k, subject in enumerate(r.sample(w["tables"], 3)):
        y, _ = m.paragraph(60, y, W - 120, " ".join(r.sample(w["notes"], 2)))
        y = table(m, 60, y - 14, r.uniform(340, W - 120), ("grid", "gaps", "rules")[(i + k) % 3], subject)
    m.absent("table")
    return m.save()


def facts(m, thing, n, kind):
    """Paragraphs about a thing: texts with questions for the facts in them."""
    r, w = m.r, m.words
    name, sort = thing
    made = []
    for text, answer, *questions in r.sample(w["facts"][sort], n):
        filled = value(r, w, answer) if answer in ("person", "place", "number", "percent", "money") else answer
        if answer == "year":
            filled = str(r.randint(1790, 2019))
        elif answer == "count":
            filled = f"{r.randint(2, 900):,}{r.choice(('', '', '00', '0'))}"
        elif answer == "metres":
            filled = f"{r.randint(12, 900)} metres"
        made.append((text.format(filled, name=name), filled, [q.format(name=name) for q in questions]))
    return made


def passages(m, things, each, kind):
    """Shuffled paragraphs: facts among sentences that say nothing asked for."""
    r, w = m.r, m.words
    paragraphs = []
    for thing in things:
        made = facts(m, thing, each, kind)
        while made:
            sentences = [(r.choice(w["filler"]).format(name=r.choice([thing[0], "it", "the town"])), None, None)]
            for f in [made.pop() for _ in range(min(2, len(made)))]:
                sentences.insert(r.randint(0, len(sentences)), f)
                sentences.insert(r.randint(0, len(sentences)), (r.choice(w["filler"]).format(name=thing[0]), None, None))
            paragraphs.append(sentences)
    r.shuffle(paragraphs)
    return paragraphs


def put(m, x, y, width, sentences, asked, kind, **look):
    """Draws a paragraph; what may be asked of it goes to asked."""
    text = " ".join(s[0][0].upper() + s[0][1:] for s in sentences)
    y, where = m.paragraph(x, y, width, text, **look)
    for said, answer, questions in sentences:
        if questions:
            at = text.index(said[1:]) - 1 + said.index(answer)
            asked.append((m.r.choice(questions), answer, where[at:at + len(answer)]))
    return y


def article(folder, half, i, seed):
    m = Maker(folder, f"{half}-article-{i}", half, seed)
    r, w = m.r, m.words
    things = [w["things"][(i * 3 + k) % len(w["things"])] for k in range(8)]
    gutter, margin, size = 22, 55, r.choice((9, 10))
    width = (W - 2 * margin - gutter) / 2
    y = H - 64
    for line in m.fill(w["titles"][i % len(w["titles"])], "Times-Bold", 18, W - 2 * margin):
        m.draw(margin, y, line, "Times-Bold", 18)
        y -= 22
    top, asked, column = y - 10, [], 0
    y = top
    for sentences in passages(m, things, 4, "article"):
        need = len(m.fill(" ".join(s[0] for s in sentences), "Times-Roman", size, width)) * size * 1.25
        if y - need < 60:
            column += 1
            if column % 2 == 0:
                m.draw(W / 2, 30, str(m.page), size=8)
                m.next()
                top = H - 60
            y = top
        y = put(m, margin + (column % 2) * (width + gutter), y, width, sentences, asked, "article", size=size, lead=size * 1.25)
        y -= size * 0.6
    for question, answer, ids in r.sample(asked, min(5, len(asked))):
        m.ask(question, answer, "article", ids)
    m.absent("article")
    other = r.choice([t for t in w["things"] if t not in things])
    m.questions.append([r.choice(r.choice(facts(m, other, 3, "article"))[2]), "", "near", []])
    return m.save()


def report(folder, half, i, seed):
    m = Maker(folder, f"{half}-report-{i}", half, seed)
    r, w = m.r, m.words
    title, sections = w["reports"][i % len(w["reports"])]
    things = r.sample(w["things"], 7)
    subjects = r.sample(w["tables"], 3)
    asked = []
    m.draw(80, H - 300, title, "Helvetica-Bold", 24)
    m.draw(80, H - 330, value(r, w, "company"), size=13)
    y = H - 420
    for k, name in enumerate(sections):
        m.draw(80, y, f"{k + 1}  {name}")
        m.right(W - 80, y, str(k + 2))
        y -= 18
    for k, name in enumerate(sections):
        m.next()
        m.draw(60, H - 36, title, size=8)
        m.right(W - 60, H - 36, f"{m.page}", size=8)
        m.draw(60, H - 76, f"{k + 1}  {name}", "Helvetica-Bold", 14)
        y = H - 104
        for sentences in passages(m, things[k:k + 1], 4, "report"):
            y = put(m, 60, y, W - 120, sentences, asked, "report") - 8
        if k % 2 and subjects:
            before = len(m.questions)
            y = table(m, 60, y - 14, r.uniform(340, W - 120), r.choice(("grid", "gaps", "rules")), subjects.pop())
            m.questions = m.questions[:before] + [q for q in m.questions[before:] if q[3]][:1]
        for text, answer, *questions in r.sample(w["figures"], 1):
            y -= 110
            m.c.setFillColorRGB(0.75, 0.85, 0.95)
            for b in range(6):
                m.c.rect(90 + b * 50, y, 34, r.uniform(15, 95), fill=1)
            m.c.setFillColorRGB(0, 0, 0)
            m.draw(90, y - 16, f"Figure {k + 1}. {text}", "Helvetica-Oblique", 9)
            y -= 36
        for sentences in [[(s, None, None)] for s in r.sample(w["notes"], 2)]:
            y = put(m, 60, y, W - 120, sentences, asked, "report") - 8
    for question, answer, ids in r.sample(asked, min(5, len(asked))):
        m.ask(question, answer, "report", ids)
    m.absent("report", 2)
    return m.save()


def main():
    seed = sys.argv[1] if len(sys.argv) > 1 else "questions for tests"
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent / "questions"
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for half in HALVES:
        for make, n in ((form, 6), (invoice, 6), (tables, 4), (article, 5), (report, 4)):
            made += [make(folder, half, i, seed) for i in range(n)]
    text = json.dumps(made, ensure_ascii=False, separators=(",", ":")) + "\n"
    (folder / "questions.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    for half in HALVES:
        qs = [q for d in made if d["file"].startswith(half) for q in d["questions"]]
        print(half, len(qs), "questions,", sum(not q[3] for q in qs), "of them without an answer")


if __name__ == "__main__":
    main()
