#!/usr/bin/env python3
"""Trains the small T5-type unigram of the tests and writes it as t5-small-unigram.json.gz beside this script.

    python3 train_t5.py        (sentencepiece 0.2.3, tokenizers 0.22.2)

The text is corpus.py's and the docstrings of Python's standard library; normalization is SentencePiece's nmt_nfkc, whose precompiled
charsmap is what the file is for. The form is that of Flan-T5's tokenizer.json.
"""
import base64
import gzip
import importlib
import json
import os
import pkgutil
import sys
import tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as pb

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from corpus import corpus


def docstrings():
    for m in sorted(m.name for m in pkgutil.iter_modules() if m.module_finder.path.endswith(f"python3.{sys.version_info[1]}")):
        if m in ("antigravity", "this", "idlelib", "turtle", "tkinter") or m.startswith("_"):
            continue
        try:
            mod = importlib.import_module(m)
        except BaseException:
            continue
        for v in [mod, *vars(mod).values()]:
            if isinstance(getattr(v, "__doc__", None), str):
                yield from v.__doc__.split("\n")


def main():
    with tempfile.TemporaryDirectory() as d:
        text = os.path.join(d, "text.txt")
        with open(text, "w", encoding="utf-8") as f:
            for s in [*(s for s in corpus("training", 30000) if s.isprintable()), *docstrings()]:
                f.write(s[:2000].replace("\n", " ").replace("\0", "") + "\n")
        sentencepiece.SentencePieceTrainer.train(
            input=text, model_prefix=os.path.join(d, "m"), model_type="unigram", vocab_size=8000, character_coverage=0.98,
            normalization_rule_name="nmt_nfkc", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1, minloglevel=1)
        with open(os.path.join(d, "m.model"), "rb") as f:
            proto = pb.ModelProto.FromString(f.read())
    vocab = [[p.piece, p.score] for p in proto.pieces] + [[f"<extra_id_{i}>", 0.0] for i in range(99, -1, -1)]
    specials = ["<pad>", "</s>", "<unk>"] + [f"<extra_id_{i}>" for i in range(99, -1, -1)]
    ids = {v[0]: i for i, v in enumerate(vocab)}
    doc = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": ids[s], "content": s, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} for s in specials],
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}]},
        "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                           "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocab, "byte_fallback": False},
    }
    path = os.path.join(HERE, "t5-small-unigram.json.gz")
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, 0) as f:
        f.write(json.dumps(doc, ensure_ascii=False).encode())
    print(path, os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main()
