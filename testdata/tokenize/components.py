#!/usr/bin/env python3
"""Draws tokenizers at random, every component with every option, and asks the reference what they make of random texts.

    python3 components.py SEED TOKENIZERS TEXTS OUT.jsonl.gz

One line a tokenizer: {"tokenizer": <the contents of a tokenizer.json>, "error"?: <why the reference rejects it>, "cases": [...]}; a case
is {"text", "pair"?, "bare", "error"? | "ids", ..., "overflow": [...]} as in reference.py, with "padded" for a batch, and decodings. Where the
reference panics, "error" says so and nothing is compared but that this package does not.
"""
import contextlib
import gzip
import json
import os
import random
import sys

from tokenizers import Tokenizer, models, trainers

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from corpus import CODE, EMOJI, KINDS, MARKS, ODD, PROSE, SCRIPTS, SPACES, SPECIALS, WORDS, any_char

PATTERNS = [r"\s+", r"\d+", r"\w+|[^\w\s]+", r"[^\s]+", r" ", r"\p{P}", r"\p{L}+", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+", r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+", r"[一-龥぀-ゟ゠-ヿ]+", r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{L}&&[^\p{Han}]]+|\p{N}{1,3}",
            r"(?=\d)", r"(?<=[a-z])(?=[A-Z])", r"(?<!\d)\d{2}(?!\d)", r"a*?b", r"(ab|a)(c|bcd)?", r"(?>a+)b?", r"a++|b", r"x{0,2}y", r"^a", r"e$", r"\Aa|e\z", r"\bt", r"\Bt", r"(?:a|e)(?=\s|$)", r"[[:alpha:]]+", r"[^[:space:]]", r"[a-c[x-z]]+", r"\p{Lu}\p{Ll}*",
            r"\P{L}", r"\p{^N}+", r".", r"..", r"\h+", r"(?m:.+)", r"\n|\t", r"\u00e9|\x{4e2d}", r"(a|b)*c", r"(?:(?:ab?)*c?)*", r"(?i)THE|a", r"\p{Hiragana}|\p{Katakana}", r"(?:\r\n|\n)+", r"[\s\p{P}]+(?=\p{L})", r"(?:[aeiou]{2,3})+?", r"", r"a|", r"\$\{?\w*\}?"]
LITERALS = [" ", "a", "e", "th", ".", "  ", "é", "中", "'", "\n", "", "▁", "</w>", "##"]
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


def pattern(r):
    return {"Regex": r.choice(PATTERNS)} if r.random() < 0.7 else {"String": r.choice(LITERALS)}


def flag(r):
    return r.random() < 0.5


def normalizer(r, depth=0):
    kinds = [
        lambda: {"type": "BertNormalizer", "clean_text": flag(r), "handle_chinese_chars": flag(r), "strip_accents": r.choice((None, True, False)), "lowercase": flag(r)},
        lambda: {"type": "NFC"}, lambda: {"type": "NFD"}, lambda: {"type": "NFKC"}, lambda: {"type": "NFKD"}, lambda: {"type": "Lowercase"},
        lambda: {"type": "Replace", "pattern": pattern(r), "content": r.choice(("", " ", "▁", "xy", "é", "b"))},
        lambda: {"type": "Replace", "pattern": pattern(r), "content": r.choice(("", " ", "▁", "xy", "é", "b"))},
        lambda: {"type": "Strip", "strip_left": flag(r), "strip_right": flag(r)}, lambda: {"type": "Prepend", "prepend": r.choice(("▁", "ab", " "))},
        lambda: {"type": "Nmt"}, lambda: {"type": "StripAccents"}, lambda: {"type": "ByteLevel"},
        lambda: {"type": "Precompiled", "precompiled_charsmap": CHARSMAP},
    ]
    if depth < 2 and r.random() < 0.4:
        return {"type": "Sequence", "normalizers": [normalizer(r, depth + 1) for _ in range(r.randint(0, 4))]}
    return r.choice(kinds)()


def metaspace(r):
    return {"type": "Metaspace", "replacement": r.choice(("▁", "▁", "_", "e")), "prepend_scheme": r.choice(("always", "first", "never")), "split": flag(r)}


def pre_tokenizer(r, depth=0):
    kinds = [
        lambda: {"type": "BertPreTokenizer"}, lambda: {"type": "Whitespace"}, lambda: {"type": "WhitespaceSplit"},
        lambda: {"type": "ByteLevel", "add_prefix_space": flag(r), "trim_offsets": flag(r), "use_regex": flag(r)},
        lambda: {"type": "ByteLevel", "add_prefix_space": flag(r), "trim_offsets": flag(r)},
        lambda: {"type": "Split", "pattern": pattern(r), "behavior": r.choice(BEHAVIORS), "invert": flag(r)},
        lambda: {"type": "Split", "pattern": pattern(r), "behavior": r.choice(BEHAVIORS), "invert": flag(r)},
        lambda: {"type": "Digits", "individual_digits": flag(r)}, lambda: {"type": "Punctuation", "behavior": r.choice(BEHAVIORS)}, lambda: {"type": "Punctuation"},
        lambda: metaspace(r), lambda: {"type": "CharDelimiterSplit", "delimiter": r.choice(" -e")}, lambda: {"type": "FixedLength", "length": r.randint(1, 7)},
    ]
    if depth < 2 and r.random() < 0.5:
        return {"type": "Sequence", "pretokenizers": [pre_tokenizer(r, depth + 1) for _ in range(r.randint(0, 3))]}
    return r.choice(kinds)()


def decoder(r, depth=0):
    kinds = [
        lambda: {"type": "ByteLevel", "add_prefix_space": flag(r), "trim_offsets": flag(r), "use_regex": flag(r)}, lambda: {"type": "WordPiece", "prefix": "##", "cleanup": flag(r)},
        lambda: {"type": "BPEDecoder", "suffix": r.choice(("</w>", "e"))}, lambda: metaspace(r), lambda: {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": flag(r)},
        lambda: {"type": "Replace", "pattern": pattern(r), "content": r.choice(("", " ", "x"))}, lambda: {"type": "Fuse"}, lambda: {"type": "Strip", "content": r.choice(" e▁"), "start": r.randint(0, 2), "stop": r.randint(0, 1)},
        lambda: {"type": "ByteFallback"},
    ]
    if depth < 2 and r.random() < 0.5:
        return {"type": "Sequence", "decoders": [decoder(r, depth + 1) for _ in range(r.randint(0, 4))]}
    return r.choice(kinds)()


def template(r):
    piece = lambda s: {"Sequence": {"id": s, "type_id": r.randint(0, 2)}}
    tok = lambda: {"SpecialToken": {"id": r.choice(("[CLS]", "[SEP]", "multi")), "type_id": r.randint(0, 2)}}
    mix = lambda core: [x for c in core for x in [tok() for _ in range(r.randint(0, 2))] + [c]] + [tok() for _ in range(r.randint(0, 2))]
    return {"type": "TemplateProcessing", "single": mix([piece("A")]), "pair": mix(r.choice(([piece("A"), piece("B")], [piece("B"), piece("A")], [piece("A"), piece("B"), piece("A")]))),
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1], "tokens": ["[CLS]"]}, "[SEP]": {"id": "[SEP]", "ids": [2], "tokens": ["[SEP]"]}, "multi": {"id": "multi", "ids": [1, 2, 3], "tokens": ["x", "y", "z"]}}}


def processor(r, depth=0):
    kinds = [
        lambda: template(r), lambda: template(r), lambda: {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
        lambda: {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1], "trim_offsets": flag(r), "add_prefix_space": flag(r)},
        lambda: {"type": "ByteLevel", "add_prefix_space": flag(r), "trim_offsets": flag(r), "use_regex": True},
    ]
    if depth < 1 and r.random() < 0.3:
        return {"type": "Sequence", "processors": [{"type": "ByteLevel", "add_prefix_space": flag(r), "trim_offsets": flag(r), "use_regex": True}] * r.randint(0, 1) + [processor(r, 1) for _ in range(r.randint(0, 2))]}
    return r.choice(kinds)()


def text(r):
    if r.random() < 0.15:
        return "".join(r.choice((r.choice(SPECIALS), r.choice(ADDED), r.choice(WORDS), r.choice(SPACES), r.choice(ODD), r.choice(EMOJI), r.choice("aeb'. é"))) for _ in range(r.randint(0, 8)))
    return r.choice(KINDS)(r)[:200]


ADDED = ["[CLS]", "[SEP]", "<s>", "</s>", "<mask>", "cat", "the", "Red", "é", "  ", "a b", "Ab", "中", "'s", "<extra>", "<extra>1", " x", "\t"]


def added_tokens(r, ids):
    out = []
    for _ in range(r.choice((0, 2, 4, 8))):
        c = r.choice(ADDED)
        out.append({"id": ids.get(c, len(ids) + len(out)), "content": c, "single_word": r.random() < 0.3, "lstrip": r.random() < 0.3, "rstrip": r.random() < 0.3, "normalized": flag(r), "special": flag(r)})
    return out


def sample():
    r = random.Random("sample")
    return [r.choice(KINDS)(r)[:300] for _ in range(2000)] + PROSE * 5 + CODE * 3 + SCRIPTS * 3


def trained(cls, trainer, texts):
    t = Tokenizer(cls)
    from tokenizers import pre_tokenizers
    if not isinstance(cls, models.Unigram):
        t.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    with contextlib.redirect_stdout(sys.stderr):
        t.train_from_iterator(texts, trainer)
    return json.loads(t.to_str())["model"]


def base_models():
    texts = sample()
    marked = ["▁" + s.replace(" ", "▁") for s in texts]
    special = ["<unk>", "[CLS]", "[SEP]", "[UNK]"]
    byte_tokens = [f"<0x{b:02X}>" for b in range(256)]
    byte_level = Tokenizer(models.BPE())
    from tokenizers import pre_tokenizers
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_level.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=900, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    bpe = lambda data, **kw: trained(models.BPE(unk_token="<unk>", **kw), trainers.BpeTrainer(vocab_size=900, limit_alphabet=300, special_tokens=special + byte_tokens, show_progress=False, **({"continuing_subword_prefix": kw["continuing_subword_prefix"]} if "continuing_subword_prefix" in kw else {}), **({"end_of_word_suffix": kw["end_of_word_suffix"]} if "end_of_word_suffix" in kw else {})), data)
    wp = trained(models.WordPiece(unk_token="[UNK]"), trainers.WordPieceTrainer(vocab_size=900, limit_alphabet=300, special_tokens=special, show_progress=False), texts)
    wl = trained(models.WordLevel(unk_token="[UNK]"), trainers.WordLevelTrainer(vocab_size=900, special_tokens=special, show_progress=False), texts)
    uni = trained(models.Unigram(), trainers.UnigramTrainer(vocab_size=1100, special_tokens=special + byte_tokens, unk_token="<unk>", show_progress=False), [m for m in marked if len(m) < 200 and all(ord(c) < 0x180 or c in "▁中文好世界" for c in m)])
    return {"byte": json.loads(byte_level.to_str())["model"], "bpe": bpe(texts), "space": bpe([m for m in marked]), "prefix": bpe(texts, continuing_subword_prefix="##"), "suffix": bpe(texts, end_of_word_suffix="</w>"), "wordpiece": wp, "wordlevel": wl, "unigram": uni}


def model(r, base):
    kind = r.choice(list(base))
    m = dict(base[kind])
    if m["type"] == "BPE":
        m["fuse_unk"], m["byte_fallback"], m["ignore_merges"] = flag(r), flag(r), r.random() < 0.3
        if r.random() < 0.3:
            m["unk_token"] = None
        if r.random() < 0.2:
            m["merges"] = [" ".join(p) if all(" " not in x for x in p) else p for p in m["merges"]]
            if any(not isinstance(x, str) for x in m["merges"]):
                m["merges"] = base[kind]["merges"]
    elif m["type"] == "Unigram":
        m["byte_fallback"] = flag(r)
        if r.random() < 0.1:
            m["unk_id"] = None
    elif m["type"] == "WordPiece":
        m["max_input_chars_per_word"] = r.choice((100, 5, 20))
    return kind, m


def draw(r, base):
    kind, m = model(r, base)
    pre = pre_tokenizer(r) if r.random() < 0.9 else None
    if kind == "byte" and r.random() < 0.7:
        pre = r.choice(([], [pre_tokenizer(r, 2)])) + [{"type": "ByteLevel", "add_prefix_space": flag(r), "trim_offsets": True, "use_regex": flag(r)}]
        pre = {"type": "Sequence", "pretokenizers": pre}
    ids = m["vocab"] if isinstance(m["vocab"], dict) else {v[0]: i for i, v in enumerate(m["vocab"])}
    doc = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added_tokens(r, ids), "normalizer": normalizer(r) if r.random() < 0.7 else None,
           "pre_tokenizer": pre, "post_processor": processor(r) if r.random() < 0.7 else None, "decoder": decoder(r) if r.random() < 0.8 else None, "model": m}
    if r.random() < 0.4:
        doc["truncation"] = {"direction": r.choice(("Left", "Right")), "max_length": r.choice((1, 2, 3, 4, 5, 8, 12, 20)), "strategy": r.choice(("LongestFirst", "OnlyFirst", "OnlySecond")), "stride": r.choice((0, 0, 1, 2))}
    if r.random() < 0.4:
        doc["padding"] = {"strategy": r.choice(("BatchLongest", {"Fixed": r.randint(0, 30)})), "direction": r.choice(("Left", "Right")), "pad_to_multiple_of": r.choice((None, 8, 3)), "pad_id": 3, "pad_type_id": r.randint(0, 1), "pad_token": "[PAD]"}
    return doc


def encoding(e, maps):
    offsets = []
    for (a, b), seq in zip(e.offsets, e.sequence_ids):
        # Without the ranges of the sequences (after truncation) either text may be meant; the longer map is right for both while the
        # texts agree, so such cases are given in characters for the test to convert.
        offsets.append([a, b, -1 if seq is None else seq])
    return {"ids": e.ids, "chars": offsets, "tokens": e.tokens, "types": e.type_ids, "words": [-1 if w is None else w for w in e.word_ids], "special": e.special_tokens_mask, "mask": e.attention_mask}


def full(e, maps):
    x = encoding(e, maps)
    x["overflow"] = [full(o, maps) for o in e.overflowing]
    return x


def main():
    global CHARSMAP
    r = random.Random("components " + sys.argv[1])
    here = os.path.dirname(os.path.abspath(__file__))
    with gzip.open(os.path.join(here, "t5-small-unigram.json.gz")) as f:
        CHARSMAP = json.load(f)["normalizer"]["precompiled_charsmap"]
    base = base_models()
    with gzip.open(sys.argv[4] + ".part", "wt", encoding="utf-8", compresslevel=1) as f:
        for _ in range(int(sys.argv[2])):
            doc = draw(r, base)
            row = {"tokenizer": json.dumps(doc, ensure_ascii=False), "cases": []}
            try:
                t = Tokenizer.from_str(row["tokenizer"])
            except BaseException as err:
                row["error"] = f"{type(err).__name__}: {err}"[:300]
                f.write(json.dumps(row, ensure_ascii=False) + "\n")
                continue
            size = t.get_vocab_size()
            row["size"] = size
            for n in range(int(sys.argv[3])):
                a = text(r)
                b = text(r) if r.random() < 0.3 else None
                if doc["truncation"]:  # the parts cut off are combined, each with each
                    a, b = a[:40], b and b[:40]
                case = {"text": a, "bare": r.random() < 0.2}
                if b is not None:
                    case["pair"] = b
                try:
                    case.update(full(t.encode(a, b, add_special_tokens=not case["bare"]), None))
                except BaseException as err:
                    case["error"] = f"{type(err).__name__}: {err}"[:200]
                ids = case["ids"] if "ids" in case and flag(r) else [r.randrange(size + 3) for _ in range(r.randint(1, 12))]
                case["ids2"] = ids
                try:
                    case["decoded"] = t.decode(ids, skip_special_tokens=False)
                    case["skipped"] = t.decode(ids, skip_special_tokens=True)
                except BaseException as err:
                    case["decode_error"] = f"{type(err).__name__}: {err}"[:200]
                row["cases"].append(case)
            batch = [c["text"] for c in row["cases"][:4]]
            try:
                row["batch"] = {"texts": batch, "results": [full(e, None) for e in t.encode_batch(batch)]}
            except BaseException as err:
                pass
            f.write(json.dumps(row, ensure_ascii=False) + "\n")
    os.rename(sys.argv[4] + ".part", sys.argv[4])


if __name__ == "__main__":
    main()
