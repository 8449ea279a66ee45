"""One graph: what is written, what is verified, what is refused."""

import json

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from xpipe_export import graph
from xpipe_export.bundle import Bundle, sha256
from xpipe_export.graph import ExportError, GraphSpec, export_graph


class Net(nn.Module):
    def __init__(self, out=24):
        super().__init__()
        self.table = nn.Embedding(200, 32)
        self.a, self.norm, self.b = nn.Linear(32, 64), nn.LayerNorm(64), nn.Linear(64, out)

    def forward(self, ids):
        return self.b(torch.nn.functional.gelu(self.norm(self.a(self.table(ids)))))


def spec(module=None, **changes):
    values = dict(module=module or Net(),
                  make=lambda s: {"ids": torch.randint(0, 200, (s["batch"], s["length"]))},
                  outputs=["y"],
                  axes={"ids": ["batch", "length"], "y": ["batch", "length", "width"]},
                  trace={"batch": 2, "length": 3},
                  checks=[{"batch": 1, "length": 1}, {"batch": 3, "length": 9}])
    return GraphSpec(**(values | changes))


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "int8"])
def test_dtypes(tmp_path, dtype, opset):
    torch.manual_seed(3)
    net = Net()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    report = export_graph(spec(net), tmp_path / "net.onnx", dtype=dtype, opset=opset)
    assert report.max_abs_diff < 1e-5
    same = [torch.equal(v, before[k]) for k, v in net.state_dict().items()]
    assert all(same), "the module's weights must stay as they were"
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model)
    kinds = {t.name: t.data_type for t in model.graph.initializer if len(t.dims) == 2}
    if dtype == "fp16":
        assert set(kinds.values()) == {onnx.TensorProto.FLOAT16}
        assert 0 < report.rounding_abs_diff < 0.01
        gather = next(n for n in model.graph.node if n.op_type == "Gather")
        assert gather.input[0] in kinds, "the table is gathered from before it is cast"
    if dtype == "int8":
        assert any(n.op_type == "MatMulInteger" for n in model.graph.node)
        assert 0 < report.rounding_abs_diff < 0.2
    assert [i.name for i in model.graph.input] == ["ids"]


def test_external_data(tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "EXTERNAL_BYTES", 1000)
    export_graph(spec(), tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx_data").stat().st_size > 10_000
    assert (tmp_path / "net.onnx").stat().st_size < 10_000
    onnx.checker.check_model(str(tmp_path / "net.onnx"))


def test_shape_dependent_python_is_caught(tmp_path):
    class Frozen(Net):
        def forward(self, ids):
            return super().forward(ids) * ids.shape[1].__int__()  # the tracer freezes the int

    with pytest.raises(ExportError, match="differs from torch by"):
        export_graph(spec(Frozen()), tmp_path / "net.onnx")


def test_dropout_is_off(tmp_path):
    net = nn.Sequential(Net(), nn.Dropout(0.5)).train()
    export_graph(spec(net), tmp_path / "net.onnx")


def test_refusals(tmp_path):
    with pytest.raises(ExportError, match="opset 12"):
        export_graph(spec(), tmp_path / "n.onnx", opset=12)
    with pytest.raises(ExportError, match="dtype"):
        export_graph(spec(), tmp_path / "n.onnx", dtype="q4")
    with pytest.raises(ExportError, match="no axes"):
        export_graph(spec(axes={"ids": ["batch", "length"]}), tmp_path / "n.onnx")


def test_batchnorm_is_fused():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
                        nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4))
    net(torch.randn(16, 3, 9, 9))  # running statistics
    fused = graph.fuse_batchnorm(net, torch.randn(2, 3, 9, 9))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in net.modules())


def test_bundle(tmp_path):
    out = tmp_path / "b"
    with Bundle(out, name="n", family="blip2", progress=False) as b:
        b.add_graph("qformer", spec())
        b.add_linear("language_projection", nn.Linear(4, 3))
        b.add_json("config.json", {"a": 1})
    meta = json.loads((out / "xpipe.json").read_text())
    assert meta["graphs"] == {"qformer": "onnx/qformer.onnx"} and meta["projection"] == "projection.safetensors"
    assert set(meta["sha256"]) == {"onnx/qformer.onnx", "projection.safetensors", "config.json"}
    assert meta["sha256"]["config.json"] == sha256(out / "config.json")
    assert meta["provenance"]["torch"].startswith("2.8.0") and meta["provenance"]["opset"] == 17
    with pytest.raises(ExportError, match="exists"):
        Bundle(out, name="n", family="blip2")


def test_failed_export_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError):
        with Bundle(tmp_path / "b", name="n", family="blip2", progress=False):
            raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("x")
    with pytest.raises(ExportError, match="not a bundle"):
        Bundle(tmp_path / "other", name="n", family="blip2", overwrite=True)


def test_difference_is_relative_only_above_one():
    a = np.array([0.5, 400.0])
    assert graph.difference(a + 1e-3, a)[1] < 1e-4
    assert graph.difference(a / 1000 + 1e-3, a / 1000)[1] > 1e-4
