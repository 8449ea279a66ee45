"""Tokenizers that are small but of the real kinds, trained on the corpus below."""

from __future__ import annotations

import io
import json
import re
import tempfile
import unicodedata
from collections import Counter
from pathlib import Path

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (BertTokenizerFast, CLIPTokenizerFast, GemmaTokenizerFast, GPT2TokenizerFast,
                          LlamaTokenizerFast, PreTrainedTokenizerFast, RobertaTokenizerFast,
                          T5TokenizerFast, XLMRobertaTokenizerFast)

NOUNS = ("cat dog horse apple pear train boat house tree ball cup chair table bird fish child man woman "
         "street field river plate").split()
COLOURS = "red green blue yellow black white brown orange".split()
VERBS = "sits stands runs lies waits sleeps".split()
PLACES = "on the grass|next to a wall|under the bridge|in front of a window|near the water|at the corner".split("|")


def corpus() -> list[str]:
    lines = []
    for i, noun in enumerate(NOUNS):
        for j, colour in enumerate(COLOURS):
            place = PLACES[(i + j) % len(PLACES)]
            lines += [f"a photo of a {colour} {noun} {place}", f"the {noun} {VERBS[(i + 2 * j) % len(VERBS)]} {place}.",
                      f"Question: what color is the {noun}? Answer: {colour}", f"How many {noun}s are there? {j}",
                      f"is there a {noun} {place}? yes", f"An image of two {noun}s, one {colour}."]
    return lines


def opt() -> GPT2TokenizerFast:
    """Byte-level BPE; </s> goes first, as OPT has it."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    tok.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=330, special_tokens=specials, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    tok.post_processor = processors.TemplateProcessing("</s> $A", "</s> $A $B:1", [("</s>", 2)])
    return GPT2TokenizerFast(tokenizer_object=tok, bos_token="</s>", eos_token="</s>",
                             unk_token="</s>", pad_token="<pad>", add_prefix_space=False,
                             add_bos_token=True, padding_side="left")


def byte_level(specials: list[str], size: int = 330) -> Tokenizer:
    """A trained byte-level BPE without a post-processor."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=size, special_tokens=specials, show_progress=False,
                                                          initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    return tok


def gpt2() -> GPT2TokenizerFast:
    """Byte-level BPE; one special token, which begins, ends and pads."""
    tok = byte_level(["<|endoftext|>"])
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    return GPT2TokenizerFast(tokenizer_object=tok, pad_token="<|endoftext|>")


def roberta() -> RobertaTokenizerFast:
    """Byte-level BPE between <s> and </s>, as TrOCR's base and large sizes have it."""
    tok = byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tok.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True,
                                                      add_prefix_space=False)
    return RobertaTokenizerFast(tokenizer_object=tok)


def bert() -> BertTokenizerFast:
    """WordPiece, uncased, with the [DEC] and [ENC] of BLIP behind the vocabulary."""
    words = Counter(w for line in corpus() for w in re.findall(r"\w+|[^\w\s]", line.lower()))
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    # The trainer of tokenizers breaks ties by hash order, differently in each process: the
    # vocabulary is made by hand.
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *".,?!':",
              *(f"##{c}" for c in letters), "##ing", "##er", "##ed", "##an", "##th"]
    pieces += [w for w, _ in sorted(words.items(), key=lambda item: (-item[1], item[0])) if len(w) > 1]
    tok = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces[:200])}, unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece()
    tok.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]",
                                                       "[CLS] $A [SEP] $B:1 [SEP]:1",
                                                       [("[CLS]", 2), ("[SEP]", 3)])
    out = BertTokenizerFast(tokenizer_object=tok, do_lower_case=True)
    out.add_special_tokens({"additional_special_tokens": ["[DEC]", "[ENC]"]})
    return out


def character_map() -> str:
    """A small normalisation table in SentencePiece's format: code points in, code points out.

    The real one (nmt_nfkc) takes 320 KiB of each tokenizer.json. This has the same kinds of rules:
    compatibility forms, composition, spaces, controls.
    """
    rules = {chr(c): unicodedata.normalize("NFKC", chr(c))
             for c in [*range(0xFF01, 0xFF5F), *range(0xFB00, 0xFB05), 0x2122, 0x00BD, 0x2026]}
    for base in "aeiouAEIOU":
        for mark in "\u0300\u0301\u0302\u0308":
            rules[base + mark] = unicodedata.normalize("NFKC", base + mark)
    rules |= {c: " " for c in "\t\n\r\u00a0\u2003\u200b\u2581\u3000"} | {chr(c): "" for c in range(1, 9)}
    return "".join(f"{' '.join(f'{ord(c):X}' for c in k)}\t{' '.join(f'{ord(c):X}' for c in v)}\n"
                   for k, v in sorted(rules.items()))


def t5_model() -> bytes:
    """A SentencePiece unigram model."""
    model = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as table:
        table.write(character_map())
        table.flush()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus()), model_writer=model, model_type="unigram",
            vocab_size=160, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
            hard_vocab_limit=False, normalization_rule_tsv=table.name, num_threads=1, minloglevel=2)
    return model.getvalue()


def t5() -> T5TokenizerFast:
    """SentencePiece unigram and a few <extra_id_N>."""
    with tempfile.TemporaryDirectory() as tmp:
        path = Path(tmp) / "spiece.model"
        path.write_bytes(t5_model())
        return T5TokenizerFast(str(path), extra_ids=4)


def xlm_roberta(extra: list[str] = ()) -> XLMRobertaTokenizerFast:
    """SentencePiece unigram between <s> and </s>, as Donut has it; extra are its tags."""
    trained = json.loads(t5().backend_tokenizer.to_str())
    pieces = [tuple(p) for p in trained["model"]["vocab"] if not p[0].startswith("<")]
    tok = Tokenizer(
        models.Unigram(
            [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces, ("<mask>", 0.0)],
            3))
    same = t5().backend_tokenizer
    tok.normalizer, tok.pre_tokenizer, tok.decoder = same.normalizer, same.pre_tokenizer, same.decoder
    tok.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>",
                                                       [("<s>", 0), ("</s>", 2)])
    out = XLMRobertaTokenizerFast(tokenizer_object=tok)
    if extra:
        out.add_special_tokens({"additional_special_tokens": list(extra)})
    return out


def clip() -> CLIPTokenizerFast:
    """Lower-case BPE with </w>, as the CLIP converter of transformers builds it."""
    def empty(model) -> Tokenizer:
        tok = Tokenizer(model)
        tok.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
        tok.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(
                    Regex(r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""),
                    behavior="removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False)])
        tok.decoder = decoders.ByteLevel()
        return tok

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = learn_merges(re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", " ".join(corpus()).lower()), 110)
    # CLIP's order: the bytes, the bytes that end a word, the merges, the two special tokens.
    pieces = (alphabet + [b + "</w>" for b in alphabet] + ["".join(m) for m in merges]
              + ["<|startoftext|>", "<|endoftext|>"])
    ids = {t: i for i, t in enumerate(dict.fromkeys(pieces))}
    tok = empty(
        models.BPE(ids, merges, continuing_subword_prefix="", end_of_word_suffix="</w>",
                   fuse_unk=False, unk_token="<|endoftext|>"))
    tok.post_processor = processors.RobertaProcessing(
        sep=("<|endoftext|>", ids["<|endoftext|>"]), cls=("<|startoftext|>", ids["<|startoftext|>"]),
        add_prefix_space=False, trim_offsets=False)
    return CLIPTokenizerFast(tokenizer_object=tok)


def learn_merges(words: list[str], count: int) -> list[tuple[str, str]]:
    """Byte-pair merges with </w> at a word's end; ties go to the alphabetically first pair."""
    split = {w: [*w[:-1], w[-1] + "</w>"] for w in words}
    frequency = Counter(words)
    merges = []
    for _ in range(count):
        pairs = Counter()
        for word, parts in split.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] += frequency[word]
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        for parts in split.values():
            i = 0
            while i < len(parts) - 1:
                if (parts[i], parts[i + 1]) == best:
                    parts[i:i + 2] = ["".join(best)]
                i += 1
    return merges


def llama(extra: list[str] = ()) -> LlamaTokenizerFast:
    """SentencePiece-type BPE with byte fallback."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trained.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=130, show_progress=False))
    state = json.loads(trained.to_str())["model"]
    pieces = sorted(state["vocab"], key=state["vocab"].get)
    merges = [tuple(m) for m in state["merges"]]
    # Merges of whole sentences are not what SentencePiece learns: keep those within a word.
    merges = [m for m in merges if "▁" not in "".join(m)[1:]]
    made = {"".join(m) for m in merges}
    pieces = [p for p in pieces if len(p) == 1 or p in made]
    vocab = {t: i for i, t in enumerate(["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *pieces])}
    tok = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = trained.normalizer
    tok.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)])
    tok.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s> $B", [("<s>", 1)])
    out = LlamaTokenizerFast(tokenizer_object=tok, unk_token="<unk>", bos_token="<s>",
                             eos_token="</s>", pad_token="<unk>", padding_side="left")
    if extra:
        out.add_special_tokens(
            {"additional_special_tokens": [AddedToken(t, normalized=False, special=True)
                                           for t in extra]})
    return out


def gptneox(extra: list[str] = ()) -> PreTrainedTokenizerFast:
    """Byte-level BPE without a BOS, as GPT-NeoX and MPT have it."""
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    tok.post_processor = processors.ByteLevel(trim_offsets=True)
    tok.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<|endoftext|>", "<|padding|>"], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    out = PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<|endoftext|>",
                                  eos_token="<|endoftext|>", unk_token="<|endoftext|>",
                                  pad_token="<|padding|>", padding_side="left")
    if extra:
        out.add_special_tokens(
            {"additional_special_tokens": [AddedToken(t, normalized=False, special=True)
                                           for t in extra]})
    return out


def gemma() -> tuple[GemmaTokenizerFast, GemmaTokenizerFast]:
    """Gemma's kind of BPE, and what Siglip2Tokenizer of transformers 5 puts before it."""
    tok = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tok.normalizer = normalizers.Replace(" ", "▁")
    tok.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{i:02X}>" for i in range(256))]
    # Words apart, so that merges do not cross them.
    words = ["▁" + w for line in corpus() for w in line.split()] + [w for line in corpus() for w in line.split()]
    tok.train_from_iterator(words, trainers.BpeTrainer(vocab_size=430, special_tokens=specials, show_progress=False))
    state = json.loads(tok.to_str())
    state["added_tokens"] = [t for t in state["added_tokens"] if not t["content"].startswith("<0x")]
    tok = Tokenizer.from_str(json.dumps(state))
    out = GemmaTokenizerFast(tokenizer_object=tok, add_bos_token=False, add_eos_token=True, padding_side="right",
                                do_lower_case=True, model_input_names=["input_ids"], model_max_length=64)
    lowered = GemmaTokenizerFast(tokenizer_object=tok, add_bos_token=False, add_eos_token=True, padding_side="right")
    lowered.backend_tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), tok.normalizer])
    return out, lowered
