"""Checkpoints of transformers 5 in the spelling of 4.57, which the exporter runs on.

Each key that changed its meaning or its place is translated; one that 4.57 does not know is refused,
because a model would be built without it and verified against itself.
"""

from __future__ import annotations

import inspect
import json
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import torch
from transformers import AutoConfig, PretrainedConfig

from .checkpoint import image_processor, link_files, read_json, safetensors_header, weight_files
from .graph import ExportError

RENAMED = {"gpt_neox": {"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"}}
"""model_type -> what 4.57 calls the keys of rope_parameters there."""

GEMMA3_ROPE = {"full_attention": "rope_theta", "sliding_attention": "rope_local_base_freq"}
"""Type of layer -> what 4.57 calls its rope_theta."""

AS_SAVED = {"llava", "llava_next", "smolvlm"}
"""Types of model of which 5 loads tokenizer.json as it stands, whatever class it names
(MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS)."""

TOWER = r"vision_tower\.((?:embeddings|encoder|pre_layrnorm|post_layernorm|head)\.)"
"""The vision encoders' weights in models that 5 made; 4.57 has vision_model before the last part."""

COMPUTED = ("relative_position_index", "_float_tensor")
"""Buffers of Swin and TrOCR that 5 does not save."""

HARMLESS = {"dtype", "torch_dtype", "scale_decoder_outputs", "model_type", "architectures",
            "transformers_version", "_name_or_path", "tie_word_embeddings", "is_decoder",
            "bos_token_id", "eos_token_id", "pad_token_id", "auto_map", "use_cache",
            "max_position_embeddings", "_sliding_window_pattern", "_pad_token_id", "num_image_tokens",
            "_attn_implementation_autoset", "add_bias_logits", "add_final_layer_norm",
            "classif_dropout", "extra_pos_embeddings", "force_bos_token_to_be_generated",
            "gradient_checkpointing", "normalize_before", "normalize_embedding",
            "static_position_embeddings"}
"""Keys that are known, or say nothing about the numbers, though a class of 4.57 does not list
them. The last lines are of the original BART and mBART, and stand in released checkpoints of Donut:
no version reads them."""


GENERATION = set(PretrainedConfig._get_global_generation_defaults()) - {"use_cache"}
"""Keys of generation, which 4.57 reads in the configuration of a language model, too."""


def major(config: dict) -> int:
    """The major version of transformers that saved a config.json; 0 where it does not say."""
    first = str(config.get("transformers_version") or "0").partition(".")[0]
    return int(first) if first.isdigit() else 0


@contextmanager
def translated(path: Path, config: dict) -> Iterator[Path]:
    """A directory to load path with 4.57 from, while entered: path itself, or links to its files
    and translated ones in the place of those that 5 wrote differently. Raises ExportError."""
    files = {}
    if major(config) >= 5:
        files["config.json"] = _config(path, json.loads(json.dumps(config)))
    if not (path / "preprocessor_config.json").is_file() and (images := image_processor(path)):
        files["preprocessor_config.json"] = images
    if major(config) >= 5 and (images := image_processor(path)) and images.get("image_processor_type") == "DonutImageProcessor":
        files["preprocessor_config.json"] = images | {"thumbnail_as_transformers_5": True}
    for folder in (".", "qformer_tokenizer"):
        file = path / folder / "tokenizer_config.json"
        if file.is_file() and (changed := _tokenizer(read_json(file))):
            files[f"{folder}/tokenizer_config.json"] = changed
            if (same := path / folder / "tokenizer.json").is_file():
                changed["tokenizer_class"] = "PreTrainedTokenizerFast"
                files[f"{folder}/tokenizer.json"] = _llama(config, read_json(file), read_json(same))
    if not files:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="xpipe-export-") as place:
        target = Path(place)
        link_files(path, target)
        for name, value in files.items():
            (target / name).unlink(missing_ok=True)
            (target / name).write_text(json.dumps(value))
        if "config.json" in files:
            _refuse_unknown(path, files["config.json"], AutoConfig.from_pretrained(target))
        yield target


def inline(path: Path, config: dict) -> PretrainedConfig:
    """The configuration of a model that stands within the config.json of a directory. Raises ExportError."""
    if major(config) < 5:
        return AutoConfig.for_model(**config)
    config = _config(path, json.loads(json.dumps(config)))
    loaded = AutoConfig.for_model(**config)
    _refuse_unknown(path, config, loaded)
    return loaded


def _config(path: Path, config: dict) -> dict:
    for name, part in (("config.json", config), *((f"config.json: {k}", v) for k, v in config.items()
                                                  if isinstance(v, dict))):
        if "rope_parameters" in part:
            _rope(f"{path}/{name}", part)
        if "scale_decoder_outputs" in part:
            # 5 ties T5's head always, but for one that is stored, and says apart whether to scale
            # before it; to 4.57 both are tie_word_embeddings. See settle.
            part["tie_word_embeddings"] = not _stores_head(path)
        if part.get("model_type") == "mllama_text_model":
            part.setdefault("rope_scaling", {"rope_type": "default"})  # 4.57 reads it always
        if part is not config:
            for key in GENERATION & set(part):  # 5 drops them when it loads the file
                del part[key]
    text = config.get("text_config") or {}
    if config.get("model_type") == "paligemma" and text.get("use_bidirectional_attention"):
        del text["use_bidirectional_attention"]  # 4.57 has prompts see themselves always
    return config


def _rope(name: str, part: dict) -> None:
    rope = part.pop("rope_parameters") or {}
    if part.get("model_type") == "gemma3_text" and set(rope) == set(GEMMA3_ROPE):
        own = {kind: dict(rope[kind]) for kind in rope}
        for kind, key in GEMMA3_ROPE.items():
            part[key] = own[kind].pop("rope_theta")
        if own["sliding_attention"].get("rope_type", "default") != "default":
            raise ExportError(f"{name} has rope_parameters {rope['sliding_attention']} for layers "
                              "of sliding attention: not supported")
        rope = own["full_attention"]
    if any(isinstance(v, dict) for v in rope.values()):
        raise ExportError(f"{name} has rope_parameters for each type of layer: not supported")
    if part.get("model_type") == "idefics":  # 4.57 has this base in its code
        if rope.get("rope_theta", 10000.0) != 10000.0 or rope.get("rope_type", "default") != "default":
            raise ExportError(f"{name} has rope_parameters {rope}: of IDEFICS rope_theta 10000 alone "
                              "is supported")
        return
    names = RENAMED.get(part.get("model_type"), {})
    for key in ("rope_theta", "partial_rotary_factor"):
        if key in rope:
            part[names.get(key, key)] = rope.pop(key)
    if "mrope_section" in rope:  # Qwen2-VL's, whose type 4.57 calls so
        part["rope_scaling"] = rope | {"type": "mrope"}
    elif rope.get("rope_type", "default") != "default":
        part["rope_scaling"] = rope


def _names(path: Path) -> list[str]:
    """The tensors of a checkpoint's safetensors files."""
    return [k for f in weight_files(path) if f.suffix == ".safetensors" for k in safetensors_header(f)]


def _stores_head(path: Path) -> bool:
    return any(n.endswith("lm_head.weight") for n in _names(path))


def saved_by_5(path: Path) -> bool:
    """Whether transformers 5 wrote the checkpoint's tokenizer."""
    file = path / "tokenizer_config.json"
    return file.is_file() and _tokenizer(read_json(file)) is not None


def _tokenizer(config: dict) -> dict | None:
    """tokenizer_config.json for 4.57, or None where it needs no change.

    What 5 saves in tokenizer.json is whole: the classes of 4.57 would make normalizer and
    pre-tokenizer anew by rules of their own (T5, Llama), so `translated` names another where there
    is such a file. SigLIP's tokenizer has none, and its class is the same in both.
    """
    extra = config.get("extra_special_tokens")
    if "backend" not in config and not isinstance(extra, list):
        return None
    out = {k: v for k, v in config.items() if k not in ("backend", "extra_special_tokens")}
    if isinstance(extra, dict):
        out["extra_special_tokens"] = extra
    elif extra:
        out["additional_special_tokens"] = extra
    return out


def _llama(model: dict, config: dict, tokenizer: dict) -> dict:
    """tokenizer.json as 5 reads it: its class for Llama's makes the pre-tokenizer anew, but for some types of
    model, and where tokens are bytes.

    It saves no `legacy`, whose default became false: a tokenizer of 4.57 that 5 saved writes the
    first word behind a special token without a space when 5 loads it again.
    """
    if config.get("tokenizer_class") not in ("LlamaTokenizer", "LlamaTokenizerFast"):
        return tokenizer
    if model.get("model_type") in AS_SAVED or '"ByteLevel"' in json.dumps(tokenizer.get("pre_tokenizer")):
        return tokenizer
    scheme = "always" if config.get("legacy", False) else "first"
    if config.get("add_prefix_space") is False:
        scheme = "never"
    return tokenizer | {"normalizer": None, "pre_tokenizer": {
        "type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": False}}


def _refuse_unknown(path: Path, config: dict, loaded: PretrainedConfig, outer: str = "") -> None:
    """Refuse a key that neither the class's configuration in 4.57 nor its code mentions, nor outer, the
    code of the model that it is a part of."""
    code = outer + "".join(p.read_text() for p in Path(inspect.getfile(type(loaded))).parent.glob("*.py"))
    known = HARMLESS | ({"encoder", "decoder"} if loaded.model_type == "vision-encoder-decoder"
                        else set(type(loaded)().to_dict()))
    for key, value in config.items():
        part = getattr(loaded, key, None)
        if isinstance(value, dict) and isinstance(part, PretrainedConfig):
            _refuse_unknown(path, value, part, code)
        elif key not in known and value is not None and not re.search(rf"\b{re.escape(key)}\b", code):
            raise ExportError(f"{path}/config.json has {key} for {type(loaded).model_type}, which "
                              "transformers 4.57 does not know: not supported")


def renamed(path: Path, cls: type) -> dict[str, str] | None:
    """The key_mapping of from_pretrained for weights under the names of models that 5 made; None where
    there is nothing but the class's own."""
    if not any(re.search(TOWER, name) for name in _names(path)):
        return None
    own = getattr(cls, "_checkpoint_conversion_mapping", {})
    inner = next((new for old, new in own.items() if old.startswith("^vision_tower")), "vision_tower")
    return {rf"^(?:model\.)?{TOWER}": rf"{inner}.vision_model.\1", **own}


def settle(model, path: Path, missing: list[str]) -> list[str]:
    """What 4.57 does not do itself after it has loaded the weights of a checkpoint of 5: T5's states are
    scaled before the head as the checkpoint says, and of the names that were missing buffers are computed.
    Returns those that are missing still."""
    for module in model.modules():
        config = getattr(module, "config", None)
        if hasattr(config, "scale_decoder_outputs"):
            config.tie_word_embeddings = config.scale_decoder_outputs
    for name in (n for n in missing if n.endswith(COMPUTED)):
        owner, _, key = name.rpartition(".")
        owner = model.get_submodule(owner)
        setattr(owner, key, _window_index(*owner.window_size) if key == COMPUTED[0] else torch.zeros(1))
    file = path / "generation_config.json"
    if file.is_file() and getattr(model, "generation_config", None):
        keys = read_json(file)
        if major(keys) >= 5 and keys.get("max_length") == model.generation_config.max_length:
            model.generation_config.saved_by = keys["transformers_version"]
    return [n for n in missing if not n.endswith(COMPUTED)]


def _window_index(height: int, width: int) -> torch.Tensor:
    """[h*w,h*w]: the row of a Swin's table of biases for each pair of a window's places."""
    places = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    apart = places[:, None] - places[None] + torch.tensor([height - 1, width - 1])
    return apart[..., 0] * (2 * width - 1) + apart[..., 1]
