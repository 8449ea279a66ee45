"""LoRA adapters of PEFT, merged into the checkpoint they were trained on.

Only what is a sum of matrices: W + scale * B A. peft itself is not needed.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors import safe_open

from .checkpoint import read_json, safetensors_header
from .graph import ExportError

CONFIG = "adapter_config.json"
PREFIX = "base_model.model."
REFUSED = ("use_dora", "alpha_pattern", "rank_pattern", "layer_replication", "trainable_token_indices",
           "target_parameters", "alora_invocation_tokens")
"""Settings that make of an adapter more than the sum above."""


class Adapter:
    """An adapter's directory, read.

    base is the directory of the checkpoint it was trained on. Raises ExportError where that is not
    there, or where the adapter is of a kind that is not merged.
    """

    def __init__(self, path: Path):
        self.path, self.config = path, read_json(path / CONFIG)
        kind = self.config.get("peft_type")
        if kind != "LORA":
            raise ExportError(f"{path} is a PEFT adapter of type {kind}; LORA alone is merged: merge "
                              "it with peft's merge_and_unload and export the result")
        if used := [k for k in REFUSED if self.config.get(k)]:
            raise ExportError(f"{path / CONFIG} uses {', '.join(used)}: merge the adapter with "
                              "peft's merge_and_unload and export the result")
        name = self.config.get("base_model_name_or_path") or ""
        places = [path / name, Path(name)] if name else []
        found = next((p for p in places if (p / "config.json").is_file()), None)
        if found is None:
            raise ExportError(f"{path} is a PEFT adapter alone, without the weights of its base "
                              f"{name or '(unnamed)'}: base_model_name_or_path in {CONFIG} must "
                              "name a directory with them")
        self.base = found
        self.file = path / "adapter_model.safetensors"
        if not self.file.is_file():
            raise ExportError(f"{path} has {CONFIG} and no {self.file.name}")
        safetensors_header(self.file)

    def merge(self, model: torch.nn.Module) -> None:
        """Add the adapter to the weights of its base. Raises ExportError where a tensor has no
        place, or does not fit."""
        rank, alpha = self.config["r"], self.config.get("lora_alpha", 8)
        scale = alpha / (rank**0.5 if self.config.get("use_rslora") else rank)
        weights = dict(model.named_parameters(remove_duplicate=False))
        with safe_open(self.file, "pt") as f, torch.no_grad():
            keys = set(f.keys())
            for key in sorted(keys):
                name = key.removeprefix(PREFIX)
                if match := re.fullmatch(r"(.+)\.lora_A(\.default)?\.weight", name):
                    down, up = f.get_tensor(key), key.replace(".lora_A", ".lora_B")
                    if up not in keys:
                        raise ExportError(f"{self.file} has {key} and no {up}")
                    change = scale * (f.get_tensor(up).float() @ down.float())
                    change = change.T if self.config.get("fan_in_fan_out") else change
                    weight = self._place(weights, f"{match[1]}.weight", change)
                    weight += change
                elif not re.search(r"\.lora_B(\.default)?\.weight$", name):
                    # what was trained whole: modules_to_save, biases
                    value = f.get_tensor(key)
                    self._place(weights, name, value).copy_(value)

    def _place(self, weights: dict, name: str, value: torch.Tensor) -> torch.Tensor:
        place = weights.get(name)
        if place is None or place.shape != value.shape:
            raise ExportError(f"{self.file}: {name} {list(value.shape)} has no place in {self.base}")
        return place
