"""What every family does with a checkpoint besides its graphs."""

from __future__ import annotations

import gc
import json
import re
import string
import tempfile
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, normalizers, processors
from transformers import AutoTokenizer
from transformers.convert_slow_tokenizer import SpmConverter

from ..bundle import Bundle
from ..graph import ExportError

COPIED = ("config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json",
          "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


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
        has_slow = any((place / f).exists() for f in ("vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model"))
        if has_slow and not (place / "tokenizer.json").exists():
            with tempfile.TemporaryDirectory() as tmp:
                _fast(AutoTokenizer.from_pretrained(place, use_fast=True)).save(f"{tmp}/tokenizer.json")
                bundle.add_file((Path(folder) / "tokenizer.json").as_posix(), Path(tmp) / "tokenizer.json")


def _fast(tokenizer) -> Tokenizer:
    """The tokenizers form of a transformers tokenizer."""
    if tokenizer.is_fast:
        return tokenizer.backend_tokenizer
    if type(tokenizer).__name__ != "SiglipTokenizer":
        raise ExportError(f"{type(tokenizer).__name__} has no tokenizer.json and no fast form")

    class Converter(SpmConverter):
        """What SiglipTokenizer does in Python: lower case, no ASCII punctuation, single spaces;
        </s> behind."""

        def normalizer(self, proto):
            lower = [normalizers.Lowercase()] if tokenizer.do_lower_case else []
            punctuation = "[" + "".join(re.escape(c) for c in string.punctuation) + "]"
            return normalizers.Sequence(
                [*lower, normalizers.Replace(Regex(punctuation), ""),
                 normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip(),
                 super().normalizer(proto)])

        def post_processor(self):
            return processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", tokenizer.eos_token_id)])

    fast = Converter(tokenizer).converted()
    for text in ("a photo of a cat", "This is a photo of 2 dogs.",
                 "  Hello,   WORLD! it's 'quoted' ", "caf\u00e9", "a"):
        if fast.encode(text).ids != tokenizer(text).input_ids:
            raise ExportError(f"the converted SigLIP tokenizer differs from transformers' on {text!r}")
    return fast


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
    """A directory, a state dict's file, or the snapshot directory of a hub id."""
    path = Path(checkpoint)
    if path.exists():
        return path
    if checkpoint.startswith((".", "/")):
        raise FileNotFoundError(f"{checkpoint} does not exist")
    from huggingface_hub import snapshot_download

    return Path(
        snapshot_download(checkpoint, allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt",
                                                      "*.bin", "*.pt"]))


