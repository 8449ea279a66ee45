"""Compares what xpipe read finds on pages with what RapidOCR finds, and both with what was written.

    python testdata/ocr/compare.py PAGES --xpipe build/xpipe [--model build/ocr-fp32] [--engine ort]

PAGES is a folder that pages.py wrote. Printed are, for each kind of page, the shares of RapidOCR's
lines (without its classifier, and with it where pages stand on their head) whose text, and whose
quadrilateral in whole pixels, xpipe gives, and the rates of wrong characters (CER): the distance of
the sorted words of all lines from the true ones, folded by NFKC, by the number of true characters.
"""

import argparse
import json
import subprocess
import time
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

from rapidocr import RapidOCR

LOOSE = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "，": ",", "：": ":"})


def folded(text):
    return "".join(unicodedata.normalize("NFKC", text).translate(LOOSE).split())


def distance(a, b):
    before = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (x != y)))
        before = row
    return before[-1]


def wrong(lines, true):
    """Wrong characters: lines are matched to the true ones greedily, the likest first; columns of one
    line that the detector divides are joined from the left."""
    left = Counter(folded(t) for t in true)
    rest = []
    for text in (folded(t) for t in lines):
        if left[text]:
            left[text] -= 1
        else:
            rest.append(text)
    missing = sorted(left.elements())
    errors = 0
    for t in missing:
        if not rest:
            errors += len(t)
            continue
        best = min(rest, key=lambda r: distance(r, t))
        d = distance(best, t)
        pieces = [r for r in rest if r and r in t]
        joined = sum(map(len, pieces))
        if pieces and len(t) - joined < d and joined <= len(t):
            for p in pieces:
                rest.remove(p)
            errors += len(t) - joined
            continue
        if d < len(t):
            rest.remove(best)
        errors += min(d, len(t))
    return errors + sum(map(len, rest)) // 4


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", type=Path)
    parser.add_argument("--xpipe", default="build/xpipe")
    parser.add_argument("--model", default="ocr")
    parser.add_argument("--engine", default="go")
    parser.add_argument("--show", action="store_true", help="print lines that differ")
    args = parser.parse_args()
    files = sorted(args.pages.glob("*.png"))
    cache = args.pages / "rapidocr.jsonl"
    known = {}
    if cache.exists():
        known = {d["file"]: d for d in map(json.loads, cache.read_text().splitlines())}
    reader = None
    for file in files:
        if file.name in known:
            continue
        reader = reader or RapidOCR(params={"Global.log_level": "error"})
        found = {"file": file.name}
        for name, use in ("plain", False), ("turning", True):
            start = time.perf_counter()
            r = reader(str(file), use_cls=use)
            found[name] = {"seconds": time.perf_counter() - start, "texts": list(r.txts or []),
                           "quads": [] if r.boxes is None else r.boxes.tolist()}
        known[file.name] = found
        with cache.open("a") as f:
            f.write(json.dumps(found, ensure_ascii=False) + "\n")
    start = time.perf_counter()
    out = subprocess.run([args.xpipe, "read", "--json", "--model", args.model, "--engine", args.engine, *map(str, files)],
                         stdout=subprocess.PIPE, check=True, text=True).stdout
    took = time.perf_counter() - start
    sums = defaultdict(Counter)
    for page in map(json.loads, out.splitlines()):
        file = Path(page["document"])
        kind = file.stem.rsplit("-", 1)[0]
        true = [l["text"] for l in json.loads(file.with_suffix(".json").read_text())["lines"]]
        w, h = page["width"], page["height"]
        ours = {tuple(round(v * s) for p in l["quad"] for v, s in zip(p, (w, h))): l["text"] for l in page["lines"]}
        turned = page.get("turn", 0) != 0
        theirs = known[file.name]["turning" if turned else "plain"]
        s = sums[kind]
        for quad, text in zip(theirs["quads"], theirs["texts"]):
            key = tuple(round(v) for p in quad for v in p)
            s["lines"] += 1
            s["quads"] += key in ours
            same = ours.get(key) == text or key not in ours and text in ours.values()
            s["texts"] += same
            if args.show and (not same or key not in ours):
                print(f"{file.name}: {key} {text!r}, xpipe {ours.get(key)!r}")
        s["characters"] += sum(len(folded(t)) for t in true)
        s["wrong"] += wrong([l["text"] for l in page["lines"]], true)
        s["wrong plain"] += wrong(known[file.name]["plain"]["texts"], true)
        s["wrong turning"] += wrong(known[file.name]["turning"]["texts"], true)
        s["turned"] += turned
        s["pages"] += 1
    total = Counter()
    for s in sums.values():
        total.update(s)
    print(f"{'pages':18}  n turned  lines  texts %  quads %   CER %  RapidOCR's without, with classifier")
    for kind, s in [*sums.items(), ("all", total)]:
        share = lambda a, b: 100 * s[a] / max(1, s[b])
        print(f"{kind:18} {s['pages']:2} {s['turned']:6} {s['lines']:6} {share('texts', 'lines'):8.2f} "
              f"{share('quads', 'lines'):8.2f} {share('wrong', 'characters'):7.2f} "
              f"{share('wrong plain', 'characters'):7.2f} {share('wrong turning', 'characters'):7.2f}")
    print(f"xpipe {took:.1f} s; RapidOCR without {sum(k['plain']['seconds'] for k in known.values()):.1f} s, "
          f"with {sum(k['turning']['seconds'] for k in known.values()):.1f} s")


main()
