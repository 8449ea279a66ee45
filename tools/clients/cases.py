"""What the clients are given, and what they should make of it.

A case is a folder of testdata, a type of its files and rows of inputs: the ids and the pixels that
xpipe's front end makes of golden.json's prompts and pictures. What should come of it is in
golden.json, too: PyTorch's ids or vectors, which the Go tests hold both of xpipe's engines to; for
files of other types, ids of ONNX Runtime, cut before two logits come so near that another version
may swap them.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import wave
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

TESTDATA = Path(__file__).resolve().parents[2] / "testdata"
PICTURES = TESTDATA / "families" / "images"
TYPES = {"quantized": "q8"}
"""Types of files as transformers.js names them, where that is not what the files are called."""


@dataclass
class Row:
    given: dict[str, np.ndarray]  # by names of inputs
    want: list  # ids, or a unit vector
    parameters: dict = field(default_factory=dict)  # of generate


@dataclass
class Case:
    folder: str
    job: str  # the class that runs it: a name of transformers.js
    rows: list[Row]
    variant: str = ""
    new: int = 12
    ends: list[int] = field(default_factory=list)
    tolerance: float = 0  # of vectors, which then are the results; 0: ids are

    def wrong(self, index: int, got: list) -> str:
        """What is wrong with a row's result; "" where nothing is."""
        want = self.rows[index].want
        if self.tolerance:
            got = np.array(got, np.float64)
            far = float(np.abs(got / np.linalg.norm(got) - np.array(want)).max())
            return "" if far <= self.tolerance else f"{far:.2g} from PyTorch's"
        end = next((i for i, t in enumerate(got) if t in self.ends), len(got))
        got = got[:end]
        same = got[:len(want)] == want if self.variant else got == want
        return "" if same else f"{got}, not {want}"


def golden(folder: str) -> dict:
    return json.loads((TESTDATA / folder / "golden.json").read_text())


def ids(values: list[int]) -> np.ndarray:
    return np.array([values], np.int64)


class Pixels:
    """What xpipe's front ends make of pictures; program is tools/clients, built."""

    def __init__(self, program: str):
        self.process = subprocess.Popen([program, "pixels"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.folder = tempfile.TemporaryDirectory()

    def of(self, folder: str, name: str) -> dict[str, np.ndarray]:
        """NAME@WxH is a picture's upper left part."""
        file, _, size = name.partition("@")
        width, height = map(int, size.split("x")) if size else (0, 0)
        out = Path(self.folder.name) / "pixels.npz"
        job = {"model": str(TESTDATA / folder), "image": str(PICTURES / file), "width": width, "height": height, "out": str(out)}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        if not self.process.stdout.readline():
            raise RuntimeError(f"no pixels of {job}")
        with np.load(out) as made:
            return dict(made)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.folder.cleanup()


def joined(folder: str, pictures: list[dict]) -> dict[str, np.ndarray]:
    """The inputs of a prompt with several pictures."""
    if not pictures:
        return {}
    made = {k: np.concatenate([p[k] for p in pictures]) for k in pictures[0]}
    grids = made.pop("grids", None)
    if "qwen" in folder:  # patches
        made["image_grid_thw"] = np.insert(grids, 0, 1, axis=1)
    elif grids is not None:  # tiles
        made = {k: v[None] for k, v in made.items()}
    return made


def of_variants(data: dict, make) -> list[Case]:
    """A case for the float32 files and one for each other type; make(variant, texts)."""
    return [make(v, t) for v, t in [("", None), *data.get("variants", {}).items()]]


def encoder_decoder(pixels: Pixels, folder: str, job: str) -> list[Case]:
    data = golden(folder)
    count = data["greedy"]["max_new_tokens"]
    free = {"eos_token_id": None, "forced_eos_token_id": None}

    def make(variant, texts):
        rows = []
        for row, want in zip(data["rows"], texts or data["greedy"]["ids"]):
            given = pixels.of(folder, row["image"])
            if "input_ids" in row:
                given |= {"input_ids": ids(row["input_ids"]), "attention_mask": np.ones((1, len(row["input_ids"])), np.int64)}
            else:
                given["decoder_input_ids"] = ids(row["decoder_input_ids"])
            rows.append(Row(given, want, free))
        if not variant:  # the model's own start and end
            given = {k: v for k, v in rows[0].given.items() if k != "decoder_input_ids"}
            rows.append(Row(given, data["unprompted"]))
        return Case(folder, job, rows, variant, count)

    return of_variants(data, make)


def prompted(pixels: Pixels, folder: str, job: str) -> list[Case]:
    """Decoders that read pictures in their prompts, or text alone."""
    data = golden(folder)
    config = {}
    for name in ("config.json", "generation_config.json", "genai_config.json"):
        path = TESTDATA / folder / name
        found = json.loads(path.read_text()) if path.exists() else {}
        config |= found.get("model", found) if name == "genai_config.json" else found
    end = data.get("eos", config.get("eos_token_id") or 331)
    ends = end if isinstance(end, list) else [end]

    def make(variant, texts):
        rows = []
        for i, row in enumerate(data["rows"]):
            if "qwen" in folder and len(row.get("images", [])) > 1:
                continue  # these clients give all pictures to the vision graph at once, and the folders' takes one
            given = joined(folder, [pixels.of(folder, n) for n in row.get("images", [])])
            given |= {"input_ids": ids(row["input_ids"]), "attention_mask": np.ones((1, len(row["input_ids"])), np.int64)}
            rows.append(Row(given, texts[i] if texts else row["ids"]))
        return Case(folder, job, rows, variant, ends=ends)

    return of_variants(data, make)


def phi3v(pixels: Pixels) -> list[Case]:
    """A package whose prompts have an id of -1 for each row of features (genai_layouts.py)."""
    folder = "layouts/phi3v-genai"
    tokenizer, rows = Tokenizer.from_file(str(TESTDATA / folder / "tokenizer.json")), []
    for row in golden(folder)["rows"]:
        given = joined(folder, [pixels.of(folder, n) for n in row["images"]])
        text = row["messages"][0]["content"][-1]["text"] + "<|end|>\n<|assistant|>\n"
        if given:
            high, wide = (given["image_sizes"][0] // 336).tolist()
            count = 12 * high * (12 * wide + 1) + 1 + 12 * 13
            written = [*tokenizer.encode("<|user|>\n").ids, *[-1] * count, *tokenizer.encode("\n" + text).ids]
        else:
            written = tokenizer.encode("<|user|>\n" + text).ids
        rows.append(Row(given | {"input_ids": ids(written)}, row["ids"]))
    return [Case(folder, "", rows)]


def heard(folder: str, job: str) -> list[Case]:
    data = golden(folder)
    values = np.array(data["values"], np.float32).reshape(data["shape"])
    end = json.loads((TESTDATA / folder / "generation_config.json").read_text())["eos_token_id"]

    def make(variant, texts):
        rows = [Row({data["input"]: values[i:i + 1], "decoder_input_ids": ids(row["start"])}, texts[i] if texts else row["ids"])
                for i, row in enumerate(data["rows"])]
        return Case(folder, job, rows, variant, ends=[end])

    return of_variants(data, make)


def dual(pixels: Pixels, folder: str, vision: str, text: str, types: dict[str, float]) -> list[Case]:
    """Towers of pictures and of texts; types: how far vectors may be from PyTorch's."""
    for file in ("golden.json", "dual.json"):
        data = json.loads((TESTDATA / "layouts" / file).read_text())
        if (name := folder.split("/")[1]) in data["models"]:
            break
    want, cases = data["models"][name], []
    for variant, tolerance in types.items():
        def vectors(kind, tolerance=tolerance, variant=variant, **more):
            cases.append(Case(folder, kind, variant=variant, tolerance=tolerance, **more))

        seen = [pixels.of(folder, n) for n in data["images"]]
        for s in seen:
            s.pop("grids", None)
        vectors(vision, rows=[Row(p, unit(v)) for p, v in zip(seen, want["image_embeds"])])
        # Siglip2Tokenizer of transformers 5 lowers texts, transformers.js does not
        texts = [t.lower() if "siglip2" in folder else t for t in data["texts"]]
        vectors(text, rows=[Row({"text": t}, unit(v)) for t, v in zip(texts, want["text_embeds"])])
    return cases


def sounds(folder: str) -> list[Case]:
    """CLAP's towers, and the client's own features of sounds of up to a clip; of longer ones it crops at random."""
    data, rows = golden(folder), []
    for i in range(2):
        with wave.open(str(TESTDATA / "families" / "clap" / f"sound{i}.wav")) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
        rows.append(Row({"samples": samples}, unit(data["audio_embeds"][i])))
    texts = [Row({"text": t}, unit(v)) for t, v in zip(data["texts"], data["text_embeds"])]
    return [Case(folder, "ClapAudioModelWithProjection", rows, tolerance=1e-4), Case(folder, "ClapTextModelWithProjection", texts, tolerance=1e-5)]


def unit(vector: list[float]) -> list[float]:
    return (np.array(vector) / np.linalg.norm(vector)).tolist()


def all_cases(program: str) -> dict[str, list[Case]]:
    """The cases of each client."""
    pixels = Pixels(program)
    layouts = "layouts/{}-transformersjs".format
    seen = {n: prompted(pixels, layouts(n), "AutoModelForImageTextToText")
            for n in ("llava", "idefics3", "smolvlm", "docling", "paligemma", "gemma3", "qwen2vl", "qwen2_5vl")}
    seq = {n: encoder_decoder(pixels, f"layouts/{n}", "AutoModelForVision2Seq")
           for n in ("vit-gpt2-transformersjs", "trocr-optimum", "donut-transformersjs")}
    texts = {n: prompted(pixels, n, "AutoModelForCausalLM")
             for n in ("layouts/llama-optimum", "texts/qwen3-gqa", "texts/mistral-gqa", "texts/gemma2-gqa")}
    whisper = heard(layouts("whisper"), "WhisperForConditionalGeneration")
    made = {
        "transformers.js": [
            *seq["vit-gpt2-transformersjs"], *seq["donut-transformersjs"],
            *encoder_decoder(pixels, layouts("florence2"), "Florence2ForConditionalGeneration"),
            *(c for n in seen for c in seen[n]), *whisper, *(c for n in texts for c in texts[n]),
            *dual(pixels, layouts("clip"), "CLIPVisionModelWithProjection", "CLIPTextModelWithProjection",
                  {"": 1e-5, "fp16": 2e-3}),
            *dual(pixels, layouts("siglip"), "SiglipVisionModel", "SiglipTextModel", {"": 1e-5}),
            *dual(pixels, layouts("siglip2"), "SiglipVisionModel", "SiglipTextModel", {"": 1e-5, "fp16": 2e-3}),
            *dual(pixels, layouts("mobileclip"), "CLIPVisionModelWithProjection", "CLIPTextModelWithProjection",
                  {"": 1e-5, "fp16": 5e-3}),
            *dual(pixels, "layouts/jina-clip-v1", "JinaCLIPVisionModel", "JinaCLIPTextModel", {"": 1e-5}),
            *sounds(layouts("clap")),
        ],
        "optimum": [
            *(c for n in seq for c in seq[n]), *whisper, *texts["layouts/llama-optimum"],
        ],
        "onnxruntime-genai": [
            *(c for n in ("llama", "gemma3", "qwen2_5vl") for c in prompted(pixels, f"layouts/{n}-genai", "")), *phi3v(pixels),
        ],
    }
    pixels.close()
    return made
