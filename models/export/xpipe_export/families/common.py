"""What every family does with a checkpoint besides its graphs."""

from __future__ import annotations

import gc
import json
import tempfile
from pathlib import Path

import torch
from transformers import AutoTokenizer

from ..bundle import Bundle

COPIED = ("config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
          "added_tokens.json")


def copy_checkpoint_files(bundle: Bundle, checkpoint: Path) -> None:
    """The small files as they are; a tokenizer that exists only in its slow form is converted."""
    for name in COPIED:
        if (checkpoint / name).is_file():
            bundle.add_file(name, checkpoint / name)
    for folder in ("qformer_tokenizer",):
        for path in sorted((checkpoint / folder).glob("*")) if (checkpoint / folder).is_dir() else []:
            if path.name in COPIED:
                bundle.add_file(f"{folder}/{path.name}", path)
    for folder in (".", "qformer_tokenizer"):
        place = checkpoint / folder
        has_slow = any((place / f).exists() for f in ("vocab.txt", "vocab.json", "spiece.model", "tokenizer.model"))
        if has_slow and not (place / "tokenizer.json").exists():
            with tempfile.TemporaryDirectory() as tmp:
                AutoTokenizer.from_pretrained(place, use_fast=True).save_pretrained(tmp)
                bundle.add_file((Path(folder) / "tokenizer.json").as_posix(), Path(tmp) / "tokenizer.json")


def add_generation_config(bundle: Bundle, config) -> None:
    """The generation config transformers would use: the language model's own."""
    values = json.loads(config.to_json_string(use_diff=True))
    values.pop("_from_model_config", None)
    bundle.add_json("generation_config.json", values)


def release(model: torch.nn.Module, *names: str) -> None:
    """Drop parts that are exported, so that memory shrinks while the export goes on."""
    for name in names:
        setattr(model, name, None)
    gc.collect()


def resolve(checkpoint: str) -> Path:
    """A directory, or the snapshot directory of a hub id."""
    path = Path(checkpoint)
    if path.is_dir():
        return path
    if path.exists() or checkpoint.startswith((".", "/")):
        raise FileNotFoundError(f"{checkpoint} is not a checkpoint directory")
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(checkpoint, allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt", "*.bin", "*.pt"]))


