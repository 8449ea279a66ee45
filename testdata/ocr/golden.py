"""Makes the small pages of testdata/ocr/golden and writes what RapidOCR reads on them: NAME.json.

    python testdata/ocr/golden.py [--fonts DIR]

Quadrilaterals are in pixels. RapidOCR's classifier is on for the page that stands on its head alone:
on the others it would have nothing to turn.
"""

import argparse
import json
import random
from pathlib import Path

import onnxruntime
from rapidocr import RapidOCR

import pages

HERE = Path(__file__).parent / "golden"


def note(fonts):
    page = pages.Page(fonts, 640, 420)
    for i, (text, style) in enumerate([
            ("Frühstück für Größe 38, weiß", "sans"), ("L'élève reçut ça à Noël.", "serif"), ("Order no. WX-11/0906", "bold"),
            ("naïve façade, señor, Ångström", "italic"), ("total 1,234.50 EUR (20 %)", "mono")]):
        page.text(30, 30 + 62 * i, text, style, 30)
    page.text(30, 350, "Name:", "sans", 26)
    page.text(300, 350, "Zoë Brontë", "dejavu", 26)
    return page


def east(fonts):
    page = pages.Page(fonts, 640, 420)
    r = random.Random(3)
    for i in range(5):
        source = pages.JAPANESE if i % 2 else pages.CHINESE
        page.text(30, 30 + 70 * i, "".join(r.choice(source) for _ in range(16)), "cjk", 32)
    return page


def cells(fonts):
    page = pages.Page(fonts, 640, 420)
    r = random.Random(4)
    for row in range(8):
        for column in range(6):
            page.text(30 + 100 * column, 24 + 48 * row, f"{r.uniform(0, 500):.{r.randint(0, 2)}f}", "sans", 22)
    return page


PAGES = {"note": note, "east": east, "cells": cells,
         "head": lambda f: pages.turned(note(f), 180),
         "skewed": lambda f: pages.turned(note(f), 3)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fonts", action="append", default=["/usr/share/fonts"])
    fonts = pages.Fonts(parser.parse_args().fonts)
    HERE.mkdir(exist_ok=True)
    reader = RapidOCR(params={"Global.log_level": "error"})
    for name, make in PAGES.items():
        page = make(fonts)
        page.image.save(HERE / f"{name}.png", optimize=True)
        r = reader(str(HERE / f"{name}.png"), use_cls=name == "head")
        lines = [{"text": t, "score": s, "quad": q} for t, s, q in zip(r.txts, r.scores, r.boxes.tolist())]
        (HERE / f"{name}.json").write_text(json.dumps(
            {"versions": {"rapidocr": "3.10.0", "onnxruntime": onnxruntime.__version__}, "lines": lines,
             "true": [l["text"] for l in page.lines]}, ensure_ascii=False, indent=1) + "\n")


main()
