"""Whisper as CTranslate2 keeps it, the folders of faster-whisper, as a checkpoint of transformers.

The layout of model.bin and the names of its weights are those that ctranslate2 4.8.5 writes
(specs/model_spec.py, whisper_spec.py and converters/transformers.py there).
"""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import numpy as np
import transformers
from safetensors.numpy import save_file

from .checkpoint import architectures, check_pointers, read_json
from .graph import ExportError

WEIGHTS = "model.bin"

SPEC = "WhisperSpec"
"""What model.bin of a Whisper says it is."""

DTYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)
"""By the number that stands for them in model.bin."""

MULTILINGUAL = 51865
"""The smallest vocabulary of a Whisper of several languages (openai-whisper 20250625, model.py)."""

FIRST_TIME = 50
"""The latest time, in steps of 0.02 s, that a window's text may begin with: one second."""


@contextmanager
def as_checkpoint(path: Path) -> Iterator[Path]:
    """A directory that transformers can load while entered: path itself, or what was made of it where
    path is a folder of CTranslate2's. Raises ExportError."""
    if not is_model(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="xpipe-export-") as place:
        convert(path, Path(place))
        yield Path(place)


def is_model(path: Path) -> bool:
    """Whether path is a folder of CTranslate2's, as far as its names tell: transformers' config.json
    names a class."""
    if not ((path / WEIGHTS).is_file() and (path / "config.json").is_file()):
        return False
    return not architectures(read_json(path / "config.json"))


def convert(path: Path, out: Path) -> None:
    """Write the model in path, float32 or float16, to the directory out as transformers would have
    saved it. Raises ExportError."""
    check_pointers(path)
    tokenizer, settings = path / "tokenizer.json", read_json(path / "config.json")
    if not tokenizer.is_file():
        raise ExportError(f"{path} has no tokenizer.json")
    values = read(path / WEIGHTS)
    try:
        weights = state_dict(values)
        config = _config(values)
        ids = _ids(read_json(tokenizer))
        generation = _generation_config(settings, ids, config.vocab_size)
    except (KeyError, ValueError, IndexError) as e:
        raise ExportError(f"{path} lacks a part of a Whisper: {type(e).__name__} {e}") from e
    special = {k: generation[k] for k in ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")}
    config.update(special)
    config.save_pretrained(out)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    frames = 2 * config.max_source_positions  # the second convolution halves them
    transformers.WhisperFeatureExtractor(feature_size=config.num_mel_bins,
                                         chunk_length=frames * 160 // 16000).save_pretrained(out)
    shutil.copyfile(tokenizer, out / "tokenizer.json")
    for name, value in (("generation_config.json", generation),
                        ("tokenizer_config.json", {"tokenizer_class": "WhisperTokenizer", "model_max_length": 448,
                                                   "clean_up_tokenization_spaces": False})):
        (out / name).write_text(json.dumps(value, indent=2) + "\n")


def read(file: Path) -> dict[str, np.ndarray]:
    """The variables of a model.bin by name, and under its second name what has two. Raises ExportError
    for a file that is cut off, of another kind of model, or quantised."""
    raw, at, values = file.read_bytes(), 0, {}

    def number(kind: str) -> int:
        nonlocal at
        start, at = at, at + struct.calcsize(kind)
        return struct.unpack_from("<" + kind, raw, start)[0]

    def string() -> str:
        nonlocal at
        length = number("H")  # its final zero included
        start, at = at, at + length
        return raw[start:at - 1].decode()

    try:
        number("I")  # the layout's version
        if (spec := string()) != SPEC:
            raise ExportError(f"{file} is a {spec!r}: of CTranslate2's models only Whisper is read")
        number("I")  # the spec's revision
        for _ in range(number("I")):
            name = string()
            shape = [number("I") for _ in range(number("B"))]
            kind, size = np.dtype(DTYPES[number("B")]), number("I")
            values[name] = np.frombuffer(raw, kind, size // kind.itemsize, at).reshape(shape)
            at += size
        for _ in range(number("I")):
            alias, name = string(), string()
            values[alias] = values[name]
    except (struct.error, ValueError, IndexError, KeyError) as e:
        raise ExportError(f"{file} is cut off or no model of CTranslate2's: {e}") from e
    if quantised := next((n for n in values if n.endswith("weight_scale")), None):
        raise ExportError(f"{file} is quantised ({quantised}): give the model in float16 or float32, with "
                          "--dtype to make it small")
    return values


def state_dict(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """model.bin's variables as float32 weights of WhisperForConditionalGeneration, without the head,
    which is the decoder's table."""
    out: dict[str, np.ndarray] = {"model.decoder.embed_tokens.weight": values["decoder/embeddings/weight"]}
    width = out["model.decoder.embed_tokens.weight"].shape[1]

    def norm(target: str, source: str) -> None:
        out[f"{target}.weight"], out[f"{target}.bias"] = values[f"{source}/gamma"], values[f"{source}/beta"]

    def linear(target: str, source: str, fused: str = "") -> None:
        """One linear map, or those that target's {} stands for, stacked along the outputs."""
        weight, bias = values[f"{source}/weight"], values[f"{source}/bias"]
        for i, part in enumerate(fused or [""]):
            rows = slice(i * width, (i + 1) * width) if fused else slice(None)
            out[f"{target.format(part)}.weight"] = weight[rows]
            if part != "k":  # keys have no bias; the file has zeros
                out[f"{target.format(part)}.bias"] = bias[rows]

    for side in ("encoder", "decoder"):
        out[f"model.{side}.embed_positions.weight"] = values[f"{side}/position_encodings/encodings"]
        norm(f"model.{side}.layer_norm", f"{side}/layer_norm")
        for i in range(_layers(values, side)):
            source, target = f"{side}/layer_{i}", f"model.{side}.layers.{i}"
            norm(f"{target}.self_attn_layer_norm", f"{source}/self_attention/layer_norm")
            linear(f"{target}.self_attn.{{}}_proj", f"{source}/self_attention/linear_0", "qkv")
            linear(f"{target}.self_attn.out_proj", f"{source}/self_attention/linear_1")
            if side == "decoder":
                norm(f"{target}.encoder_attn_layer_norm", f"{source}/attention/layer_norm")
                linear(f"{target}.encoder_attn.q_proj", f"{source}/attention/linear_0")
                linear(f"{target}.encoder_attn.{{}}_proj", f"{source}/attention/linear_1", "kv")
                linear(f"{target}.encoder_attn.out_proj", f"{source}/attention/linear_2")
            norm(f"{target}.final_layer_norm", f"{source}/ffn/layer_norm")
            linear(f"{target}.fc1", f"{source}/ffn/linear_0")
            linear(f"{target}.fc2", f"{source}/ffn/linear_1")
    for name in ("conv1", "conv2"):
        for part in ("weight", "bias"):
            out[f"model.encoder.{name}.{part}"] = values[f"encoder/{name}/{part}"]
    return {name: np.ascontiguousarray(value, np.float32) for name, value in out.items()}


def _layers(values: dict[str, np.ndarray], side: str) -> int:
    count = 0
    while f"{side}/layer_{count}/ffn/linear_0/weight" in values:
        count += 1
    return count


def _config(values: dict[str, np.ndarray]) -> transformers.WhisperConfig:
    """The sizes, from the shapes of the weights."""
    vocabulary, width = values["decoder/embeddings/weight"].shape
    sizes = {"vocab_size": vocabulary, "d_model": width, "num_mel_bins": values["encoder/conv1/weight"].shape[1]}
    for side, positions in (("encoder", "max_source_positions"), ("decoder", "max_target_positions")):
        sizes |= {f"{side}_layers": _layers(values, side), f"{side}_attention_heads": int(values[f"{side}/num_heads"]),
                  f"{side}_ffn_dim": len(values[f"{side}/layer_0/ffn/linear_0/weight"]),
                  positions: len(values[f"{side}/position_encodings/encodings"])}
    return transformers.WhisperConfig(architectures=["WhisperForConditionalGeneration"], suppress_tokens=None,
                                      begin_suppress_tokens=None, **sizes)


def _ids(tokenizer: dict) -> dict[str, int]:
    """The ids of the special tokens, in their order."""
    return {t["content"]: t["id"] for t in sorted(tokenizer["added_tokens"], key=lambda t: t["id"])}


def _generation_config(settings: dict, ids: dict[str, int], vocabulary: int) -> dict:
    """generation_config.json as OpenAI's checkpoints have it on the hub. settings is CTranslate2's
    config.json; its lang_ids are left alone, which name no languages in models of English alone.

    Times, `<|0.00|>` and up, are the ids behind no_timestamps_token_id, which tokenizer.json need not
    name."""
    end, start, silent = (ids[f"<|{t}|>"] for t in ("endoftext", "startoftranscript", "notimestamps"))
    transcribe, translate = ids["<|transcribe|>"], ids["<|translate|>"]
    out = {"alignment_heads": settings.get("alignment_heads"), "begin_suppress_tokens": settings.get("suppress_ids_begin"),
           "suppress_tokens": settings.get("suppress_ids"), "bos_token_id": end, "decoder_start_token_id": start,
           "eos_token_id": end, "forced_decoder_ids": [[1, silent]], "is_multilingual": vocabulary >= MULTILINGUAL,
           "max_initial_timestamp_index": FIRST_TIME, "max_length": 448, "no_timestamps_token_id": silent,
           "pad_token_id": end, "prev_sot_token_id": ids["<|startofprev|>"], "return_timestamps": False}
    if out["is_multilingual"]:
        out |= {"forced_decoder_ids": [[1, None], [2, transcribe]],
                "lang_to_id": {t: i for t, i in ids.items() if start < i < min(translate, transcribe)},
                "task_to_id": {"transcribe": transcribe, "translate": translate}}
    return {k: v for k, v in sorted(out.items()) if v is not None}
