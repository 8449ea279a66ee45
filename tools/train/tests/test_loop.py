"""The family-neutral loop and its techniques, on a toy family; seconds."""
import json
import sys
import types

import pytest
import torch
from torch import nn
from xpipe_train import techniques, train

CONFIG = {"family": "toy", "seed": 3, "warmup": 2, "factors": {"head": 0.1},
          "evaluate": {"every": 4, "limit": 5}, "stages": [
              {"name": "first", "steps": 4, "lr": [0.01, 0.01]},
              {"name": "last", "steps": 4, "lr": [0.01, 0.001], "factors": {"body": 0}}]}


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.ModuleList([nn.Linear(6, 6), nn.Dropout(0.1)])
        self.head = nn.Linear(6, 1)

    def forward(self, x):
        for m in self.body:
            x = m(x)
        return self.head(x)


class Task:
    def __init__(self, config, root, run):
        self.model, self.seen = Toy(), 0

    def batch(self, rng, stage):
        return {"x": [torch.tensor([[rng.random() for _ in range(6)] for _ in range(8)])]}

    def losses(self, batch, stage):
        self.seen += 1
        loss = ((self.model(batch["x"][0]) - 1) ** 2).mean()
        return loss, {"mse": loss.item()}

    def evaluate(self, limit):
        return {"weight": float(self.model.head.weight.sum())}

    def state(self):
        return self.seen

    def load(self, state):
        self.seen = state


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    module = types.ModuleType("xpipe_train.tasks.toy")
    module.Task = Task
    monkeypatch.setitem(sys.modules, "xpipe_train.tasks.toy", module)


def trained(path, until=None, **kw):
    path.mkdir(exist_ok=True)
    t = train.Training({**train.DEFAULTS, "name": "toy", **CONFIG, **kw}, path, path)
    t.go(until)
    return t


def weights(t):
    return torch.cat([p.detach().flatten() for p in t.model.parameters()])


def test_a_resumed_run_gives_the_same_weights(tmp_path):
    whole = trained(tmp_path / "a")
    trained(tmp_path / "b", until=3)
    rest = trained(tmp_path / "b")
    assert rest.step == 8 and rest.task.seen == 8
    assert torch.equal(weights(whole), weights(rest))
    lines = (tmp_path / "b" / "losses.csv").read_text().splitlines()
    assert lines[0] == "step,stage,lr,seconds,name,value" and lines[-1].startswith("8,last,")
    assert (tmp_path / "b" / "losses.png").stat().st_size > 1000
    final = torch.load(tmp_path / "b" / "final.pt", weights_only=False)
    assert final["step"] == 8 and final["config"]["seed"] == 3 and "optimiser" not in final


def test_factors_scale_and_freeze_components(tmp_path):
    first = trained(tmp_path / "a", until=4)
    body = first.model.body[0].weight.detach().clone()
    both = trained(tmp_path / "a")
    assert torch.equal(both.model.body[0].weight, body)  # the last stage freezes it
    assert not torch.equal(both.model.head.weight, Toy().head.weight)
    assert {g["component"]: g["factor"] for g in both.optimiser.param_groups} == {"body": 0, "head": 0.1}


def test_pruned_weights_stay_zero_through_training_and_resumption(tmp_path):
    prune = {"at": 2, "amount": 0.5, "components": ["body"]}
    trained(tmp_path / "a", until=5, pruning=prune)
    t = trained(tmp_path / "a", pruning=prune)
    w = t.model.body[0].weight
    assert int((w == 0).sum()) == 18 and isinstance(w, nn.Parameter)
    assert "body.0.weight" in torch.load(tmp_path / "a" / "final.pt", weights_only=False)["model"]


def test_recomputing_activations_changes_nothing(tmp_path):
    assert torch.equal(weights(trained(tmp_path / "a")), weights(trained(tmp_path / "b", checkpointing=["body"])))


def test_autocast_runs(tmp_path):
    assert torch.isfinite(weights(trained(tmp_path / "a", precision="bf16"))).all()


def test_a_start_brings_its_history(tmp_path):
    trained(tmp_path / "a")
    (tmp_path / "b").mkdir()
    t = train.Training({**train.DEFAULTS, "name": "toy", **CONFIG}, tmp_path, tmp_path / "b",
                       tmp_path / "a" / "final.pt")
    assert t.step == 0 and [h["steps"] for h in t.history] == [8]
    assert torch.equal(weights(t), torch.cat(
        [p.flatten()
         for p in torch.load(tmp_path / "a" / "final.pt", weights_only=False)["model"].values()]))


def test_overrides_reach_into_the_config(tmp_path):
    path = tmp_path / "toy.json"
    path.write_text(json.dumps(CONFIG))
    c = train.load_config(path, ["stages.1.steps=9", "model.dropout=0.2", "precision=\"bf16\""])
    assert c["stages"][1]["steps"] == 9 and c["model"] == {"dropout": 0.2}
    assert c["precision"] == "bf16" and c["name"] == "toy"


def test_uniform_attention_zeroes_the_queries_alone():
    m = nn.ModuleDict(
        {"cross": nn.ModuleDict({"query": nn.Linear(4, 4), "key": nn.Linear(4, 4)}),
         "self": nn.ModuleDict({"query": nn.Linear(4, 4)})})
    assert techniques.uniform_attention(m, ["cross.query"]) == 1
    assert not m["cross"]["query"].weight.any() and m["cross"]["key"].weight.any() and m["self"]["query"].weight.any()
    with pytest.raises(ValueError, match="no linear layer"):
        techniques.uniform_attention(m, ["nothing"])


def test_tied_weights_are_not_pruned():
    m = nn.Module()
    m.lm = nn.ModuleDict({"embed": nn.Embedding(5, 4), "head": nn.Linear(4, 5, bias=False), "fc": nn.Linear(4, 4)})
    m.lm["head"].weight = m.lm["embed"].weight
    assert techniques.prunable(m, ["lm"]) == [m.lm["fc"]]


def test_fusions_at_their_extremes():
    torch.manual_seed(0)
    a, b = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    assert (torch.allclose(techniques.GatedFusion(8, 20.0)(a, b), a)
            and torch.allclose(techniques.GatedFusion(8, -20.0)(a, b), b))
    pool = techniques.AttentionPool(8, 2, 4)
    assert torch.allclose(pool(a), pool(a[:, [2, 0, 1]]), atol=1e-6)  # whatever the order of the tokens
    same = a[:, :1].expand(-1, 3, -1)
    assert torch.allclose(pool(same), pool(same[:, :1]), atol=1e-6)
