"""What every family does with a checkpoint besides its graphs."""

from __future__ import annotations

import gc
import json
import re
import string
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from tokenizers import Regex, Tokenizer, normalizers, processors
from transformers import (AutoConfig, AutoImageProcessor, AutoTokenizer, BaseImageProcessor, ClapFeatureExtractor,
                          PreTrainedTokenizerBase)
from transformers.convert_slow_tokenizer import SpmConverter

from .. import checkpoint
from ..bundle import Bundle
from ..graph import ExportError
from ..weights import SMALL

COPIED = ("config.json", "preprocessor_config.json", "processor_config.json",
          "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
          "chat_template.jinja", "chat_template.json")
QFORMER = "qformer_tokenizer"
"""The folder of the Q-Former's tokenizer."""
PROBES = ("a photo of a cat", "This is a photo of 2 dogs.", "  Hello,   WORLD! it's 'quoted' ",
          "caf\u00e9 \u6f22\u5b57", "a!b ! wow!!! ...", "", "tab\tand\nline", "what's <this>? (a-b_c)")
"""Texts that a bundle's tokenizer.json must read as transformers' tokenizer does."""


class Front(NamedTuple):
    """What stands before a model: as transformers loads it from the checkpoint."""

    tokenizer: PreTrainedTokenizerBase
    qformer: PreTrainedTokenizerBase | None
    images: BaseImageProcessor | None
    sounds: ClapFeatureExtractor | None = None


def load_front(path: Path, kind: str, pictures: bool, qformer: bool) -> Front:
    """Load tokenizers and image processor, and refuse those that do not fit the model's config, of
    the class kind. Raises ExportError."""
    config = AutoConfig.from_pretrained(path)
    own = config.decoder if hasattr(config, "decoder") else getattr(config, "text_config", config)
    if kind == "Blip2ForImageTextRetrieval":
        own = config.qformer_config
    front = Front(read_tokenizer(path), read_tokenizer(path / QFORMER) if qformer else None,
                  AutoImageProcessor.from_pretrained(path, use_fast=False) if pictures else None,
                  _sounds(path) if kind == "ClapModel" else None)
    checkpoint.check_vocabulary(path, front.tokenizer,
                                own.vocab_size + getattr(own, "additional_vocab_size", 0))
    if front.qformer:
        checkpoint.check_vocabulary(path / QFORMER, front.qformer, config.qformer_config.vocab_size)
    seen = config.encoder if hasattr(config, "encoder") else getattr(config, "vision_config", None)
    size = getattr(seen, "image_size", None)  # Florence-2's has none, and Qwen2-VL takes pictures of any size
    if front.images and size and kind not in ("Idefics2ForConditionalGeneration", "ViltForQuestionAnswering"):  # so do they
        wanted = list(size) if isinstance(size, (list, tuple)) else [size, size]
        check_pictures(path, front.images, wanted)
    return front


def _sounds(path: Path) -> ClapFeatureExtractor:
    """What prepares sounds. Raises ExportError."""
    settings = checkpoint.feature_extractor(path)
    if settings is None:
        raise ExportError(f"{path} has no preprocessor_config.json, and no processor_config.json with "
                          "feature_extractor: nothing says how sounds are prepared")
    return ClapFeatureExtractor(**settings)


def check_pictures(path: Path, images: BaseImageProcessor, wanted: list[int]) -> None:
    """Refuse an image processor of path that gives pictures of another height and width."""
    out = images(images=[Image.new("RGB", (67, 45))], return_tensors="pt")
    pixels = out if isinstance(out, torch.Tensor) else out["pixel_values"]
    checkpoint.check_picture(path, list(pixels.shape[-2:]), wanted)


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder as transformers loads it. Raises ExportError."""
    try:
        return AutoTokenizer.from_pretrained(folder, use_fast=True)
    except Exception as e:  # tokenizers raises Exception itself, others whatever they meet
        raise ExportError(f"{folder}: transformers cannot read the tokenizer: {e}") from e


def copy_checkpoint_files(bundle: Bundle, path: Path, front: Front) -> None:
    """The small files as they are, and the tokenizers as transformers has loaded them: what its
    configuration changes in tokenizer.json is in the file then."""
    for name in COPIED:
        if (path / name).is_file():
            bundle.add_file(name, path / name)
    add_tokenizer(bundle, "tokenizer.json", front.tokenizer)
    if front.qformer:
        for name in COPIED:
            if (path / QFORMER / name).is_file():
                bundle.add_file(f"{QFORMER}/{name}", path / QFORMER / name)
        add_tokenizer(bundle, f"{QFORMER}/tokenizer.json", front.qformer)


def add_tokenizer(bundle: Bundle, name: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write a tokenizer's loaded form, and read texts with what was written. Raises ExportError
    where it gives other ids than transformers."""
    file = bundle.dir / name
    file.parent.mkdir(parents=True, exist_ok=True)
    _fast(tokenizer).save(str(file))
    if bundle.dtype in SMALL:
        compact(file)
    written = Tokenizer.from_file(str(file))
    written.no_truncation()
    written.no_padding()
    # What SigLIP's tokenizer in Python does around a special token in a text has no fast form.
    special = tokenizer.all_special_tokens if tokenizer.is_fast else []
    for text in (*PROBES, *(f"a {t} b{t}c" for t in special)):
        for whole in (True, False):
            got = written.encode(text, add_special_tokens=whole).ids
            want = tokenizer(text, add_special_tokens=whole).input_ids
            if got != want:
                raise ExportError(f"{name} reads {text!r} as {got}, transformers' "
                                  f"{type(tokenizer).__name__} as {want}")


def cleans_spaces(tokenizer: PreTrainedTokenizerBase, follows: str) -> bool:
    """Whether transformers takes the spaces before punctuation out of texts; 5 does not of BPE's."""
    if not tokenizer.clean_up_tokenization_spaces:
        return False
    bpe = tokenizer.is_fast and type(tokenizer.backend_tokenizer.model).__name__ == "BPE"
    return not (bpe and follows.startswith("transformers 5"))


def compact(file: Path) -> None:
    """Write a tokenizer.json without white space, and its merges as "a b" where no token has a space:
    less than half of its size for Whisper's."""
    whole = json.loads(file.read_text(encoding="utf-8"))
    merges = whole["model"].get("merges") or []
    if all(isinstance(m, list) and not any(" " in token for token in m) for m in merges):
        whole["model"]["merges"] = [" ".join(m) for m in merges]
    file.write_text(json.dumps(whole, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


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

    return Converter(tokenizer).converted()


def add_generation_config(bundle: Bundle, config, **given) -> None:
    """The generation config transformers would use: the language model's own, and what its caller gives
    beside it."""
    values = json.loads(config.to_json_string(use_diff=True))
    values.pop("_from_model_config", None)
    if saved_by := values.pop("saved_by", None):  # to 5 a max_length of 20 is no default
        values |= {"max_length": config.max_length, "transformers_version": saved_by}
    bundle.add_json("generation_config.json", values | given)


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


