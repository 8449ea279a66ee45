"""The committed bundles as torch models again; what torch then says is what their golden files
hold."""
import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from xpipe_train import restore
from xpipe_train.flamingo import FlamingoConfig
from xpipe_train.model import Blip2Mini

ROOT = Path(__file__).resolve().parents[3]
MINI, GOLDEN = ROOT / "models" / "mini", ROOT / "testdata" / "golden"


def golden(name):
    return json.loads((GOLDEN / name / "golden.json").read_text())


def test_blip2_mini_comes_back_whole():
    model, training = restore.model_of(MINI / "blip2-mini")
    assert isinstance(model, Blip2Mini) and training["checkpoint_step"] == golden("blip2-mini")["checkpoint_step"]


@torch.no_grad()
def test_clip_mini_embeds_the_golden_texts():
    model, _ = restore.model_of(MINI / "clip-mini")
    for text in golden("clip-mini")["texts"]:
        pooled = model.eval().text_model(torch.tensor([text["ids"]])).pooler_output
        got = F.normalize(model.text_projection(pooled), dim=-1)[0]
        assert torch.allclose(got, torch.tensor(text["embedding"]), atol=1e-5), text["text"]


def test_flamingo_mini_comes_back_whole():
    model, training = restore.model_of(MINI / "flamingo-mini")
    assert len(model.blocks) == FlamingoConfig(**training["config"]["model"]).layers
    assert all(float(block.attn_gate.detach().abs()) > 0.01 for block in model.blocks)


def test_other_families_are_refused():
    with pytest.raises(SystemExit, match="family lxmert cannot be restored"):
        restore.model_of(MINI / "lxmert-mini")
