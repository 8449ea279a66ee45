#!/usr/bin/env python3
"""Writes tables.go: the character tables of the reference, asked from the reference itself.

    python3 gen.py > tables.go        (tokenizers 0.22.2, as in the test requirements)

The Rust library draws on five sources of character data, each with its own Unicode version: the standard library (lower case,
white space, numeric), unicode_categories (punctuation, marks, controls of BERT), unicode-normalization-alignments (NFC and its
kin, Unicode 9), regex (\\w) and Oniguruma. Go's own tables match none of them everywhere, so each property is probed
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

ONIG = {"OnigSpace": r"\s", "OnigWord": r"\w"}
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


# Grapheme clusters. The Precompiled normalizer is the only part that sees them, and only clusters of less than six bytes. A charsmap in
# which every first byte is a key turns each such cluster into one "!", and longer ones into one a character, so counting the marks shows
# where clusters end. What no context shows makes no difference either.
def charsmap():
    units = [0] * 768
    units[0] = 256 << 10
    for c in range(1, 256):
        if c != 0x0A:  # the separator stays
            units[256 + c] = c | 1 << 8 | 768 << 10
    body = b"".join(u.to_bytes(4, "little") for u in units)
    return len(body).to_bytes(4, "little") + body + b"!\0"


counter = normalizers.Precompiled(charsmap())
LETTER, ACUTE, ZWJ, COPY, LEAD, VOWEL, TRAIL, KA, VIRAMA = "a", "\u0301", "\u200d", "\u00a9", "\u1100", "\u1161", "\u11a8", "\u0915", "\u094d"


def marks(fmt, chars):
    got = counter.normalize_str("\n".join(fmt(c) for c in chars)).split("\n")
    assert len(got) == len(chars)
    return [len(g) for g in got]


CLASSES = ["gAny", "gControl", "gCR", "gLF", "gExtend", "gZWJ", "gSpacing", "gPrepend", "gPictographic", "gLead", "gVowel", "gTrail", "gLV", "gLVT", "gConsonant"]
LINKER, INCB_EXTEND = 16, 32
tried = [c for c in ALL if c not in "\0\n\r"]
joins = marks(lambda c: LETTER + c, tried)
prepend = marks(lambda c: c + LETTER, tried)
control_ = marks(lambda c: c + ACUTE * 2, tried)
picto = marks(lambda c: COPY + ZWJ + c, tried)
before = {k: marks(lambda c: c + k + ACUTE, tried) for k in (LEAD, VOWEL, TRAIL)}
after = {k: marks(lambda c: k + c + ACUTE, tried) for k in (LEAD, VOWEL, TRAIL)}
consonant = marks(lambda c: c + VIRAMA + KA + ACUTE, tried)
linker = marks(lambda c: KA + c + KA + ACUTE, tried)
incb = marks(lambda c: KA + VIRAMA + c + KA + ACUTE, tried)
emoji = marks(lambda c: "\u263a" + c + ZWJ + COPY + ACUTE, tried)
grapheme = {"\0": 1, "\r": 2, "\n": 3}
for i, c in enumerate(tried):
    name, extra = "gAny", 0
    if joins[i] == 1:
        name = "gZWJ" if c == ZWJ else "gExtend" if emoji[i] == 5 else "gSpacing"
        if linker[i] == 4:
            extra |= LINKER
        elif incb[i] == 5:
            extra |= INCB_EXTEND
    elif prepend[i] == 1:
        name = "gPrepend"
    elif control_[i] == 2:
        name = "gControl"
    elif before[LEAD][i] == 3:
        name = "gLead"
    elif before[VOWEL][i] == 3:
        name = "gLV" if after[LEAD][i] == 3 and after[VOWEL][i] != 3 else "gVowel"
    elif before[TRAIL][i] == 3:
        name = "gTrail" if after[TRAIL][i] == 3 else "gLVT"
    elif consonant[i] == 4:
        name = "gConsonant"
    elif picto[i] == 3:
        name = "gPictographic"
    grapheme[c] = CLASSES.index(name) | extra
for a, b, name in ((0x1100, 0x1112, "gLead"), (0x1161, 0x1175, "gVowel"), (0x11A8, 0x11C2, "gTrail"), (0xAC00, 0xAC00, "gLV"), (0xAC01, 0xAC01, "gLVT"), (0x1F600, 0x1F64F, "gPictographic"), (0x915, 0x915, "gConsonant"), (0x600, 0x600, "gPrepend")):
    for o in range(a, b + 1):
        assert grapheme[chr(o)] == CLASSES.index(name), (hex(o), grapheme[chr(o)])

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
print("\n// Grapheme cluster classes, with a bit for the linkers and for the extenders of Indic conjuncts.\nconst (")
for n, name in enumerate(CLASSES):
    print(f"\t{name} = {n}")
print(f"\tgLinker = {LINKER}\n\tgConjunctExtend = {INCB_EXTEND}\n)\n\n// graphemeRuns holds (first code point, class) of each run of one class.\nvar graphemeRuns = [...]uint32{{")
prev, line = None, []
for c in ALL:
    if grapheme[c] != prev:
        prev = grapheme[c]
        line += [f"{ord(c):#x}", f"{prev}"]
        if len(line) >= 24:
            print("\t" + ", ".join(line) + ",")
            line = []
if line:
    print("\t" + ", ".join(line) + ",")
print("}")
print(f"{runs} runs, {len(ccc)} classes, {len(pairs)} compositions", file=sys.stderr)
