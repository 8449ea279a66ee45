#!/usr/bin/env python3
"""Draws regular expressions at random and asks the reference where they match.

    python3 patterns.py SEED COUNT OUT.json

A list of {"pattern", "error"? | "cases": [{"text", "matches": [[start, end], ...]}]}, in characters; empty matches are not seen.
"""
import json
import random
import sys

from tokenizers import Regex, pre_tokenizers

CHARS = list("aabbcdAB12 .'é") + ["中", "\n", "ſ", "́", "²", "½", "ª", "·", "×", "µ", "\u00a0", "\u0085", "\u00ad", "٣", "Ⅷ", "\u2028"]
SETS = [r"\s", r"\S", r"\d", r"\D", r"\w", r"\W", r"\h", r"\p{L}", r"\p{Lu}", r"\P{L}", r"\p{^N}", r"\p{M}", r"\p{P}", r"\p{Han}", ".", r"\p{Alpha}", r"[[:lower:]]", r"[[:^space:]]"]


def char(r):
    c = r.choice(CHARS)
    return {"\n": r"\n", ".": r"\.", "'": "'"}.get(c, c)


def char_class(r, depth=0):
    items = []
    for _ in range(r.randint(1, 3)):
        items.append(r.choice((lambda: char(r), lambda: "a-c", lambda: "0-9", lambda: r.choice([s for s in SETS if s != "." and not s.startswith("[")]),
                               lambda: char_class(r, depth + 1) if depth < 2 else "x"))())
    body = "".join(items)
    if r.random() < 0.2:
        body += "&&" + r.choice((r"\w", "[^b]", "a-z", r"[\p{L}\d]"))
    return "[" + r.choice(("", "", "^")) + body + "]"


def atom(r, depth):
    k = r.random()
    if k < 0.45 or depth > 3:
        return char(r)
    if k < 0.6:
        return r.choice(SETS)
    if k < 0.72:
        return char_class(r)
    if k < 0.86:
        return r.choice(("(", "(?:", "(?:", "(?>")) + alternatives(r, depth + 1) + ")"
    if k < 0.93:
        return r.choice(("(?=", "(?!")) + alternatives(r, depth + 1) + ")"
    if k < 0.96:
        return r.choice(("(?<=", "(?<!")) + r.choice((char(r), char(r) + char(r), r.choice(SETS), char(r) + "|" + r.choice(SETS))) + ")"
    return r.choice(("^", "$", r"\b", r"\B", r"\A", r"\z", r"\Z", "(?i:a)", "(?i:k|s)", "(?i:'re)", "(?m:.)"))


def sequence(r, depth):
    out = ""
    for _ in range(r.randint(1, 4)):
        a = atom(r, depth)
        out += a
        if r.random() < 0.4 and not a.startswith(("(?=", "(?!", "(?<", "^", "$", r"\b", r"\B", r"\A", r"\z", r"\Z")):
            out += r.choice(("*", "+", "?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{1,2}", "{0,2}", "{2,}", "{,2}", "{1,2}?"))
    return out


def alternatives(r, depth):
    return "|".join(sequence(r, depth) for _ in range(r.choice((1, 1, 1, 2, 3))))


def text(r):
    return "".join(r.choice(CHARS + ["aa", "ab", "  ", "\r\n", "K", "\u3000", "_"]) for _ in range(r.randint(1, 14)))


def main():
    r = random.Random("patterns " + sys.argv[1])
    out = []
    while len(out) < int(sys.argv[2]):
        p = alternatives(r, 0)
        row = {"pattern": p}
        try:
            pre = pre_tokenizers.Split(Regex(p), "removed", invert=True)
            row["cases"] = []
            for _ in range(12):
                t = text(r)
                row["cases"].append({"text": t, "matches": [span for _, span in pre.pre_tokenize_str(t)]})
        except BaseException as err:
            row = {"pattern": p, "error": str(err)[:200]}
        out.append(row)
    with open(sys.argv[3], "w") as f:
        json.dump(out, f)


if __name__ == "__main__":
    main()
