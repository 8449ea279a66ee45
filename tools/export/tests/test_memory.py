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


def test_libraries_can_be_given_back():
    assert any("libtorch_cpu" in name for name in memory.libraries())
    memory.drop(memory.libraries())
    after = memory.resident()
    assert float((torch.ones(64, 64) @ torch.ones(64, 64)).sum()) == 64 ** 3
    assert after < 128 << 20


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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_checkpoint_is_mapped_as_float32(tmp_path, monkeypatch, dtype):
    """The same files as where it is converted in memory, and nothing left beside them."""
    model = clip()
    core.randomise(model, 3)
    save(model.to(dtype), tmp_path / "checkpoint")
    files = []
    for name in ("plain", "mapped"):
        meta = export_checkpoint(tmp_path / "checkpoint", tmp_path / "out" / name, progress=False)
        files.append(meta["sha256"])
        monkeypatch.setattr(memory, "STEP", 0)
    assert files[0] == files[1]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["mapped", "plain"]


def test_tracing_leaves_no_weights_behind(tmp_path):
    """Torch would hold a transposed copy of each until the graph is made: its inference of shapes is
    given none."""
    seen = []
    infer = torch._C._jit_pass_onnx_graph_shape_type_inference

    def watch(made, weights, opset):
        seen.append(max((w.numel() for w in weights.values()), default=0))
        return infer(made, weights, opset)

    spec = graph.GraphSpec(torch.nn.Linear(64, 64), lambda s: {"x": torch.randn(s["batch"], 64)}, ["y"],
                           {"x": ["batch", 64], "y": ["batch", 64]}, {"batch": 2}, [{"batch": 3}])
    torch._C._jit_pass_onnx_graph_shape_type_inference = watch
    try:
        graph.export_graph(spec, tmp_path / "square.onnx")
        assert torch._C._jit_pass_onnx_graph_shape_type_inference is watch
    finally:
        torch._C._jit_pass_onnx_graph_shape_type_inference = infer
    assert seen and max(seen) < graph.SHAPE_ELEMENTS
