#!/usr/bin/env python3
"""Asks the reference where regular expressions match: some drawn at random, or given ones.

    python3 patterns.py SEED COUNT
    python3 patterns.py ask         standard input: a list of {"pattern", "texts"}

It prints a list of {"pattern", "error"? | "cases": [{"text", "matches": [[start, end], ...]}]}, in characters; empty matches are not seen.
"""
import json
import random
import sys

from tokenizers import Regex, pre_tokenizers

CHARS = list("aabbcdAB12 .'é") + ["中", "\n", "ſ", "́", "²", "½", "ª", "·", "×", "µ", "\u00a0", "\u0085", "\u00ad", "٣", "Ⅷ", "\u2028"]
# What case folds to more than one character, or to others than its pair.
CASED = list("sSkKiItTfFlLjJhHwyYéÉßẞµμΜσςΣıİöÖåÅÅⱥⱯǆǅǄ") + ["ﬁ", "ﬀ", "ﬃ", "ﬄ", "ﬅ", "ﬆ", "\u212a", "ŉ", "ǰ", "ΐ", "ΰ", "ᾳ", "ᾼ", "α", "ι", "և", "ẖ", "ẗ", "\u0331", "\u0308", "\u0301", "\u030c", "\u0307", "ʼn", "ᏸ", "ꭰ", "ა", "Ა", "ꙋ", "ᲀ", "ϐ", "β"]
JOINED = ["👩", "\u200d", "🚀", "🇩", "🇪", "가", "ᄀ", "ᅡ", "ᆨ", "क", "\u094d", "ष", "\ufe0f", "🏽", "\r", "\n", "\u0600"]
SETS = [r"\s", r"\S", r"\d", r"\D", r"\w", r"\W", r"\h", r"\H", r"\p{L}", r"\p{Lu}", r"\P{L}", r"\p{^N}", r"\p{M}", r"\p{P}", r"\p{Han}", ".", r"\p{Alpha}", r"[[:lower:]]", r"[[:^space:]]", r"[[:punct:]]", r"[[:^word:]]", r"[[:graph:]]",
        r"[[:alnum:]]", r"[[:xdigit:]]", r"[[:cntrl:]]", r"[[:print:]]", r"[[:blank:]]", r"[[:ascii:]]", r"\p{Word}", r"\p{^Word}", r"\P{word}", r"\p{Punct}", r"\p{Emoji}", r"\p{In_Basic_Latin}", r"\p{Letter}", r"\p{Uppercase Letter}",
        r"\p{white_space}", r"\p{ID_Start}", r"\p{Greek}", r"\p{Script_Extensions}", r"\p{Math}", r"\p{Any}", r"\p{Assigned}", r"\p{Age=6.0}", r"\N", r"\O", r"\R", r"\X", r"\p{Nd}", r"\p{Latin}", r"\p{Titlecase}"]
ESCAPES = [r"\t", r"\n", r"\x41", r"\x{4e2d}", r"\u00e9", r"\101", r"\e", r"\x{61 62}", r"\xc3\xa9", r"\o{141}", r"\cA", r"\-", r"\i", r"\q", r"\_", r"\0", r"\x", r"\8", r"\E", r"\pL"]


def char(r):
    c = r.choice(CHARS)
    return {"\n": r"\n", ".": r"\.", "'": "'"}.get(c, c)


def char_class(r, depth=0):
    items = []
    for _ in range(r.randint(1, 3)):
        items.append(r.choice((lambda: char(r), lambda: "a-c", lambda: "0-9", lambda: r.choice([s for s in SETS if s not in (".", r"\N", r"\O", r"\R", r"\X") and not s.startswith("[")]),
                               lambda: r.choice(("[:alpha:]", "[:^digit:]", "[:punct:]", "[:upper:]", "[:foo:]", "[:a", "-", "]", "^", "&", "a-", r"\b", r"\x{41}", r"\n-\r", "ß", "α-ω", "ſ")), lambda: char_class(r, depth + 1) if depth < 2 else "x"))())
    body = "".join(items)
    if r.random() < 0.2:
        body += "&&" + r.choice((r"\w", "[^b]", "a-z", r"[\p{L}\d]", "^a", "-a", r"\P{L}"))
    return "[" + r.choice(("", "", "^")) + body + "]"


def folded(r):
    k = r.random()
    if k < 0.4:
        body = "".join(r.choice(CASED) for _ in range(r.randint(1, 3)))
    elif k < 0.7:
        body = "[" + r.choice(("", "", "^")) + "".join(r.choice(CASED + ["a-z", r"\p{Lu}", r"\p{Ll}", "[:upper:]", "A-Z&&[^K]"]) for _ in range(r.randint(1, 3))) + "]"
    else:
        body = r.choice(("[sdmt]|ll|ve|re", "'re", "k|s", "s(?:s)", "s[s]", "ss+", "(s)\\1", "f(?:f+)f", "(?-i:s)s", "(?i)s(?x) s # c", r"s\x73", r"\x{73}s"))
    return r.choice(("(?i:%s)", "(?i:%s)", "(?i-m:%s)", "(?i)%s", "(?I)(?i:%s)")) % body + r.choice(("", "", "+", "*", "{2}"))


def atom(r, depth):
    k = r.random()
    if k < 0.38 or depth > 3:
        return char(r)
    if k < 0.52:
        return r.choice(SETS)
    if k < 0.63:
        return char_class(r)
    if k < 0.68:
        return folded(r)
    if k < 0.70:
        return r.choice(ESCAPES)
    if k < 0.82:
        return r.choice(("(", "(?:", "(?:", "(?>", "(?<n>", "(?'m'")) + alternatives(r, depth + 1) + ")"
    if k < 0.84:
        return r.choice((r"\1", r"\2", r"\k<n>", r"\k'm'", r"\k<-1>", "(?(1)a|b)", "(?(<n>)a)", r"(?(a)\w|.)", r"(?(\d)[a-c])", "(?(1))", r"(?i:\1)", r"(.)\1", r"(\w)\1+", r"(?<n>[ab])\k<n>", "(?<n>a)?(?(<n>)b|c)"))
    if k < 0.90:
        return r.choice(("(?=", "(?!")) + alternatives(r, depth + 1) + ")"
    if k < 0.94:
        return r.choice(("(?<=", "(?<!")) + r.choice((lambda: char(r), lambda: char(r) + char(r), lambda: r.choice(SETS), lambda: char(r) + "|" + r.choice(SETS), lambda: alternatives(r, 3), lambda: folded(r), lambda: r"\b" + char(r) + "+"))() + ")"
    return r.choice(("^", "$", r"\b", r"\B", r"\A", r"\z", r"\Z", r"\G", r"\K", r"\y", r"\Y", "(?i:a)", "(?i:k|s)", "(?i:'re)", "(?m:.)", "(?x: a b # c\n)", "(?#c)", r"(?W:\w\b)", r"(?D:\d)", r"(?S:\s)", r"(?P:[[:alpha:]]\p{Lower})", "(?i)", "(?m)", "(?x)"))


QUANTIFIERS = ("*", "+", "?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{1,2}", "{0,2}", "{2,}", "{,2}", "{1,2}?", "{2}?", "{2}+", "{1}", "{1}+", "{1,2}+", "{2,1}", "{0}", "{,}", "{a}", "{3,}?", "**", "+*", "?*?", "{2}{2}", "*{2}")


def sequence(r, depth):
    out = ""
    for _ in range(r.randint(1, 4)):
        a = atom(r, depth)
        out += a
        if r.random() < 0.4 and (not a.startswith(("(?=", "(?!", "(?<=", "(?<!", "^", "$", r"\b", r"\B", r"\A", r"\z", r"\Z", r"\G", r"\K", r"\y", r"\Y")) or r.random() < 0.02):
            out += r.choice(QUANTIFIERS)
    return out


def alternatives(r, depth):
    return "|".join(sequence(r, depth) for _ in range(r.choice((1, 1, 1, 2, 3))))


def text(r):
    pool = CHARS + ["aa", "ab", "  ", "\r\n", "K", "\u3000", "_"]
    k = r.random()
    if k < 0.25:
        pool = CASED + ["ss", "SS", "ff", "fi", "ſt"]
    elif k < 0.35:
        pool = JOINED + ["a", "é"]
    return "".join(r.choice(pool) for _ in range(r.randint(1, 14)))


def answer(pattern, texts):
    try:
        pre = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
        return {"pattern": pattern, "cases": [{"text": t, "matches": [span for _, span in pre.pre_tokenize_str(t)]} for t in texts]}
    except BaseException as err:
        return {"pattern": pattern, "error": str(err)[:200]}


def main():
    if sys.argv[1] == "ask":
        out = [answer(row["pattern"], row["texts"]) for row in json.load(sys.stdin.buffer)]
    else:
        r = random.Random("patterns " + sys.argv[1])
        out = []
        while len(out) < int(sys.argv[2]):
            pattern = alternatives(r, 0)
            out.append(answer(pattern, [text(r) for _ in range(12)]))
    json.dump(out, sys.stdout)


if __name__ == "__main__":
    main()
