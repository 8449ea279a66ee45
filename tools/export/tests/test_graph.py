"""One graph: what is written, what is verified, what is refused."""

import json

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from xpipe_export import graph, nbits, waves, weights
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
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "int8", "int4"])
def test_dtypes(tmp_path, monkeypatch, dtype, opset):
    monkeypatch.setattr(nbits, "MIN_ELEMENTS", 100)
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
    if dtype in nbits.BITS:
        kinds = [n.op_type for n in model.graph.node if n.domain]
        assert sorted(kinds) == ["GatherBlockQuantized", "MatMulNBits", "MatMulNBits"]
        assert 0 < report.rounding_abs_diff < (0.02 if dtype == "int8" else 0.3)
    assert [i.name for i in model.graph.input] == ["ids"]


def test_external_data(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "EXTERNAL_BYTES", 1000)
    export_graph(spec(), tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx_data").stat().st_size > 10_000
    assert (tmp_path / "net.onnx").stat().st_size < 10_000
    onnx.checker.check_model(str(tmp_path / "net.onnx"))


@pytest.mark.parametrize("bits", [4, 8])
def test_blocks_of_few_bits(bits):
    """The value furthest from zero is exact, all others are within half a step; storing what was
    stored changes nothing."""
    rows = torch.randn(5, 70)
    rows[2, :32] = 0
    q, scales = nbits.quantise(rows, bits)
    back = nbits.restore(q, scales, bits, 70)
    assert q.shape == (5, 3, 32) and torch.equal(back, nbits.rounded(rows, bits))
    steps = scales.abs().repeat_interleave(32, 1)[:, :70]
    # the far end has no opposite: what would be there is a whole step away
    assert ((back - rows).abs() <= steps * 1.001).all()
    assert torch.equal(back[:, rows.abs().argmax(1)].diagonal(), rows[:, rows.abs().argmax(1)].diagonal())
    assert torch.allclose(nbits.rounded(back, bits), back, atol=1e-6)
    if bits == 4:
        pairs = nbits.packed(q, 4)
        assert torch.equal(pairs & 15, q[..., ::2]) and torch.equal(pairs >> 4, q[..., 1::2])


def test_searched_scales_are_nearer():
    rows = torch.randn(40, 64)
    error = lambda small: (nbits.rounded(rows, 4, small) - rows).square().sum()
    assert error(True) < 0.95 * error(False)
    scales = nbits.quantise(rows, 4, True)[1]
    assert torch.equal(scales.half().float(), scales)


def test_gemm_and_shared_weights_in_few_bits(tmp_path, monkeypatch):
    """A product with a bias on two dimensions; a table that is a head, too; a table that something
    else reads stays as it is."""
    monkeypatch.setattr(nbits, "MIN_ELEMENTS", 100)

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.pooled, self.other = nn.Embedding(40, 32), nn.Linear(32, 32), nn.Embedding(40, 32)

        def forward(self, ids):
            x = self.pooled(self.table(ids)[:, 0]) + self.other(ids)[:, 0] + self.other.weight.sum()
            return x @ self.table.weight.T

    torch.manual_seed(4)
    tied = spec(Tied(), make=lambda s: {"ids": torch.randint(0, 40, (s["batch"], s["length"]))},
                axes={"ids": ["batch", "length"], "y": ["batch", 40]})
    report = export_graph(tied, tmp_path / "net.onnx", dtype="int4")
    assert report.max_abs_diff < 1e-4
    model = onnx.load(tmp_path / "net.onnx")
    assert sorted(n.op_type for n in model.graph.node if n.domain) == [
        "GatherBlockQuantized", "MatMulNBits", "MatMulNBits"]
    assert sum(t.name == "other.weight" for t in model.graph.initializer) == 1


@pytest.mark.parametrize("dtype", ["int8-fp16", "int4-fp16"])
def test_all_is_small(tmp_path, monkeypatch, dtype):
    """A table that is a head by the same view lies there once; scales and what is left are float16; a
    table of sine waves is computed."""
    monkeypatch.setattr(nbits, "MIN_ELEMENTS", 100)
    monkeypatch.setattr(waves, "SMALLEST", 100)
    monkeypatch.setattr(weights, "FP16_MIN_ELEMENTS", 100)

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.conv = nn.Embedding(40, 64), nn.Conv1d(64, 64, 3, padding=1)
            self.register_buffer("none", torch.zeros(1), persistent=False)
            self.register_buffer("places", waves.table(50, 64).half().float())

        def forward(self, ids):
            x = self.table(ids) + self.places[:ids.shape[1]]
            x = self.conv(x.transpose(1, 2)).transpose(1, 2)[:, 0]
            return torch.addmm(self.none, x, self.table.weight.t())

    torch.manual_seed(4)
    tied = spec(Tied(), make=lambda s: {"ids": torch.randint(0, 40, (s["batch"], s["length"]))},
                axes={"ids": ["batch", "length"], "y": ["batch", 40]})
    report = export_graph(tied, tmp_path / "net.onnx", dtype=dtype)
    assert report.max_abs_diff < 1e-4 and report.rounding_abs_diff > 0
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model)
    sizes = {t.name: (t.data_type, len(t.raw_data)) for t in model.graph.initializer}
    kinds = sorted(n.op_type for n in model.graph.node if n.domain)
    assert kinds == ["GatherBlockQuantized", "MatMulNBits"] and {"Sin", "Cos"} < {n.op_type for n in model.graph.node}
    assert sizes["table.weight.q"][1] == 40 * 64 * nbits.BITS[dtype] // 8
    assert sizes["table.weight.scales.fp16"] == (onnx.TensorProto.FLOAT16, 40 * 2 * 2)
    assert sizes["conv.weight.fp16"][0] == onnx.TensorProto.FLOAT16 and "places" not in sizes


@pytest.mark.parametrize("dtype", nbits.BITS)
def test_products_of_many_rows_unpack_once(tmp_path, monkeypatch, dtype):
    """Operators of ONNX alone make the weights, of nothing that changes."""
    monkeypatch.setattr(nbits, "MIN_ELEMENTS", 100)
    many = spec(nn.Sequential(nn.Linear(64, 24), nn.GELU(), nn.Linear(24, 8)), trace={"batch": 2, "length": 3},
                make=lambda s: {"ids": torch.randn(s["batch"], s["length"], 64)}, unpack=True)
    report = export_graph(many, tmp_path / "net.onnx", dtype=dtype)
    assert report.max_abs_diff < 1e-5
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model)
    domains = {n.domain for n in model.graph.node if n.op_type == "MatMulNBits"}
    assert len(domains) == 1, "blocks of 32 do not divide 24 columns: that weight stays in its product"
    packed = next(t for t in model.graph.initializer if t.name.endswith(".q") and 64 // 32 == t.dims[0])
    assert len(packed.raw_data) == 64 * 24 * nbits.BITS[dtype] // 8


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
