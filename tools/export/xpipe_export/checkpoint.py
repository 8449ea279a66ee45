"""What is wrong with a checkpoint's files, found before any weight is loaded."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from .graph import ExportError

SLOW_TOKENIZERS = ("vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model",
                   "tokenizer.model")
"""Files that a tokenizer can be made of where there is no tokenizer.json."""

LFS = b"version https://git-lfs.github.com/spec/"
"""How a Git LFS pointer begins: what a clone without git-lfs has in a large file's place."""


def read_json(file: Path) -> dict:
    """The object in a JSON file. Raises ExportError, also where it is something else."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as e:
        raise ExportError(f"{file}: {e.strerror}") from e
    except ValueError as e:  # UnicodeDecodeError is one, too
        raise ExportError(f"{file} is not JSON: {e}") from e
    if not isinstance(value, dict):
        raise ExportError(f"{file} is not a JSON object")
    return value


def architectures(config: dict) -> list[str]:
    """The classes that a config.json names. Transformers 4.57 writes those of Qwen2-VL and
    Qwen2.5-VL in the part about the language model."""
    return config.get("architectures") or (config.get("text_config") or {}).get("architectures") or []


def check_files(path: Path, config: dict, pictures: bool, qformer: bool) -> None:
    """Refuse a checkpoint directory that cannot become a bundle that runs. Raises ExportError.

    pictures: the family reads them, so it needs an image processor; qformer: it has a second
    tokenizer, for the Q-Former.
    """
    check_pointers(path)
    check_quantised(path, config)
    check_weights(path)
    for folder in (path, path / "qformer_tokenizer") if qformer else (path,):
        check_tokenizer(folder)
    if pictures and image_processor(path) is None:
        raise ExportError(f"{path} has no preprocessor_config.json, and no processor_config.json "
                          "with image_processor: nothing says how pictures are prepared")


def check_pointers(path: Path) -> None:
    """Refuse what a clone without git-lfs has in the place of files."""
    files = [path] if path.is_file() else path.rglob("*")
    for file in sorted(p for p in files if p.is_file() and p.stat().st_size < 1024):
        with open(file, "rb") as f:
            if f.read(len(LFS)) == LFS:
                raise ExportError(f"{file} is a Git LFS pointer, not the file: run `git lfs pull`")


def check_tokenizer(folder: Path) -> None:
    """Refuse a folder without a tokenizer."""
    if not any((folder / n).is_file() for n in ("tokenizer.json", *SLOW_TOKENIZERS)):
        raise ExportError(f"{folder} has no tokenizer.json, and nothing to make one of "
                          f"({', '.join(SLOW_TOKENIZERS)})")


def image_processor(path: Path) -> dict | None:
    """The image processor's settings: preprocessor_config.json or, as transformers 5 saves them,
    image_processor in processor_config.json; None where there are none."""
    if (path / "preprocessor_config.json").is_file():
        return read_json(path / "preprocessor_config.json")
    if (path / "processor_config.json").is_file():
        return read_json(path / "processor_config.json").get("image_processor")
    return None


def feature_extractor(path: Path) -> dict | None:
    """The same of what prepares sounds, which transformers 5 saves as feature_extractor."""
    if (path / "preprocessor_config.json").is_file():
        return read_json(path / "preprocessor_config.json")
    if (path / "processor_config.json").is_file():
        return read_json(path / "processor_config.json").get("feature_extractor")
    return None


def check_quantised(path: Path, config: dict) -> None:
    """Refuse weights that are quantised already: their tensors are no matrices of the model."""
    for part in (config, *(v for v in config.values() if isinstance(v, dict))):
        if part.get("quantization_config"):
            method = part["quantization_config"].get("quant_method", "an unnamed method")
            raise ExportError(
                f"{path}/config.json says that the weights are quantised by {method}: export the "
                "checkpoint they were made of, with --dtype to make it small")
    for name in ("quantize_config.json", "quant_config.json"):  # of GPTQ and AWQ, before config.json had it
        if (path / name).is_file():
            raise ExportError(f"{path / name}: the weights are quantised; export the checkpoint "
                              "they were made of, with --dtype to make it small")


def weight_files(path: Path) -> list[Path]:
    """The files with the weights, in transformers' order of preference. Raises ExportError where
    there are none, or where an index names one that is not there."""
    for stem, suffix in (("model", "safetensors"), ("pytorch_model", "bin")):
        if (path / f"{stem}.{suffix}").is_file():
            return [path / f"{stem}.{suffix}"]
        index = path / f"{stem}.{suffix}.index.json"
        if index.is_file():
            names = read_json(index).get("weight_map")
            if not isinstance(names, dict):
                raise ExportError(f"{index} has no weight_map")
            shards = [path / n for n in sorted(set(names.values()))]
            if missing := [p.name for p in shards if not p.is_file()]:
                raise ExportError(f"{index} names {len(missing)} files that are not there: "
                                  f"{', '.join(missing[:4])}")
            return shards
    raise ExportError(f"{path} has no weights: neither model.safetensors nor pytorch_model.bin")


def link_files(path: Path, target: Path) -> None:
    """Make links to all files of a directory in another."""
    for file in (p for p in path.rglob("*") if p.is_file()):
        link = target / file.relative_to(path)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.resolve())


def check_weights(path: Path) -> None:
    """Refuse safetensors files whose length is not what their header says."""
    for file in weight_files(path):
        if file.suffix == ".safetensors":
            safetensors_header(file)


def safetensors_header(file: Path) -> dict[str, dict]:
    """Tensor -> dtype, shape and data_offsets. Raises ExportError for a file that is cut off."""
    size = file.stat().st_size
    with open(file, "rb") as f:
        first = f.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else size
        if 8 + length > size:
            raise ExportError(f"{file} is cut off or no safetensors file: {size} bytes do not hold "
                              "its header; fetch it again")
        try:
            header = json.loads(f.read(length))
            header.pop("__metadata__", None)
            end = 8 + length + max((t["data_offsets"][1] for t in header.values()), default=0)
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise ExportError(f"{file} has no safetensors header: {e}") from e
    if end != size:
        raise ExportError(f"{file} has {size} bytes where its header says {end}; fetch it again")
    return header


def check_vocabulary(path: Path, tokenizer, rows: int) -> None:
    """Refuse a tokenizer with ids that the model has no embedding of. Special tokens may have them:
    processors add <image> or a padding token that no text of a user has."""
    special = set(tokenizer.all_special_tokens)
    special |= {t.content for t in tokenizer.added_tokens_decoder.values() if t.special}
    token, number = max(((t, i) for t, i in tokenizer.get_vocab().items() if t not in special),
                        key=lambda item: item[1], default=("", -1))
    if number >= rows:
        raise ExportError(f"{path}: the tokenizer's {token!r} has id {number}, the model's vocabulary "
                          f"{rows} rows: tokenizer and model do not belong together")


def check_picture(path: Path, shape: list[int], wanted: list[int]) -> None:
    """Refuse an image processor that gives pictures of another size than the model takes."""
    if list(shape) != list(wanted):
        raise ExportError(f"{path}: the image processor makes pictures of {shape[1]} x {shape[0]} "
                          f"pixels, the model takes {wanted[1]} x {wanted[0]}")
