#!/usr/bin/env python3
"""Writes onig.bin.gz: the character properties, case folds and grapheme classes of Oniguruma.

    python3 onig.py ONIGURUMA/src        (6.9.10, the version inside tokenizers 0.22.2)

The reference can be asked about a property whose name is known, not for the names; so the tables are read from Oniguruma's
sources (unicode_property_data.c, unicode_fold_data.c, unicode_egcb_data.c) and TestProperties holds them to the reference.
All is numbers as unsigned varints, in this order:

    the ranges of each property: how many there are, for each the number of ranges, then the gap before each range and its
    length less one; two names of one property share a number
    the names: how many, for each the number of its bytes, the bytes, and the number of its property
    the folds to one, two and three characters: how many, for each the characters of the fold, the number of characters that
    fold to it, and those
    the grapheme classes: how many ranges, for each the gap before it, its length less one, and its class
"""
import gzip
import os
import re
import sys

src = sys.argv[1]
out = bytearray()


def put(n):
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)


def read(name):
    with open(os.path.join(src, name), encoding="utf-8") as f:
        return f.read()


text = read("unicode_property_data.c")
ranges = {}
for name, body in re.findall(r"\bCR_(\w+)\[\] = \{(.*?)\};", text, re.S):
    n = [int(x, 0) for x in re.findall(r"0x[0-9a-f]+|\b\d+\b", body)]
    assert len(n) == 2 * n[0] + 1, name
    ranges[name] = list(zip(n[1::2], n[2::2]))
defines = dict(re.findall(r"#define CR_(\w+) CR_(\w+)", text))
table = re.search(r"CodeRanges\[\] = \{(.*?)\};", text, re.S).group(1)
order = re.findall(r"CR_(\w+)", table)
pool = re.search(r"unicode_prop_name_pool_contents =\s*\{(.*?)\};", text, re.S).group(1)
names = re.findall(r'"([^"]*)"', pool)
words = re.search(r"wordlist\[\] =\s*\{(.*?)\};", text, re.S).group(1)
index = [(int(a), int(b)) for a, b in re.findall(r"pool_offset\((\d+)\),\s*(\d+)\}", words)]
assert len(index) == len(names), (len(index), len(names))

put(len(order))
for name in order:
    while name in defines:
        name = defines[name]
    put(len(ranges[name]))
    at = 0
    for a, b in ranges[name]:
        put(a - at)
        put(b - a)
        at = b + 1
put(len(names))
for name, (_, ctype) in sorted(zip(names, index)):
    put(len(name))
    out += name.encode()
    put(ctype)

text = read("unicode_fold_data.c")
for size in (1, 2, 3):
    body = re.search(r"OnigUnicodeFolds%d\[\] = \{(.*?)\};" % size, text, re.S).group(1)
    body = re.sub(r"#define[^\n]*", "", re.sub(r"/\*.*?\*/", "", body, flags=re.S))
    n = [int(x, 0) for x in re.findall(r"0x[0-9a-f]+|\b\d+\b", body)]
    rows, i = [], 0
    while i < len(n):
        k = n[i + size]
        rows.append((n[i:i + size], n[i + size + 1:i + size + 1 + k]))
        i += size + 1 + k
    put(len(rows))
    for fold, unfolds in rows:
        for c in fold:
            put(c)
        put(len(unfolds))
        for c in unfolds:
            put(c)

CLASSES = ["Other", "CR", "LF", "Control", "Extend", "Prepend", "Regional_Indicator", "SpacingMark", "ZWJ", "L", "LV", "LVT", "T", "V"]
rows = re.findall(r"\{0x([0-9a-f]+), 0x([0-9a-f]+), EGCB_(\w+) \}", read("unicode_egcb_data.c"))
put(len(rows))
at = 0
for a, b, c in rows:
    a, b = int(a, 16), int(b, 16)
    put(a - at)
    put(b - a)
    put(CLASSES.index(c))
    at = b + 1

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "onig.bin.gz")
with open(path, "wb") as f:
    f.write(gzip.compress(bytes(out), 9, mtime=0))
print(len(order), "properties,", len(names), "names,", len(out), "bytes,", os.path.getsize(path), "packed")
