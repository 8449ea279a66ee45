"""Writes sizes.json: texts, and how long zlib.compress of Python makes them (zlib 1.2.13 and 1.3.1 agree)."""

import json
import pathlib
import random
import zlib

WORDS = """the of and a to in is you that it he was for on are as with his they I at be this have from or one
had by word but not what all were we when your can said there use an each which she do how""".split()


def fibonacci(count):
    """Counts that make Huffman's codes as long as they may be."""
    a, b, text = 1, 1, []
    for i in range(count):
        text += [chr(33 + i)] * a
        a, b = b, a + b
    random.shuffle(text)
    return "".join(text)


def main():
    random.seed(7)
    texts = ["", "a", "ab", "abc", "ab" * 150, "x" * 258, "x" * 259, "x" * 1000, "日本語の文" * 9]
    for _ in range(24):
        phrase = " ".join(random.choice(WORDS) for _ in range(random.randint(3, 40)))
        texts.append(" ".join([phrase] * random.choice([1, 1, 2, 3, 4, 6]))[: random.randint(20, 700)])
    for size, alphabet in [(40, 4), (300, 20), (300, 200), (900, 90)]:
        texts.append("".join(chr(33 + random.randrange(alphabet)) for _ in range(size)))
    texts.append(fibonacci(16))
    rows = [[t, len(zlib.compress(t.encode()))] for t in texts]
    lines = ",\n".join(json.dumps(r, ensure_ascii=False) for r in rows)
    pathlib.Path(__file__).with_name("sizes.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
