#!/usr/bin/env python3
"""Makes the text that tokenize/ is held to: strings of every kind a tokenizer may meet, the same ones for a given name.

    python3 corpus.py NAME COUNT > corpus.json       (a JSON array of strings)

Any NAME gives a corpus of its own. Names that begin with "held" are drawn in another way: pieces of all kinds are mixed inside one
string, code points come from the whole of Unicode, and lengths are spread differently. Such a corpus is for a last look, not for
developing against.
"""
import json
import random
import sys
import unicodedata

WORDS = """a an the of in on with and or is are was two three several young old man woman boy girl child person people dog cat horse bird
sheep cow elephant bear zebra giraffe umbrella backpack handbag tie suitcase frisbee skis snowboard ball kite bat glove skateboard
surfboard racket bottle glass cup fork knife spoon bowl banana apple sandwich orange broccoli carrot pizza donut cake chair couch plant
bed table toilet tv laptop mouse remote keyboard phone microwave oven toaster sink refrigerator book clock vase scissors sitting standing
walking riding holding eating looking next to near behind above under red blue green yellow purple black white gray brown large small tiny
beautiful wooden plastic striped shiny blurry street beach field kitchen bathroom park mountain river snow grass sky photo picture
painting drawing close up view unbelievably extraordinary photosynthesis internationalization antidisestablishmentarianism tokenization
counterrevolutionaries misunderstanding uncharacteristically Mississippi Kraków naïve café résumé coöperate Zürich façade jalapeño""".split()
PROSE = """It was late in the evening when the train finally pulled into the station, and hardly anyone was left on the platform.
"I can't believe you've come all this way," she said; he'd never been one for speeches, so he didn't answer.
The committee's report — published in 1987 — noted that 42.5% of respondents weren't satisfied (see Table 3).
In mathematics, a group is a set with an operation that is associative, has an identity, and every element has an inverse.
We're going to need a bigger boat, they'll say; I'd rather we weren't here at all, wouldn't you?
Mr. O'Neill paid $1,299.99 for it on 2024-02-29 at 13:45; that's about €1.200 or £1,050, isn't it?
The quick brown fox jumps over the lazy dog. THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG!
For the first time in history, machines could describe what they saw: not well, not always, but recognizably.""".split("\n")
CODE = ["def f(x):\n    return x**2  # square\n", "for (int i = 0; i < n; ++i) {\n\tsum += a[i];\n}\n", "if err != nil {\n\treturn nil, fmt.Errorf(\"open %s: %w\", path, err)\n}",
        "<div class=\"a b\">&nbsp;&lt;p&gt;</div>", "SELECT * FROM t WHERE id = 1 AND name LIKE '%x%';", "#!/bin/sh\nset -euo pipefail\necho \"$@\" | sed 's/a/b/g'",
        "{\"key\": [1, 2.5e-3, null, true], \"k2\": \"v\\n\"}", "std::vector<std::pair<int,int>> v{{1,2},{3,4}};", "x = lambda a, *b, **c: {k: v for k, v in c.items()}", "\\frac{a}{b} + \\sum_{i=0}^{n} x_i^2"]
URLS = ["https://example.org/a/b?c=d&e=%20f#g", "http://user:pass@host.example:8080/~x/", "mailto:some.body+tag@example.com", "ftp://ftp.example.net/pub/file.tar.gz", "www.example.co.uk/index.php?id=1", "/usr/local/lib/python3.11/site-packages", "C:\\Users\\me\\file.txt", "#hashtag @mention"]
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷🇯🇵", "❤️", "👩🏿‍🚀", "1️⃣", "☺", "☺️", "🤷‍♂️", "🧑‍🤝‍🧑", "©️", "™", "ℹ️", "🫠", "🪿", "🇩", "‍", "️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"]
SCRIPTS = ["你好，世界！今天天气很好。", "漢字とかなの混ざった文です。東京タワー", "カタカナ ｶﾀｶﾅ ﾊﾟﾋﾟ ゙が", "안녕하세요 세계 대한민국", "한글", "العربية هي لغة جميلة، أليس كذلك؟", "مُحَمَّد ١٢٣٤", "हिन्दी में क्षत्रिय ज्ञान १२३", "বাংলা ভাষা", "தமிழ் மொழி", "ภาษาไทยไม่มีวรรค", "Ελληνικά κείμενα ΟΔΥΣΣΕΥΣ", "Русский текст, ёжик Й", "עברית עם נִקּוּד", "Tiếng Việt có dấu", "İstanbul ıI ĞğŞş", "ÀÉÎÕÜ àéîõü ñ ç ß ẞ ŉ ǰ", "Æ æ Œ œ Ø ø Ł ł Đ đ", "ﬁ ﬂ ﬃ ſt Ǆ ǅ ǆ", "①②③ ⅓ ½ ² ³ ⁴ Ⅷ ㊙ ㍿ ㎏", "Ａｂｃ１２３！　＂", "᠎ᠮᠣᠩᠭᠣᠯ", "ပမာဏ မြန်မာ", "ខ្មែរ", "ᏣᎳᎩ ꭰꭱ", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟘𝟙𝟚", "𐍈𐌰 𓀀𓁐", "ﷺ ﷽"]
ODD = [" ", "​", "‌", "‍", "﻿", "­", "‎", "‮", "⁠", "　", " ", " ", "\u2028", "\u2029", "᠎", "\x00", "\x01", "\x07", "\x08", "\x0b", "\x0c", "\x1b[31m", "\x1f", "\x7f", "\x85", "\x9f", "�", "￾", "￿", "", "\U000e0001", "\U000f0000", "\U0010ffff", "͸", "឴", "ᅟ", "ﾠ", "⠀", "؜", "͏", "׀"]
SPECIALS = ["[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]", "[mask]", "<|endoftext|>", "<|startoftext|>", "<|ENDOFTEXT|>", "<s>", "</s>", "<unk>", "<pad>", "<mask>", "</w>", "##", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<extra_id_0>", "<extra_id_99>", "▁", "<0x0A>", "<0xE2>", "<image>", "Ġ", "Ċ", "<|endofchunk|>"]
MARKS = "".join(chr(c) for c in (*range(0x300, 0x370), 0x483, 0x591, 0x5B0, 0x5BF, 0x64B, 0x651, 0x670, 0x6D6, 0x93C, 0x94D, 0x9BC, 0xBCD, 0xE31, 0xE38, 0xF39, 0xF71, 0x1DC0, 0x20D0, 0x20E3, 0x302A, 0x3099, 0x309A, 0xFE20, 0x1D165, 0x1D16D))
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", " \n ", " ", "　", "\r", " \t ", "        "]


def any_char(r):
    while True:
        c = r.choice((lambda: r.randrange(0x20, 0x7F), lambda: r.randrange(0xA0, 0x250), lambda: r.randrange(0x250, 0x3000),
                      lambda: r.randrange(0x3000, 0x10000), lambda: r.randrange(0x10000, 0x20000), lambda: r.randrange(0x110000)))()
        if not 0xD800 <= c <= 0xDFFF:
            return chr(c)


def words(r, n):
    return [r.choice(WORDS) for _ in range(n)]


def caption(r):
    s = " ".join(words(r, r.randint(3, 14)))
    s = r.choice((str.lower, str.capitalize, str.upper, str.title, str, str))(s)
    return s + r.choice(("", "", ".", " .", "!", "?", "..."))


def question(r):
    return r.choice(("what color is the {}?", "How many {}s are there?", "Is the {} on the left of the {}?", "Question: what's the {} doing? Answer:", "where's the {}'s {}?")).replace("{}", "%s").replace("%s", r.choice(WORDS))


def prose(r):
    s = " ".join(r.choice(PROSE) for _ in range(r.randint(1, 5)))
    return s.replace(" ", r.choice((" ", " ", " ", "  ", "\n")), r.randint(0, 20))


def code(r):
    return "".join(r.choice(CODE) + r.choice(("", "\n", "\n\n", "  ")) for _ in range(r.randint(1, 4)))


def url(r):
    return " ".join(r.choice(URLS + words(r, 2)) for _ in range(r.randint(1, 4)))


def emoji(r):
    return "".join(r.choice(EMOJI + [" ", r.choice(WORDS)]) for _ in range(r.randint(1, 10)))


def scripts(r):
    s = r.choice((" ", "", "\n", ", ")).join(r.choice(SCRIPTS) for _ in range(r.randint(1, 3)))
    a = r.randrange(len(s))
    return s[a:] if r.random() < 0.3 else s


def accents(r):
    s = " ".join(words(r, r.randint(2, 6)) + [r.choice(SCRIPTS)])
    s = "".join(c + (r.choice(MARKS) * r.randint(1, 2) if c.isalpha() and r.random() < 0.15 else "") for c in s)
    return unicodedata.normalize(r.choice(("NFC", "NFD", "NFKC", "NFKD")), s) if r.random() < 0.7 else s


def marks(r):
    return "".join(r.choice("aAeoı1가각각が क") + "".join(r.choice(MARKS) for _ in range(r.randint(0, 4))) for _ in range(r.randint(1, 8)))


def odd(r):
    return "".join(r.choice((r.choice(ODD), r.choice(WORDS), " ", r.choice(ODD))) for _ in range(r.randint(1, 10)))


def runs(r):
    c = r.choice(("a", " ", "=", "-", "\n", "\t", "ab", "é", "中", "😀", ".", "!", "1", "' ", "▁", "aA", "0", "́", "ﾊﾟ", " \n", "_", "x y "))
    return r.choice(("", "b", " ")) + c * r.choice((1, 2, 3, 4, 7, 8, 16, 31, 64, 99, 100, 101, 128, 200, r.randint(1, 400))) + r.choice(("", "b", " ", "\n"))


def specials(r):
    out = []
    for _ in range(r.randint(1, 7)):
        out.append(r.choice((r.choice(SPECIALS), r.choice(SPECIALS), r.choice(WORDS), r.choice(SPACES), r.choice(SCRIPTS)[:4])))
    s = r.choice(("", " ", "", "x")).join(out)
    if r.random() < 0.2:
        a = r.randrange(len(s) + 1)
        s = s[:a] + s[a + 1:]
    return s


def numbers(r):
    return " ".join(r.choice((str(r.randrange(10 ** r.randint(1, 12))), f"{r.random() * 10 ** r.randint(-3, 6):.{r.randint(0, 6)}f}", f"{r.randrange(99)}/{r.randrange(99)}", f"{r.randrange(24)}:{r.randrange(60):02d}", hex(r.randrange(1 << 32)), "१२३٤٥٦", "½²³", f"{r.randrange(10**9):,}", f"v{r.randrange(9)}.{r.randrange(99)}-rc{r.randrange(9)}")) for _ in range(r.randint(1, 6)))


def noise(r):
    return "".join(any_char(r) for _ in range(r.randint(1, 30)))


def contractions(r):
    return r.choice(("", " ")).join(r.choice(("I", "we", "it", "don", "", " ", "X")) + r.choice(("'", "’", "ʼ", "''", "' ")) + r.choice(("s", "S", "t", "re", "RE", "Ve", "ve", "m", "ll", "LL", "d", "D", "x", "st", "ſ", "n't", "")) for _ in range(r.randint(1, 5)))


def spaced(r):
    return "".join(r.choice((r.choice(WORDS), r.choice(SPACES), r.choice(SPACES), "1", "!", "é")) for _ in range(r.randint(1, 12)))


def long_word(r):
    return "".join(r.choice("abcdefghijklmnopqrstuvwxyzé") for _ in range(r.choice((50, 99, 100, 101, 150, 300))))


KINDS = [caption, caption, question, prose, code, url, emoji, scripts, accents, marks, odd, runs, specials, specials, numbers, noise, contractions, spaced, long_word]


def main_corpus(r, count):
    fixed = ["", " ", "  ", "\n", "a", "a" * 100000, " " * 100000, ("the cat sat on the mat. " * 4200)[:100000], "é" * 20000, "中" * 20000, "=" * 5000 + "a" * 5000]
    fixed += EMOJI + SCRIPTS + ODD + SPECIALS + PROSE + CODE + URLS + SPACES
    return fixed + [r.choice(KINDS)(r) for _ in range(count - len(fixed))]


def held_corpus(r, count):
    out = ["".join(any_char(r) for _ in range(3000)), "\n".join(prose(r) + scripts(r) for _ in range(300))]
    glue = ["", "", " ", "\n", "  ", "-", "'", "’", "/", "\t", " "]
    while len(out) < count:
        parts = []
        for _ in range(min(int(r.expovariate(0.5)) + 1, 12)):
            p = r.choice(KINDS)(r)
            if r.random() < 0.5 and len(p) > 2:
                a, b = sorted((r.randrange(len(p)), r.randrange(len(p) + 1)))
                p = p[a:b]
            if r.random() < 0.1:
                p = p[::-1]
            if r.random() < 0.1:
                p = r.choice((str.swapcase, str.upper, str.casefold))(p)
            parts.append(p[:400] + (any_char(r) if r.random() < 0.3 else ""))
        out.append(r.choice(glue).join(parts))
    return out


def corpus(name, count):
    r = random.Random("xpipe " + name)
    texts = (held_corpus if name.startswith("held") else main_corpus)(r, count)
    # Lone surrogates cannot be written as UTF-8; case mapping and slicing make none, but be sure.
    return [t.encode("utf-8", "replace").decode() for t in texts]


if __name__ == "__main__":
    json.dump(corpus(sys.argv[1], int(sys.argv[2])), sys.stdout)
