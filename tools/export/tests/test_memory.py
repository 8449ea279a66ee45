"""Pages of mapped files are given back, and nothing else."""

import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from test_checkpoints import clip, save

from xpipe_export import graph, memory
from xpipe_export.cli import export_checkpoint
from xpipe_export.golden import core

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts pages as Linux does")


def mapped(path):
    save_file({"w": torch.arange(4 << 20, dtype=torch.float32)}, path)
    with safe_open(path, "pt") as f:
        return f.get_tensor("w")


def test_drop(tmp_path):
    w = mapped(tmp_path / "a.safetensors")
    total = float(w.sum())
    before = memory.resident()
    memory.drop([tmp_path / "a.safetensors"])
    assert before - memory.resident() > 8 << 20
    assert float(w.sum()) == total


def test_what_was_written_to_is_kept(tmp_path):
    w = mapped(tmp_path / "a.safetensors")
    w[5] = -1
    memory.drop([tmp_path / "a.safetensors"])
    assert w[5] == -1


def test_watched(tmp_path, monkeypatch):
    w = mapped(tmp_path / "a.safetensors")
    monkeypatch.setattr(memory, "STEP", 1 << 20)
    with memory.watched([tmp_path / "a.safetensors"]):
        want = np.arange(4 << 20, dtype=np.float32)
        assert all(torch.equal(w, torch.from_numpy(want)) for _ in range(3))


def test_export_of_mapped_weights_is_the_same(tmp_path, monkeypatch):
    """Pages given back after every module, graphs run as they stand: the same files."""
    model = clip()
    core.randomise(model, 3)
    save(model, tmp_path / "checkpoint")
    files = []
    for name in ("plain", "mapped"):
        meta = export_checkpoint(tmp_path / "checkpoint", tmp_path / name, progress=False)
        files.append(meta["sha256"])
        monkeypatch.setattr(memory, "STEP", 0)
        monkeypatch.setattr(graph, "MAPPED_BYTES", 0)
    assert files[0] == files[1]
