#!/usr/bin/env python3
"""Writes tables.go: the character tables of the reference, asked from the reference itself.

    python3 gen.py > tables.go        (tokenizers 0.22.2, as in the test requirements)

The Rust library draws on five sources of character data, each with its own Unicode version: the standard library (lower case,
white space, numeric), unicode_categories (punctuation, marks, controls of BERT), unicode-normalization-alignments (NFC and its
kin, Unicode 9), regex (\\w) and Oniguruma (\\p{..}). Go's own tables match none of them everywhere, so each property is probed
for every code point instead of assumed.
"""
import sys
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

if tokenizers.__version__ != "0.22.2":
    sys.exit(f"tokenizers 0.22.2 needed, found {tokenizers.__version__}")

ALL = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
TEXT = "".join(ALL)


def pieces(pre, text):
    return [span for _, span in pre.pre_tokenize_str(text)]


def covered(pre):
    """Code points kept by a pre-tokenizer that removes what it matches: the rest is the class."""
    out = bytearray(b"\1" * len(TEXT))
    for a, b in pieces(pre, TEXT):
        out[a:b] = b"\0" * (b - a)
    return out


def dropped(norm, chars):
    """Code points that a filtering normalizer removes, each tried after an 'a' so that nothing reorders."""
    got = norm.normalize_str("".join("a" + c for c in chars))
    out, i = set(), 0
    for n, c in enumerate(chars):
        assert got[i] == "a", (hex(ord(c)), got[i:i + 3])
        i += 1
        nxt = got[i] if i < len(got) else None
        # Kept characters may be replaced by a space but stay one character before the next 'a'.
        if c == "a":
            i += 1
        elif nxt is None or nxt == "a":
            out.add(c)
        else:
            i += 1
    return out


def per_char(norm):
    """What a normalizer makes of each code point alone."""
    got = norm.normalize_str("\n".join(c for c in ALL if c != "\n")).split("\n")
    chars = [c for c in ALL if c != "\n"]
    assert len(got) == len(chars)
    return dict(zip(chars, got))


GC = ["Cn", "Cc", "Cf", "Co", "Cs", "Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me", "Mn", "Nd", "Nl", "No",
      "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Zl", "Zp", "Zs"]
flags = [0] * len(TEXT)
for n, name in enumerate(GC):
    if name in ("Cn", "Cs"):
        continue
    for i, hit in enumerate(covered(pre_tokenizers.Split(Regex(r"\p{%s}" % name), "removed"))):
        if hit:
            assert flags[i] == 0
            flags[i] = n

ONIG = {"OnigSpace": r"\s", "OnigWord": r"\w", "OnigAlpha": r"\p{Alpha}", "OnigUpper": r"\p{Upper}", "OnigLower": r"\p{Lower}"}
BITS = ["White", "Numeric", "Punct", "Control", "Nonspacing", "Combining", "Word"] + list(ONIG)
sets = {
    "White": covered(pre_tokenizers.WhitespaceSplit()),
    "Punct": covered(pre_tokenizers.Punctuation("removed")),
    "Numeric": covered(pre_tokenizers.Sequence([pre_tokenizers.Digits(False)])),
}
num = bytearray(len(TEXT))
spans = pieces(pre_tokenizers.Digits(False), TEXT)
zero = next(k for k, (a, b) in enumerate(spans) if a <= 0x30 < b)
for k, (a, b) in enumerate(spans):
    if k % 2 == zero % 2:
        num[a:b] = b"\1" * (b - a)
sets["Numeric"] = num
for name, pattern in ONIG.items():
    sets[name] = covered(pre_tokenizers.Split(Regex(pattern), "removed"))


def bert(**kw):
    base = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**{**base, **kw})


nfd, nfkd, nfc, lower = (per_char(n) for n in (normalizers.NFD(), normalizers.NFKD(), normalizers.NFC(), normalizers.Lowercase()))
del nfd  # asked again below with the newline in place
NFD, NFKD, NFC = normalizers.NFD(), normalizers.NFKD(), normalizers.NFC()
nfd = per_char(NFD)
control = dropped(bert(clean_text=True), ALL)
nonspacing = dropped(bert(strip_accents=True), [c for c in ALL if nfd.get(c, c) == c])
combining = dropped(normalizers.StripAccents(), ALL)
sets["Control"] = [c in control for c in ALL]
sets["Nonspacing"] = [c in nonspacing for c in ALL]
sets["Combining"] = [c in combining for c in ALL]
ws = pre_tokenizers.Whitespace()
word = []
for c in ALL:
    word.append(len(ws.pre_tokenize_str("a" + c + "a")) == 1)
sets["Word"] = word
for n, name in enumerate(BITS):
    bit = 1 << (5 + n)
    for i, hit in enumerate(sets[name]):
        if hit:
            flags[i] |= bit

# Canonical order. The classes themselves never change between Unicode versions; which characters had one in Unicode 9 is probed.
ccc = {}
for c in ALL:
    if nfd.get(c, c) != c:
        continue
    cls = unicodedata.combining(c)
    if cls and (NFD.normalize_str("a\u0345" + c) != "a\u0345" + c or (cls >= 240 and NFD.normalize_str("a" + c + "\u0300") != "a" + c + "\u0300")):
        ccc[c] = cls
reps = {}
for c, cls in ccc.items():
    reps.setdefault(cls, c)
for c, cls in ccc.items():
    for other, rep in reps.items():
        want = "a" + c + rep if cls <= other else "a" + rep + c
        assert NFD.normalize_str("a" + c + rep) == want, (hex(ord(c)), hex(ord(rep)))

hangul = lambda c: 0xAC00 <= ord(c) <= 0xD7A3
pairs = []
for c in ALL:
    d = nfd.get(c, c)
    if d == c or hangul(c) or nfc.get(c) != c:
        continue
    first, second = NFC.normalize_str(d[:-1]), d[-1]
    if len(first) != 1 or len(d) < 2:
        continue
    assert NFC.normalize_str(first + second) == c, hex(ord(c))
    pairs.append((ord(first), ord(second), ord(c)))


def esc(s):
    return '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}" for c in s) + '"'


def mapping(name, doc, table):
    """Sorted by code point; runs are written as one string of NUL-separated 'key value' pairs to keep the file small."""
    print(f"\n// {name} {doc}\nvar {name} = decodeMap(\"\" +")
    keys = sorted(k for k in table if not hangul(k))
    rows = [keys[i:i + 12] for i in range(0, len(keys), 12)]
    for row in rows:
        body = "".join(k + table[k] + "\x00" for k in row)
        end = ")" if row is rows[-1] else " +"
        print("\t" + '"' + "".join(go_char(c) for c in body) + '"' + end)


def go_char(c):
    o = ord(c)
    if c in '"\\':
        return "\\" + c
    if 0x20 <= o < 0x7F:
        return c
    if o == 0:
        return "\\x00"
    return f"\\u{o:04x}" if o < 0x10000 else f"\\U{o:08x}"


print("// Code generated by gen.py from tokenizers 0.22.2. DO NOT EDIT.\n\npackage unidata\n")
print("// Property bits of Props, above the general category in the low five bits.\nconst (")
for n, name in enumerate(BITS):
    print(f"\t{name} = 1 << {5 + n}")
print(")\n\n// General categories as Oniguruma knows them: the low five bits of Props.\nconst (")
for n, name in enumerate(GC):
    print(f"\t{name} = {n}")
print(")\n\n// propRuns holds (first code point, properties) of each run of equal properties.\nvar propRuns = [...]uint32{")
prev, line = None, []
runs = 0
for c, f in zip(ALL, flags):
    if f != prev:
        line += [f"{ord(c):#x}", f"{f:#x}"]
        prev = f
        runs += 1
        if len(line) >= 20:
            print("\t" + ", ".join(line) + ",")
            line = []
if line:
    print("\t" + ", ".join(line) + ",")
print("}")
print("\n// cccRuns holds (code point, canonical combining class).\nvar cccRuns = [...]uint32{")
items = [f"{ord(c):#x}, {v}" for c, v in sorted(ccc.items())]
for i in range(0, len(items), 12):
    print("\t" + ", ".join(items[i:i + 12]) + ",")
print("}\n\n// compositions holds (first, second, composed).\nvar compositions = [...]uint32{")
items = [f"{a:#x}, {b:#x}, {c:#x}" for a, b, c in sorted(pairs)]
for i in range(0, len(items), 8):
    print("\t" + ", ".join(items[i:i + 8]) + ",")
print("}")
mapping("canonicalDecomposition", "is the full canonical decomposition of each character that has one, Hangul left out.",
        {c: d for c, d in nfd.items() if d != c})
mapping("compatibleDecomposition", "is the full compatibility decomposition where it differs from the canonical one.",
        {c: d for c, d in per_char(NFKD).items() if d != nfd.get(c)})
mapping("lowercase", "is the lower case of each character that has another one.", {c: d for c, d in lower.items() if d != c})
SCRIPTS = ["Arabic", "Armenian", "Bengali", "Bopomofo", "Common", "Cyrillic", "Devanagari", "Ethiopic", "Georgian", "Greek", "Gujarati", "Gurmukhi",
           "Han", "Hangul", "Hebrew", "Hiragana", "Inherited", "Kannada", "Katakana", "Khmer", "Lao", "Latin", "Malayalam", "Mongolian", "Myanmar",
           "Oriya", "Sinhala", "Tamil", "Telugu", "Thai", "Tibetan"]
print("\n// Scripts holds the ranges (first, last) of the scripts that patterns may name.\nvar Scripts = map[string][]rune{")
for name in SCRIPTS:
    kept = pieces(pre_tokenizers.Split(Regex(r"\p{%s}" % name), "removed"), TEXT)
    edges, at = [], 0
    for a, b in kept + [(len(TEXT), len(TEXT))]:
        if a > at:
            edges += [ord(TEXT[at]), ord(TEXT[a - 1])]
        at = b
    print(f'\t"{name}": {{' + ", ".join(f"{e:#x}" for e in edges) + "},")
print("}")
print(f"{runs} runs, {len(ccc)} classes, {len(pairs)} compositions", file=sys.stderr)
