#!/usr/bin/env python3
"""Writes the gallery of docs/accuracy.md: what the real binary says of ten pictures, right or wrong.

    python tools/train/gallery.py --xpipe build/xpipe [--page docs/accuracy.md] [--print]

The section is what stands between <!-- gallery --> and <!-- /gallery -->. Nothing is chosen after
the fact: the pictures and questions are fixed below, and what is expected stands beside what came,
so that failures show. Default models and the Go engine.
"""
import argparse
import shlex
import subprocess
from pathlib import Path

IMAGES = "testdata/images"
BEGIN, END = "<!-- gallery -->", "<!-- /gallery -->"
# picture -> [(arguments behind the verb's name, what is right; None: nothing is)]
GALLERY = [
    ("apple.png", [(["caption", "@"], "red apple")]),
    ("umbrella.png", [(["caption", "@"], "umbrella"), (
        ["classify", "@", "--top", "2", "rain hat", "umbrella", "parachute", "mushroom"],
        "umbrella")]),
    ("guitar.png", [(["caption", "@"], "guitar"),
                    (["match", "@", "a guitar", "a violin", "a frying pan"], "a guitar")]),
    ("dog.png", [(["caption", "@"], "dog face"), (
        ["ask", "@", "what is this?", "--shot", f"{IMAGES}/pizza.png=zudo", "--shot",
         f"{IMAGES}/dog.png=wemi"], "wemi")]),
    ("red-circle.png", [(["ask", "@", "what color is the shape?"], "red"),
                        (["ask", "@", "is there not a red shape in the image?"], "no")]),
    ("gray-rectangle.png", [(["caption", "@"], "a gray rectangle")]),
    ("scene.png", [(["caption", "@"], None), (["ask", "@", "how many dogs are there?"], "2"),
                   (["ask", "@", "what color is the car?"], "blue"),
                   (["ask", "@", "is there an umbrella?"], "no"),
                   (["ask", "@", "how many dogs are there?", "--model", "lxmert-mini"], "2"),
                   (["ask", "@", "is the apple above the car?", "--model", "lxmert-mini"], "yes")]),
    ("cat.jpg", [(["caption", "@"], "a cat"),
                 (["classify", "@", "--top", "2", "cat", "dog", "fox", "rabbit"], "cat"),
                 (["ask", "@", "how many cats are there?"], "1")]),
    ("coffee.jpg", [(["caption", "@"], "espresso, coffee or a cup"),
                    (["classify", "@", "--top", "2", "espresso", "soup", "red wine", "plate"],
                     "espresso")]),
    ("rocket.png", [(["caption", "@"], "rocket"), (
        ["classify", "@", "--top", "2", "rocket", "missile", "airplane", "lighthouse"],
        "rocket")]),
]


def said(xpipe: str, arguments: list[str]) -> str:
    """What the binary prints, or how it fails, in one line."""
    done = subprocess.run([xpipe, *arguments, "--engine", "go"], capture_output=True, text=True)
    text = done.stdout if done.returncode == 0 else f"(exit {done.returncode}) {done.stderr}"
    return "; ".join(" ".join(line.split("\t")) for line in text.strip().splitlines())


def section(xpipe: str) -> str:
    lines = [BEGIN, "", "| picture | command (`xpipe ...`) | says | right is |", "|---|---|---|---|"]
    cell = lambda s: s.replace("|", "\\|")
    for picture, commands in GALLERY:
        for n, (arguments, right) in enumerate(commands):
            arguments = [a.replace("@", f"{IMAGES}/{picture}") if a == "@" else a for a in arguments]
            shown = shlex.join(a.removeprefix(f"{IMAGES}/") for a in arguments).replace(f"{IMAGES}/", "")
            image = f'<img src="../{IMAGES}/{picture}" width="96" alt="{Path(picture).stem}">' if n == 0 else ""
            lines.append(
                f"| {image} | `{cell(shown)}` | {cell(said(xpipe, arguments)) or '(nothing)'} | "
                f"{cell(right) if right else 'it has no caption for several things'} |")
    return "\n".join(
        [*lines, "", "Made by `tools/train/gallery.py` with the embedded models and the Go engine; "
                     "failures are left in.",
         "", END])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--xpipe", default="build/xpipe")
    ap.add_argument("--page", type=Path, default=Path("docs/accuracy.md"))
    ap.add_argument("--print", action="store_true", help="print the section, write nothing")
    args = ap.parse_args()
    made = section(args.xpipe)
    if args.print:
        print(made)
        return
    text = args.page.read_text()
    if BEGIN not in text or END not in text:
        raise SystemExit(f"{args.page} has no {BEGIN} ... {END} to write between")
    before, _, rest = text.partition(BEGIN)
    args.page.write_text(before + made + rest.partition(END)[2])


if __name__ == "__main__":
    main()
