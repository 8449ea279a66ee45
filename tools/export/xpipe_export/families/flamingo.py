"""What IDEFICS and OpenFlamingo share: the contract of the decoder with gated cross-attention."""

from __future__ import annotations

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..graph import ExportError, GraphSpec, difference
from .blip2 import Captured
from .causal import KEEP, cache_names, padded_mask


class Images(nn.Module):
    """pixel_values [N,3,H,W] -> image_embeds [N,S,Dv]; N counts all images of all prompts"""

    def __init__(self, encode: nn.Module, attention: list[nn.Module] = ()):
        super().__init__()
        self.encode, self.attention = encode, list(attention)

    def forward(self, pixel_values):
        with Captured(self.attention, ask=True) as maps:
            out = self.encode(pixel_values)
        embeds = out if isinstance(out, torch.Tensor) else out.last_hidden_state
        return (embeds, *maps) if maps else embeds


class Softmaxes(TorchFunctionMode):
    """Collects what every softmax gives while it is entered: resamplers hand out no attention."""

    def __init__(self):
        super().__init__()
        self.maps: list[torch.Tensor] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") == "softmax":
            self.maps.append(out)
        return out


class Resampler(nn.Module):
    """image_embeds [N,S,Dv] -> latents [N,L,Dv] (, cross_attn.{i} [N,heads,L,S+L]: latents over
    patches and themselves)"""

    def __init__(self, resampler: nn.Module, attention: bool = False):
        super().__init__()
        self.resampler, self.attention = resampler, attention

    def forward(self, image_embeds):
        if not self.attention:
            return self.resampler(image_embeds)
        with Softmaxes() as seen:
            latents = self.resampler(image_embeds)
        return latents, *seen.maps


def split_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """[B,T,heads*dim] -> [B,heads,T,dim]"""
    return x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], -1)


def attend(query, key, value, mask, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Softmax attention, [B,heads,T,dim]; returns the result [B,T,heads*dim] and the
    probabilities."""
    probabilities = (query @ key.transpose(-1, -2) * scale + mask).softmax(-1)
    return merge_heads(probabilities @ value), probabilities


def media_mask(image_attention_mask: torch.Tensor, tokens: int) -> torch.Tensor:
    """[B,T,I] of 0 and 1 -> additive [B,1,T,I*tokens]"""
    b, t, i = image_attention_mask.shape
    wide = image_attention_mask[..., None].expand(b, t, i, tokens).reshape(b, t, i * tokens)
    return torch.where(wide[:, None] > 0, 0.0, torch.finfo(torch.float32).min)


def one_image_each(batch: int, length: int, images: int) -> torch.Tensor:
    """An int64 [B,T,I] mask like a prompt's: no image at first, then one after the other."""
    mask = torch.zeros(batch, length, images, dtype=torch.int64)
    for row in range(batch):
        for t in range(length):
            image = (t + row + 1) * (images + 1) // (length + batch) - 1
            if image >= 0:
                mask[row, t, image] = 1
    return mask


def vision_spec(encode: nn.Module, size: int, attention: list[nn.Module] = ()) -> GraphSpec:
    maps = [f"self_attn.{i}" for i in range(len(attention))]
    axes = ({"pixel_values": ["images", 3, size, size],
             "image_embeds": ["images", "tokens", "width"]}
            | {m: ["images", "heads", "tokens", "tokens"] for m in maps})
    return GraphSpec(Images(encode, attention),
                     lambda s: {"pixel_values": torch.randn(s["images"], 3, size, size)},
                     ["image_embeds", *maps], axes,
                     {"images": 2}, [{"images": 1}, {"images": 3}])


def resampler_spec(resampler: nn.Module, width: int, layers: int = 0) -> GraphSpec:
    """layers: of whose attention maps are given."""
    maps = [f"cross_attn.{i}" for i in range(layers)]
    axes = ({"image_embeds": ["images", "tokens", width], "latents": ["images", "latents", width]}
            | {m: ["images", "heads", "latents", "sources"] for m in maps})
    return GraphSpec(Resampler(resampler, bool(maps)),
                     lambda s: {"image_embeds": torch.randn(s["images"], s["tokens"], width)},
                     ["latents", *maps], axes,
                     {"images": 2, "tokens": 5},
                     [{"images": 1, "tokens": 17}, {"images": 3, "tokens": 4}])


def cross_kv_spec(module: nn.Module, width: int, layers: int, heads: int, dim: int) -> GraphSpec:
    """module: latents [B,S,Dv] -> 2*layers tensors [B,heads,S,dim]"""
    kv = cache_names("present", layers, ".encoder")
    axes = {"latents": ["batch", "source", width]} | {n: ["batch", heads, "source", dim] for n in kv}
    return GraphSpec(module, lambda s: {"latents": torch.randn(s["batch"], s["source"], width)}, kv, axes,
                     {"batch": 2, "source": 5}, [{"batch": 1, "source": 16}, {"batch": 3, "source": 8}])


def decoder_spec(module: nn.Module, *, width: int, vocab: int, layers: int, heads: int, dim: int,
                 cross_layers: int, cross_heads: int, cross_dim: int, tokens: int, attention: bool) -> GraphSpec:
    """module's forward: inputs_embeds, attention_mask, image_attention_mask, cross_attention_gate,
    num_logits_to_keep, then the 2*layers self and the 2*cross_layers cross cache tensors; it gives
    logits, the 2*layers grown tensors and, with attention, the self maps and the cross maps."""
    own, cross = (cache_names("past_key_values", layers, ".decoder"),
                  cache_names("past_key_values", cross_layers, ".encoder"))
    present = cache_names("present", layers, ".decoder")

    def make(s):
        mask = one_image_each(s["batch"], s["length"], s["images"])
        inputs = {"inputs_embeds": torch.randn(s["batch"], s["length"], width) * 0.5,
                  "attention_mask": padded_mask(s["batch"], s["past"], s["length"]),
                  "image_attention_mask": mask, "cross_attention_gate": mask.any(-1).float(),
                  KEEP: torch.tensor(s["keep"])}
        inputs |= {n: torch.randn(s["batch"], heads, s["past"], dim) for n in own}
        return inputs | {n: torch.randn(s["batch"], cross_heads, s["images"] * tokens, cross_dim) for n in cross}

    maps = [f"self_attn.{i}" for i in range(layers)] + [f"cross_attn.{i}"
                                                        for i in range(cross_layers)] if attention else []
    axes = {"inputs_embeds": ["batch", "length", width], "attention_mask": ["batch", "total"],
            "image_attention_mask": ["batch", "length", "images"],
            "cross_attention_gate": ["batch", "length"], KEEP: [],
            "logits": ["batch", "kept", vocab]}
    axes |= ({n: ["batch", heads, "past", dim] for n in own}
             | {n: ["batch", cross_heads, "source", cross_dim] for n in cross})
    axes |= {n: ["batch", heads, "total", dim] for n in present}
    axes |= {n: ["batch", "heads", "length", "source" if n.startswith("cross") else "total"] for n in maps}
    return GraphSpec(module, make, ["logits", *present, *maps], axes,
                     {"batch": 2, "length": 6, "past": 5, "images": 4, "keep": 3},
                     [{"batch": 1, "length": 7, "past": 0, "images": 1, "keep": 1},
                      {"batch": 3, "length": 6, "past": 0, "images": 2, "keep": 0},
                      {"batch": 1, "length": 1, "past": 11, "images": 3, "keep": 1},
                      {"batch": 3, "length": 2, "past": 6, "images": 1, "keep": 2}])


def check_against(what: str, got: torch.Tensor, want: torch.Tensor, limit: float) -> None:
    """The wrappers compute attention themselves: compare them with the model they were taken
    from."""
    absolute, relative = difference(got.detach().numpy(), want.detach().numpy())
    if relative > limit:
        raise ExportError(
            f"{what}: the exporter's decoder differs from the model by {absolute:.3g} "
            f"({relative:.3g} of its range, limit {limit:g})")


