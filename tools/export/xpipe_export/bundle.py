"""Writes a bundle directory: graphs, projections, the files of the checkpoint, xpipe.json.

The format is described in ../../models/BUNDLE.md. A bundle is built in a directory beside its
place and renamed when it is whole, so a failed export leaves nothing that looks right.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Callable

import numpy as np
import onnx
import onnxruntime
import torch
import transformers
from safetensors.torch import save_file
from tqdm import tqdm

from . import __version__
from .graph import ExportError, GraphReport, GraphSpec, export_graph
from .weights import data_file, embed, reads

FORMAT = 1

FILES = {
    "vision_encoder": "vision_encoder", "qformer": "qformer", "embed_tokens": "embed_tokens",
    "decoder": "decoder_model_merged", "encoder": "encoder_model", "text_encoder": "text_model", "audio_encoder": "audio_model",
    "vision_model": "vision_model", "text_model": "text_model", "model": "model",
}
"""Role to file name where the two differ or transformers.js has a name for it; other roles are
files of their own name."""


class Bundle:
    """A bundle being written.

    with Bundle(out, name=..., family="blip2") as b:
        b.add_graph("qformer", spec)
        b.add_projection({"language_projection.weight": w, ...})
        b.add_json("config.json", {...}); b.add_file("tokenizer.json", path)
        b.meta["prompts"] = {...}

    On leaving the block without an error the directory appears at out. dtype and
    opset are defaults of add_graph; overwrite replaces an existing bundle (and
    nothing else: a directory without xpipe.json is never removed).
    """

    def __init__(self, out, *, name: str, family: str, dtype: str = "fp32", opset: int = 17, source: str = "",
                 overwrite: bool = False, progress: bool = True, consume: bool = False):
        self.out = Path(out)
        self.dtype, self.opset, self.progress, self.consume = dtype, opset, progress, consume
        if self.out.exists() and any(self.out.iterdir() if self.out.is_dir() else [0]):
            if not overwrite:
                raise ExportError(f"{self.out} exists; choose another place or --force")
            if not (self.out / "xpipe.json").is_file():
                raise ExportError(f"{self.out} exists and is not a bundle: refusing to replace it")
        self.dir = self.out.with_name(self.out.name + ".partial")
        self.meta: dict = {"format": FORMAT, "name": name, "family": family}
        self.graphs: dict[str, str] = {}
        self.reports: dict[str, GraphReport] = {}
        self.projection: dict[str, torch.Tensor] = {}
        self.source = source
        self.verify: Callable[[Path], dict] | None = None
        """Compares the whole bundle with its source; what it returns is `end_to_end` of the
        provenance."""
        self.try_out: Callable[[Path], object] | None = None
        """Opens the whole bundle as its reader does; raises where that fails."""

    def __enter__(self) -> "Bundle":
        if self.dir.exists():
            shutil.rmtree(self.dir)
        (self.dir / "onnx").mkdir(parents=True)
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            shutil.rmtree(self.dir, ignore_errors=True)
            return
        try:
            self._finish()
        except BaseException:
            shutil.rmtree(self.dir, ignore_errors=True)
            raise

    def add_graph(self, role: str, spec: GraphSpec, *, dtype: str | None = None) -> GraphReport:
        """Export and verify spec as the graph of role."""
        file = f"onnx/{FILES.get(role, role)}.onnx"
        with self._stages(role) as step:
            report = export_graph(spec, self.dir / file, dtype=dtype or self.dtype, opset=self.opset,
                                  consume=self.consume, embedded=False, step=step)
        self.graphs[role] = file
        self.reports[role] = report
        return report

    def add_projection(self, tensors: dict[str, torch.Tensor]) -> None:
        """Linear maps applied in Go; names as in the checkpoint, float32, weights [out, in]."""
        for k, v in tensors.items():
            if v is not None:
                self.projection[k] = v.detach().to(torch.float32).contiguous().clone()

    def add_linear(self, name: str, linear: torch.nn.Linear) -> None:
        self.add_projection({f"{name}.weight": linear.weight, f"{name}.bias": linear.bias})

    def add_json(self, name: str, value: dict) -> None:
        (self.dir / name).write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")

    def add_file(self, name: str, path) -> None:
        target = self.dir / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)

    @contextmanager
    def _stages(self, role: str):
        with tqdm(total=4, desc=role, disable=not self.progress, unit="stage", leave=True,
                  bar_format="{desc:16} {bar:24} {n}/{total} {postfix} [{elapsed}]") as bar:
            started = False

            def step(name: str) -> None:
                nonlocal started
                if started:
                    bar.update(1)
                started = True
                bar.set_postfix_str(name)

            yield step
            bar.set_postfix_str("done")
            bar.update(bar.total - bar.n)

    def _finish(self) -> None:
        if self.projection:
            save_file(self.projection, self.dir / "projection.safetensors", metadata={"format": "pt"})
            self.meta["projection"] = "projection.safetensors"
        self.meta["graphs"] = self.graphs
        self.meta["dtype"] = self.dtype
        self.meta["provenance"] = {
            "source": self.source, "exporter": __version__, "date": date.today().isoformat(), "opset": self.opset,
            "python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
            "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__, "numpy": np.__version__,
            "max_abs_diff": {r: rep.as_json()["max_abs_diff"] for r, rep in self.reports.items()},
            "graphs": {r: rep.as_json() for r, rep in self.reports.items()},
        }
        if self.verify:
            self.add_json("xpipe.json", self.meta)
            self.meta["provenance"]["end_to_end"] = self.verify(self.dir)
        graphs = [self.dir / file for file in self.graphs.values()]
        alone = [path for path in graphs  # found first: to read a graph with its weights is to hold them
                 if not any(reads(other, data_file(path)) for other in graphs if other != path)]
        for path in alone:
            embed(path)
        files = sorted(p for p in self.dir.rglob("*") if p.is_file() and p.name != "xpipe.json")
        self.meta["sha256"] = {p.relative_to(self.dir).as_posix(): sha256(p) for p in files}
        self.add_json("xpipe.json", self.meta)
        if self.try_out:
            self.try_out(self.dir)
        old = self.out.with_name(self.out.name + ".old")
        if self.out.exists():  # set aside, and not removed first: the place is never empty for long
            shutil.rmtree(old, ignore_errors=True)
            self.out.rename(old)
        self.dir.rename(self.out)
        shutil.rmtree(old, ignore_errors=True)


def sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while piece := f.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()
