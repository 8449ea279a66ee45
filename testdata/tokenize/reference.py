#!/usr/bin/env python3
"""Asks the reference, tokenizers 0.22.2, for everything the tests of tokenize/ compare.

    python3 reference.py CORPUS COUNT OUT TOKENIZER.json...

writes OUT/<tokenizer>.<corpus>.gz, one record a text, each with a uint32 for its length in front.
All numbers are little-endian. A record holds

    strings   text, pair (empty without one), decoded, skipped; each a uint32 and so many bytes
    lists     flags, ids, offsets, types, words, special, ids2, lengths of the tokens in bytes; each
              a uint32 and so many int32
    string    the tokens, joined

flags are [has a pair, is encoded without special tokens, has tokens]; long texts have none, to save
space. offsets are flat [start, end, ...] in bytes of UTF-8: the Python face of the library counts in
characters, so they are converted here. ids2 are ids to decode (the text's own, or a random
sequence), decoded and skipped what they decode to with and without special tokens. Padding and
truncation of the file are switched off; they have tests of their own.
"""
import gzip
import os
import random
import struct
import sys

import tokenizers

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from corpus import corpus


def byte_offsets(text):
    at, out = 0, [0]
    for c in text:
        at += len(c.encode())
        out.append(at)
    return out


def string(s):
    data = s.encode()
    return struct.pack("<I", len(data)) + data


def numbers(values):
    return struct.pack(f"<I{len(values)}i", len(values), *values)


def write(tokenizer, texts, path, seed):
    r = random.Random(seed)
    size = tokenizer.get_vocab_size()
    with gzip.open(path + ".part", "wb", compresslevel=1) as f:
        for n, text in enumerate(texts):
            pair = texts[(n * 7 + 3) % len(texts)] if n % 6 == 1 else None
            if pair is not None and len(pair) > 2000:
                pair = pair[:2000]
            bare = n % 5 == 2
            e = tokenizer.encode(text, pair, add_special_tokens=not bare)
            maps = [byte_offsets(text), byte_offsets(pair or "")]
            offsets = []
            for (a, b), seq in zip(e.offsets, e.sequence_ids):
                m = maps[seq or 0]
                offsets += [m[a], m[b]] if seq is not None else [a, b]
            ids2 = e.ids if n % 4 or len(text) > 5000 else [r.randrange(size + 3) for _ in range(r.randint(0, 12))]
            tokens = e.tokens if len(text) < 5000 else []
            record = b"".join((
                string(text), string(pair or ""), string(tokenizer.decode(ids2, skip_special_tokens=False)),
                string(tokenizer.decode(ids2, skip_special_tokens=True)),
                numbers([pair is not None, bare, bool(tokens)]), numbers(e.ids), numbers(offsets), numbers(e.type_ids),
                numbers([-1 if w is None else w for w in e.word_ids]), numbers(e.special_tokens_mask), numbers(ids2),
                numbers([len(t.encode()) for t in tokens]), string("".join(tokens))))
            f.write(struct.pack("<I", len(record)) + record)
    os.rename(path + ".part", path)


def main():
    name, count, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if tokenizers.__version__ != "0.22.2":
        sys.exit(f"the reference is tokenizers 0.22.2, not {tokenizers.__version__}")
    texts = corpus(name, count)
    os.makedirs(out, exist_ok=True)
    for path in sys.argv[4:]:
        t = tokenizers.Tokenizer.from_file(path)
        t.no_padding()
        t.no_truncation()
        base = os.path.splitext(os.path.basename(path))[0]
        write(t, texts, os.path.join(out, f"{base}.{name}.gz"), name + base)


if __name__ == "__main__":
    main()
