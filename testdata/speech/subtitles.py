"""Writes subtitles.json: what openai-whisper's writers make of made-up transcripts.

    pip install --no-deps openai-whisper==20250625
    python testdata/speech/subtitles.py

Of the package utils.py alone is loaded, which needs nothing else.
"""

import importlib.metadata
import importlib.util
import io
import json
import pathlib

PINNED = "20250625"
HERE = pathlib.Path(__file__).parent


def load_utils():
    version = importlib.metadata.version("openai-whisper")
    if version != PINNED:
        raise SystemExit(f"openai-whisper {version} is installed; these files are of {PINNED}")
    folder = pathlib.Path(importlib.util.find_spec("whisper").submodule_search_locations[0])
    spec = importlib.util.spec_from_file_location("whisper_utils", folder / "utils.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def spoken(text, start, step, pause=0.0):
    """A segment whose words follow each other at equal distances, each with a pause before it."""
    words, at = [], start
    for word in text.split(" "):
        at += pause
        words.append({"word": " " + word, "start": round(at, 3), "end": round(at + step, 3), "probability": 0.9})
        at += step
    return {"start": start, "end": round(at, 3), "text": " " + text, "words": words}


def without_words(segments):
    return [{k: v for k, v in s.items() if k != "words"} for s in segments]


SENTENCES = [
    spoken("The quick brown fox jumps over the lazy dog.", 0.0, 0.3),
    spoken("Pack my box with five dozen liquor jugs, and then some more of them!", 3.2, 0.25, 0.05),
    spoken("Much later.", 12.0, 0.4),
]
GERMAN = [spoken("Größere Übungen für fünf äußerst höfliche Bären.", 0.5, 0.35)]
CHINESE = [{
    "start": 0.0, "end": 1.6, "text": "今天天气很好。",
    "words": [{"word": w, "start": i * 0.4, "end": i * 0.4 + 0.4, "probability": 0.5}
              for i, w in enumerate(["今天", "天气", "很", "好。"])],
}]
ODD = [
    {"start": 0.0005, "end": 0.0015, "text": "  halves go to even  "},
    {"start": 0.0025, "end": 59.9996, "text": " a tab\there --> and an arrow"},
    {"start": 59.9996, "end": 3599.9999, "text": ""},
    {"start": 3600.0, "end": 360000.25, "text": "\u00a0spaces of other kinds\u3000\x1c"},
]
LONG = [spoken("Donaudampfschifffahrtsgesellschaftskapitän fährt", 1.0, 0.5)]

CASES = {
    "sentences": SENTENCES, "no words": without_words(SENTENCES), "german": GERMAN, "chinese": CHINESE,
    "odd": ODD, "long": LONG, "nothing": [],
}
OPTIONS = [
    {},
    {"max_line_width": 20},
    {"max_line_width": 20, "max_line_count": 1},
    {"max_line_width": 16, "max_line_count": 2},
    {"max_line_width": 100, "max_line_count": 2},
    {"max_words_per_line": 4},
    {"highlight_words": True, "max_words_per_line": 5},
    {"highlight_words": True, "max_line_width": 24, "max_line_count": 2},
]


def main():
    utils = load_utils()
    cases = []
    for name, segments in CASES.items():
        result = {"text": "".join(s["text"] for s in segments), "segments": segments}
        worded = bool(segments) and "words" in segments[0]
        written = []
        for options in OPTIONS if worded else [{}]:
            files = {}
            for form in ["srt", "vtt"] + ([] if options else ["tsv", "txt"]):
                file = io.StringIO()
                utils.get_writer(form, ".").write_result(result, file=file, options=options)
                files[form] = file.getvalue()
            written.append({"options": options, "files": files})
        cases.append({"name": name, "segments": segments, "written": written})
    text = json.dumps({"openai-whisper": PINNED, "cases": cases}, indent=1, ensure_ascii=False)
    (HERE / "subtitles.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
