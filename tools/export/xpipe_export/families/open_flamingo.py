"""OpenFlamingo, from a state dict in its own naming, without installing it.

Modules and names follow mlfoundations/open_flamingo (open_flamingo/src/helpers.py,
flamingo.py, flamingo_lm.py); the arithmetic is Flamingo's (Alayrac et al., 2204.14198),
written here on the exporter's terms: cross-attention keys and values and the
media mask come from outside.

A checkpoint is a state dict (trained parts alone, as released, or everything) or a directory with
one:

    checkpoint.pt | *.pth | *.bin | *.safetensors
    lang_encoder/      config and tokenizer (and weights, unless the state dict has them) of the
                       language model
    vision_encoder/    the same of the CLIP, transformers' naming; preprocessor_config.json
    config.json        optional: {"model_type": "open_flamingo", "heads": 8, "vision_tokens":
                       "patch"}

In config.json "lang_encoder" and "vision_encoder" may name other directories, or be the configs
themselves; the tokenizer and the preprocessor then lie beside config.json. vision_tokens: "patch"
leaves the class token out (version 2, open_clip); "all" keeps it (version 1, CLIPModel).
"""

from __future__ import annotations

import copy
import json
import re
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import (AutoConfig, AutoImageProcessor, AutoModelForCausalLM, CLIPConfig,
                          CLIPImageProcessor, CLIPVisionModel, __version__)

from .. import checkpoint, endtoend, translate
from ..bundle import Bundle
from ..graph import ExportError, GraphSpec
from . import flamingo
from .causal import CausalDecoder, cache_shape, embed_spec
from .common import add_tokenizer, check_pictures, read_tokenizer, release

MEDIA, END_OF_CHUNK = "<image>", "<|endofchunk|>"

DECODER_LAYERS = {"opt": "model.decoder.layers", "gptj": "transformer.h",
                  "gpt_neo": "transformer.h", "gpt_neox": "gpt_neox.layers",
                  "llama": "model.layers", "mpt": "transformer.blocks"}
"""Where a language model of each type keeps its layers."""


def feed_forward(dim: int, inner: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, inner, bias=False), nn.GELU(),
                         nn.Linear(inner, dim, bias=False))


class PerceiverAttention(nn.Module):
    def __init__(self, dim: int, inner: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_media, self.norm_latents = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_q, self.to_kv = nn.Linear(dim, inner, bias=False), nn.Linear(dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, dim, bias=False)

    def forward(self, media, latents):
        media, latents = self.norm_media(media), self.norm_latents(latents)
        key, value = self.to_kv(torch.cat([media, latents], 1)).chunk(2, -1)
        query, key, value = (flamingo.split_heads(x, self.heads) for x in (self.to_q(latents), key, value))
        return self.to_out(flamingo.attend(query, key, value, 0.0, query.shape[-1] ** -0.5)[0])


class Perceiver(nn.Module):
    """image_embeds [N,S,D] -> [N,L,D]; one image at a time, one frame each"""

    def __init__(self, dim: int, inner: int, heads: int, latents: int, depth: int, ff: int, frames: int = 0):
        super().__init__()
        self.latents = nn.Parameter(torch.zeros(latents, dim))
        if frames:
            self.frame_embs = nn.Parameter(torch.zeros(frames, dim))
        self.layers = nn.ModuleList(
            nn.ModuleList([PerceiverAttention(dim, inner, heads), feed_forward(dim, ff)])
            for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(self, media):
        if hasattr(self, "frame_embs"):
            media = media + self.frame_embs[0]
        latents = self.latents.expand(media.shape[0], -1, -1)
        for attention, ff in self.layers:
            latents = attention(media, latents) + latents
            latents = ff(latents) + latents
        return self.norm(latents)


class CrossAttention(nn.Module):
    def __init__(self, dim: int, visual: int, inner: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.to_q, self.to_kv = nn.Linear(dim, inner, bias=False), nn.Linear(visual, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, dim, bias=False)


class GatedBlock(nn.Module):
    """x + tanh(attn_gate) XAttn(x, media), then x + tanh(ff_gate) FF(x). condition() sets the media
    of the next forward."""

    def __init__(self, dim: int, visual: int, inner: int, heads: int, ff: int):
        super().__init__()
        self.attn, self.attn_gate = CrossAttention(dim, visual, inner, heads), nn.Parameter(torch.zeros(1))
        self.ff, self.ff_gate = feed_forward(dim, ff), nn.Parameter(torch.zeros(1))

    def keys_values(self, latents):
        """latents [B,S,Dv] -> key, value [B,heads,S,dim]"""
        return tuple(flamingo.split_heads(x, self.attn.heads) for x in self.attn.to_kv(latents).chunk(2, -1))

    def condition(self, key, value, mask, gate):
        self.media = key, value, mask, gate

    def forward(self, x):
        key, value, mask, gate = self.media
        query = flamingo.split_heads(self.attn.to_q(self.attn.norm(x)), self.attn.heads)
        out, self.map = flamingo.attend(query, key, value, mask, query.shape[-1] ** -0.5)
        x = self.attn.to_out(out) * gate[..., None] * torch.tanh(self.attn_gate) + x
        return self.ff(x) * torch.tanh(self.ff_gate) + x


class GatedLayer(nn.Module):
    """A layer of the language model with a gated block before it."""

    def __init__(self, gated_cross_attn_layer: GatedBlock, decoder_layer: nn.Module):
        super().__init__()
        self.gated_cross_attn_layer, self.decoder_layer = gated_cross_attn_layer, decoder_layer

    def forward(self, hidden_states, *args, **kwargs):
        return self.decoder_layer(self.gated_cross_attn_layer(hidden_states), *args, **kwargs)


class CrossKV(nn.Module):
    """latents [B,S,Dv] -> present.{j}.encoder.key, .value of each gated block"""

    def __init__(self, blocks: list[GatedBlock]):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, latents):
        return tuple(t for block in self.blocks for t in block.keys_values(latents))


class Decoder(nn.Module):
    """See flamingo.decoder_spec."""

    def __init__(self, model: "OpenFlamingo", attention: bool):
        super().__init__()
        self.decoder = CausalDecoder(model.lang_encoder, attention)
        self.layers, self.tokens, self.attention = cache_shape(model.lang_encoder.config)[0], model.tokens, attention
        self.blocks = model.blocks

    def forward(self, inputs_embeds, attention_mask, image_attention_mask, cross_attention_gate,
                num_logits_to_keep, *past):
        own, cross = past[:2 * self.layers], past[2 * self.layers:]
        mask = flamingo.media_mask(image_attention_mask, self.tokens)
        for block, key, value in zip(self.blocks, cross[::2], cross[1::2]):
            block.condition(key, value, mask, cross_attention_gate)
        out = self.decoder(inputs_embeds, attention_mask, num_logits_to_keep, *own)
        return (*out, *(block.map for block in self.blocks)) if self.attention else out


class Patches(nn.Module):
    """A CLIP vision model's states, with or without the class token."""

    def __init__(self, vision: nn.Module, skip: int):
        super().__init__()
        self.vision, self.skip = vision, skip

    def forward(self, pixel_values):
        return self.vision(pixel_values).last_hidden_state[:, self.skip:]


class OpenFlamingo(nn.Module):
    """vision_encoder, perceiver, lang_encoder, as the state dict names them; blocks are the gated
    ones, in order."""

    def __init__(self, vision_encoder: nn.Module, lang_encoder: nn.Module, perceiver: Perceiver,
                 blocks: dict[int, GatedBlock]):
        super().__init__()
        self.vision_encoder, self.lang_encoder, self.perceiver = vision_encoder, lang_encoder, perceiver
        self.numbers, self.blocks = sorted(blocks), [blocks[i] for i in sorted(blocks)]
        self.tokens = perceiver.latents.shape[0]
        layers = lang_encoder.get_submodule(layers_name(lang_encoder))
        for i, block in blocks.items():
            layers[i] = GatedLayer(block, layers[i])


def layers_name(lang_encoder: nn.Module) -> str:
    kind = lang_encoder.config.model_type
    if kind not in DECODER_LAYERS:
        raise ExportError(
            f"language models of type {kind!r} are not known to OpenFlamingo's export; known are "
            f"{sorted(DECODER_LAYERS)}")
    return DECODER_LAYERS[kind]


STATE_DICTS = (".pt", ".pth", ".bin", ".safetensors")


def is_checkpoint(path: Path) -> bool:
    """Whether path is a state dict or a directory laid out as this module's comment says."""
    if path.is_file():
        return path.suffix in STATE_DICTS
    config = path / "config.json"
    named = config.is_file() and '"open_flamingo"' in config.read_text()
    return named or (path / "lang_encoder").is_dir()


def read_state(path: Path) -> dict[str, torch.Tensor]:
    files = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.suffix in STATE_DICTS)
    if len(files) != 1:
        raise ExportError(
            f"{path} should hold one state dict ({', '.join(STATE_DICTS)}), found {[p.name for p in files]}")
    checkpoint.check_pointers(files[0])
    if files[0].suffix == ".safetensors":
        checkpoint.safetensors_header(files[0])
        state = load_file(files[0])
    else:
        try:
            state = torch.load(files[0], map_location="cpu", weights_only=True)
        except Exception as e:  # of a file that is cut off: whatever zip or pickle raises
            raise ExportError(f"{files[0]} is cut off or no state dict: {str(e).partition(chr(10))[0]}") from e
        state = state.get("model_state_dict", state)
    return {k.removeprefix("module.").replace("._checkpoint_wrapped_module", ""): v.float() for k, v in state.items()}


CLIP_OF_5 = r"^((?:embeddings|encoder|pre_layrnorm|post_layernorm)\.)"
"""How the weights of a CLIP's vision encoder begin that transformers 5 made."""


class Part:
    """Where a backbone's config, files and weights are; in the spelling of transformers 4.57 as
    long as opened is. Raises ExportError for files that are no good."""

    def __init__(self, role: str, folder: Path, given, opened: ExitStack):
        self.role, self.saved = role, f"transformers {__version__}"
        if isinstance(given, dict):
            if translate.saved_by_5(folder):
                self.saved = f"transformers {given.get('transformers_version', 5)}"
            self.folder, self.weights = opened.enter_context(translate.translated(folder, {})), False
            self.config = translate.inline(folder, given)
            return
        self.folder = Path(given) if given and Path(given).is_absolute() else folder / (given or role)
        if not (self.folder / "config.json").is_file():
            raise ExportError(
                f"the {role.replace('_', ' ')} is expected in {self.folder}, with config.json; see "
                f"--{role.replace('_', '-')}")
        checkpoint.check_pointers(self.folder)
        config = checkpoint.read_json(self.folder / "config.json")
        checkpoint.check_quantised(self.folder, config)
        if any(self.folder.glob("model*.safetensors*")) or any(self.folder.glob("pytorch_model*")):
            checkpoint.check_weights(self.folder)
        if translate.saved_by_5(self.folder):
            self.saved = f"transformers {config.get('transformers_version', 5)}"
        self.folder = opened.enter_context(translate.translated(self.folder, config))
        self.config = AutoConfig.from_pretrained(self.folder)
        self.weights = any(self.folder.glob("*.safetensors")) or any(self.folder.glob("pytorch_model*.bin"))


def load(path: Path, lang: Path | None = None, vision: Path | None = None) -> tuple[OpenFlamingo, object, object, dict]:
    """The model, tokenizer, image processor and settings of a checkpoint directory. Raises
    ExportError."""
    with ExitStack() as opened:
        return _load(path, lang, vision, opened)


def _load(path: Path, lang: Path | None, vision: Path | None, opened: ExitStack):
    settings = {"heads": 8, "vision_tokens": "patch"}
    folder = path.parent if path.is_file() else path
    if (folder / "config.json").is_file():
        settings |= checkpoint.read_json(folder / "config.json")
    lang = Part("lang_encoder", folder, lang.absolute() if lang else settings.get("lang_encoder"), opened)
    vision = Part("vision_encoder", folder, vision.absolute() if vision else settings.get("vision_encoder"), opened)
    settings["tokenizer_follows"] = lang.saved
    checkpoint.check_tokenizer(lang.folder)
    state = read_state(path)

    tokenizer = read_tokenizer(lang.folder)
    missing = [t for t in (END_OF_CHUNK, MEDIA) if t not in tokenizer.get_vocab()]
    if missing:
        tokenizer.add_special_tokens({"additional_special_tokens": [END_OF_CHUNK, MEDIA]})
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": "<PAD>"})

    lang_encoder, state = _language_model(lang, state)
    rows = lang_encoder.get_input_embeddings().num_embeddings
    checkpoint.check_vocabulary(lang.folder, tokenizer, rows)
    if outside := [t for t in (MEDIA, END_OF_CHUNK) if tokenizer.convert_tokens_to_ids(t) >= rows]:
        raise ExportError(f"{lang.folder}: the tokenizer's {' and '.join(outside)} have no row in the language "
                          f"model's table of {rows}: tokenizer and state dict do not belong together")
    vision_encoder = _vision_encoder(vision, state)
    blocks = _blocks(state, lang_encoder, settings["heads"])
    perceiver = _perceiver(state, settings["heads"])
    model = OpenFlamingo(Patches(vision_encoder, 0 if settings["vision_tokens"] == "all" else 1),
                         lang_encoder, perceiver, blocks).eval()
    size = vision_encoder.config.image_size
    if (vision.folder / "preprocessor_config.json").is_file():
        processor = AutoImageProcessor.from_pretrained(vision.folder, use_fast=False)
    else:
        processor = CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    check_pictures(vision.folder, processor, [size, size])
    return model, tokenizer, processor, settings


def _language_model(part: Part, state: dict) -> tuple[nn.Module, dict]:
    """The language model with whatever the state dict has of it; the rest of the state dict."""
    if part.weights:
        lm = AutoModelForCausalLM.from_pretrained(part.folder, dtype=torch.float32, attn_implementation="eager")
    else:
        lm = AutoModelForCausalLM.from_config(part.config, attn_implementation="eager")
    lm.tie_weights()
    layers = layers_name(lm)
    own, rest = {}, {}
    for key, value in state.items():
        name = key.removeprefix("lang_encoder.")
        if name == key or name.startswith("gated_cross_attn_layers.") or ".gated_cross_attn_layer." in name:
            rest[key] = value
        elif name.startswith("old_decoder_blocks."):
            own.setdefault(f"{layers}.{name.removeprefix('old_decoder_blocks.')}", value)
        else:
            own[name.replace(".decoder_layer.", ".")] = value
    table = [n for n, m in lm.named_modules() if m is lm.get_input_embeddings()][0]
    if (rows := own.get(f"{table}.weight")) is not None and len(rows) != lm.get_input_embeddings().num_embeddings:
        lm.resize_token_embeddings(len(rows), mean_resizing=False)
    known = lm.state_dict()
    unknown = [k for k in own if k not in known
               and not k.endswith(("rotary_emb.inv_freq", "attention.bias", "masked_bias"))]
    if unknown:
        raise ExportError(
            f"the state dict has language model weights that {part.config.model_type} lacks: "
            f"{unknown[:4]} and {max(0, len(unknown) - 4)} more")
    loaded = lm.load_state_dict({k: v for k, v in own.items() if k in known}, strict=False)
    tied = {k for k in lm._tied_weights_keys or []} if lm.config.tie_word_embeddings else set()
    if not part.weights and (absent := [k for k in loaded.missing_keys if k not in tied]):
        raise ExportError(
            f"neither {part.folder} nor the state dict has {absent[:4]} and "
            f"{max(0, len(absent) - 4)} more weights of the language model")
    lm.tie_weights()
    return lm.eval(), rest


def _vision_encoder(part: Part, state: dict) -> nn.Module:
    config = part.config.vision_config if isinstance(part.config, CLIPConfig) else part.config
    own = {k.removeprefix("vision_encoder."): v for k, v in state.items() if k.startswith("vision_encoder.")}
    if not own:
        if not part.weights:
            raise ExportError(f"neither {part.folder} nor the state dict has the vision encoder's weights")
        return CLIPVisionModel.from_pretrained(part.folder, dtype=torch.float32, attn_implementation="eager",
                                               key_mapping={CLIP_OF_5: r"vision_model.\1"}).eval()
    own = {re.sub(CLIP_OF_5, r"vision_model.\1", k.removeprefix("visual.")): v for k, v in own.items()}
    if "conv1.weight" in own:
        own = from_open_clip(own)
    vision = CLIPVisionModel._from_config(config, attn_implementation="eager")
    loaded = vision.load_state_dict({k: v for k, v in own.items() if k.startswith("vision_model.")}, strict=False)
    if absent := [k for k in loaded.missing_keys if "position_ids" not in k]:
        raise ExportError(f"the state dict lacks weights of the vision encoder: {absent[:4]}")
    return vision.eval()


def from_open_clip(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A vision tower in open_clip's naming (and OpenAI's) to transformers'."""
    out = {"vision_model.embeddings.class_embedding": state["class_embedding"],
           "vision_model.embeddings.patch_embedding.weight": state["conv1.weight"],
           "vision_model.embeddings.position_embedding.weight": state["positional_embedding"]}
    for ours, theirs in (("pre_layrnorm", "ln_pre"), ("post_layernorm", "ln_post")):
        for kind in ("weight", "bias"):
            out[f"vision_model.{ours}.{kind}"] = state[f"{theirs}.{kind}"]
    names = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj",
             "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    for key, value in state.items():
        if not key.startswith("transformer.resblocks."):
            continue
        number, _, rest = key.removeprefix("transformer.resblocks.").partition(".")
        layer = f"vision_model.encoder.layers.{number}"
        if rest.startswith("attn.in_proj_"):
            for part, piece in zip("qkv", value.chunk(3)):
                out[f"{layer}.self_attn.{part}_proj.{rest.removeprefix('attn.in_proj_')}"] = piece.clone()
            continue
        module, _, kind = rest.rpartition(".")
        if module in names:
            out[f"{layer}.{names[module]}.{kind}"] = value
    return out


def _heads(inner: int, heads: int) -> int:
    if inner % heads:
        raise ExportError(f"attention is {inner} wide, no multiple of {heads} heads: set \"heads\" "
                          "in config.json")
    return heads


def _perceiver(state: dict, heads: int) -> Perceiver:
    own = {k.removeprefix("perceiver."): v for k, v in state.items() if k.startswith("perceiver.")}
    if "latents" not in own:
        raise ExportError("the state dict has no perceiver.latents: not an OpenFlamingo checkpoint")
    if "media_time_embs" in own:
        raise ExportError("perceivers with media_time_embs are not supported: each image must be "
                          "resampled by itself")
    latents, dim = own["latents"].shape
    depth = 1 + max(int(k.split(".")[1]) for k in own if k.startswith("layers."))
    inner = own["layers.0.0.to_q.weight"].shape[0]
    perceiver = Perceiver(dim, inner, _heads(inner, heads), latents, depth, own["layers.0.1.1.weight"].shape[0],
                          len(own.get("frame_embs", [])))
    perceiver.load_state_dict(own)
    return perceiver


def _blocks(state: dict, lang_encoder: nn.Module, heads: int) -> dict[int, GatedBlock]:
    """The gated blocks by the number of the layer they precede, from either of the two places the
    state dict may name."""
    found: dict[int, dict[str, torch.Tensor]] = {}
    layers = layers_name(lang_encoder)
    for key, value in state.items():
        for prefix, infix in ((f"lang_encoder.{layers}.", "gated_cross_attn_layer."),
                              ("lang_encoder.gated_cross_attn_layers.", "")):
            if key.startswith(prefix):
                number, _, name = key.removeprefix(prefix).partition(".")
                if name.startswith(infix):
                    found.setdefault(int(number), {})[name.removeprefix(infix)] = value
    if not found:
        raise ExportError("the state dict has no gated cross-attention layers")
    blocks = {}
    for i, own in found.items():
        inner, dim = own["attn.to_q.weight"].shape
        blocks[i] = GatedBlock(dim, own["attn.to_kv.weight"].shape[1], inner, _heads(inner, heads),
                               own["ff.1.weight"].shape[0])
        blocks[i].load_state_dict({k: v.reshape(1) if k.endswith("_gate") else v for k, v in own.items()})
    return blocks


def _plain(config) -> dict:
    return {k: v for k, v in config.to_dict().items() if k != "_name_or_path"}


def decoder_spec(model: OpenFlamingo, attention: bool) -> GraphSpec:
    lm, attn = model.lang_encoder, model.blocks[0].attn
    layers, heads, dim = cache_shape(lm.config)
    return flamingo.decoder_spec(Decoder(model, attention),
                                 width=lm.get_input_embeddings().embedding_dim,
                                 vocab=lm.get_output_embeddings().out_features, layers=layers,
                                 heads=heads, dim=dim, cross_layers=len(model.blocks),
                                 cross_heads=attn.heads,
                                 cross_dim=attn.to_q.out_features // attn.heads,
                                 tokens=model.tokens, attention=attention)


def export(path: Path, bundle: Bundle, attention: bool, lang: Path | None = None, vision: Path | None = None) -> None:
    """A checkpoint directory; see the module's comment."""
    model, tokenizer, processor, settings = load(path, lang, vision)
    lm = model.lang_encoder
    vocab = lm.get_input_embeddings().num_embeddings
    cross_heads, width = model.blocks[0].attn.heads, model.blocks[0].attn.to_kv.in_features
    cross_dim = model.blocks[0].attn.to_q.out_features // cross_heads
    media, end = (tokenizer.convert_tokens_to_ids(t) for t in (MEDIA, END_OF_CHUNK))

    bundle.meta |= {"variant": "openflamingo", "tasks": ["caption", "answer", "converse"],
                    "tokens_per_image": model.tokens, "cross_layers": model.numbers,
                    "prompts": {"caption": "Output:", "answer": "Question: {} Short answer:"},
                    "markup": {"begin": "", "image": MEDIA, "next_image": MEDIA,
                               "end": END_OF_CHUNK, "add_special_tokens": True},
                    "media": {"token": MEDIA, "reset_after_eos": False}}
    if limit := getattr(lm.config, "max_position_embeddings", None) or getattr(lm.config, "max_seq_len", None):
        bundle.meta["limits"] = {"max_positions": limit}
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(bundle.dir)
    add_tokenizer(bundle, "tokenizer.json", tokenizer)
    bundle.meta["tokenizer_follows"] = settings["tokenizer_follows"]
    if answers := _reference(model, tokenizer, processor):
        bundle.verify = lambda folder: endtoend.check(folder, answers, bundle.dtype)
    processor.save_pretrained(bundle.dir)
    bundle.add_json("config.json", {"model_type": "open_flamingo",
                                    "lang_encoder": _plain(lm.config),
                                    "vision_encoder": _plain(model.vision_encoder.vision.config),
                                    "heads": settings["heads"],
                                    "vision_tokens": settings["vision_tokens"],
                                    "media_token_id": media, "eoc_token_id": end})
    bundle.add_json("generation_config.json", {"eos_token_id": end,
                                               "pad_token_id": tokenizer.pad_token_id,
                                               "bos_token_id": tokenizer.bos_token_id})

    config = model.vision_encoder.vision.config
    maps = [layer.self_attn for layer in model.vision_encoder.vision.vision_model.encoder.layers] if attention else []
    bundle.add_graph("vision_encoder", flamingo.vision_spec(model.vision_encoder, config.image_size, maps))
    release(model, "vision_encoder")
    bundle.add_graph("resampler", flamingo.resampler_spec(
        model.perceiver, model.perceiver.latents.shape[1], len(model.perceiver.layers) if attention else 0))
    release(model, "perceiver")
    bundle.add_graph("cross_kv", flamingo.cross_kv_spec(CrossKV(model.blocks), width,
                                                        len(model.blocks), cross_heads, cross_dim))
    bundle.add_graph("embed_tokens", embed_spec(lm.get_input_embeddings(), vocab))
    bundle.add_graph("decoder", decoder_spec(model, attention))


def _reference(model: OpenFlamingo, tokenizer, processor) -> endtoend.Reference | None:
    """Answers by a Flamingo in the original's terms, which shares the weights and no code: it knows
    gated blocks before every so many layers, feed-forwards four times as wide, and no frame_embs."""
    from ..golden.open_flamingo_reference import Flamingo, init_flamingo

    every, attn, perceiver = model.numbers[0] + 1, model.blocks[0].attn, model.perceiver
    layers = layers_name(model.lang_encoder)
    count = len(model.lang_encoder.get_submodule(layers))
    if model.numbers != list(range(every - 1, count, every)) or hasattr(perceiver, "frame_embs"):
        return None
    wide = [ff[1] for ff in (perceiver.layers[0][1], model.blocks[0].ff)]
    if any(linear.out_features != 4 * linear.in_features for linear in wide):
        return None
    shared = {id(t): t for t in (*model.parameters(), *model.buffers())}
    lm = copy.deepcopy(model.lang_encoder, shared)
    places = lm.get_submodule(layers)
    for i in model.numbers:
        places[i] = places[i].decoder_layer
    media, end = (tokenizer.convert_tokens_to_ids(t) for t in (MEDIA, END_OF_CHUNK))
    width, dim = attn.to_kv.in_features, attn.to_q.out_features // attn.heads
    own = perceiver.layers[0][0]
    with torch.device("meta"):
        init_flamingo(lm, layers, every, media, width, attn.heads, dim)
        theirs = Flamingo(model.vision_encoder.vision, lm, width, perceiver.latents.shape[0], len(perceiver.layers),
                          own.heads, own.to_q.out_features // own.heads, model.vision_encoder.skip)
    theirs.perceiver.load_state_dict(perceiver.state_dict(), assign=True)
    for i, block in zip(model.numbers, model.blocks):
        places[i].gated_cross_attn_layer.load_state_dict(block.state_dict(), assign=True)
    theirs.eval()
    pictures = list(endtoend.pictures(model.vision_encoder.vision.config.image_size, 2))
    pixels = processor(pictures, return_tensors="pt").pixel_values
    text = f"{MEDIA}{endtoend.TEXTS[0]}{END_OF_CHUNK}{MEDIA}{endtoend.TEXTS[1]}"
    ids = torch.tensor([tokenizer(text).input_ids])
    given = {"vision_x": pixels[None], "lang_x": ids, "attention_mask": torch.ones_like(ids),
             "eos_token_id": end, "pad_token_id": tokenizer.pad_token_id}
    written, logits = endtoend.generated(theirs, given, endtoend.STEPS)
    row = {"input_ids": ids[0].numpy(), "images": [0, 1]}
    return endtoend.flamingo(row, pixels.float().numpy(), written, logits)
