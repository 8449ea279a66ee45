"""Checkpoints of the sweep: what it makes is exported as it stands, and answers as the model does."""

import json

import pytest
import transformers as tf

from xpipe_export.cli import export_checkpoint
from xpipe_export.sweep import draw, kinds
from xpipe_export.sweep.__main__ import KINDS

FEW = ["siglip2-naflex", "paligemma2", "swin-gpt2", "blip2-qwen2"]


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    place = tmp_path_factory.mktemp("tokenizers")
    for name in ("siglip2", "llama", "gpt2", "chat"):
        draw.MAKERS[name]().save_pretrained(place / name)
    return place


@pytest.mark.parametrize("name", FEW)
def test_exports(tmp_path, tokenizers, name):
    source = draw.Draw(name, 0, tokenizers)
    kinds.save(KINDS[name].make(source), tmp_path / "checkpoint", source.saving())
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", progress=False)
    meta = json.loads((tmp_path / "bundle" / "xpipe.json").read_text())
    assert meta["provenance"]["end_to_end"]["max_rel_diff"] < 1e-4
    if name == "blip2-qwen2":  # its tokenizer makes nothing of an empty text
        assert meta["empty_text_ids"] == [tf.AutoConfig.from_pretrained(tmp_path / "checkpoint").text_config.bos_token_id]


def test_all_kinds_are_drawn_alike(tokenizers):
    """The same seed gives the same numbers, in whichever order kinds are made."""
    first, again = (draw.Draw("clip", 3, tokenizers) for _ in range(2))
    assert [first.vision(), first.generation(5), first.heads()] == [again.vision(), again.generation(5), again.heads()]
