"""Keys of generation in a checkpoint's files become those that its generate follows."""

import json

import pytest
import transformers as tf
from test_checkpoints import blip, save

from xpipe_export.cli import export_checkpoint
from xpipe_export.golden import core


@pytest.mark.parametrize("cls", [tf.BlipForConditionalGeneration, tf.BlipForQuestionAnswering], ids=["caption", "vqa"])
def test_blip_follows_its_text_config(tmp_path, cls):
    """BLIP asks its decoder to generate, which has text_config's keys and none of the checkpoint's file."""
    model = blip(cls)
    core.randomise(model, 4)
    save(model, tmp_path / "checkpoint")
    config = json.loads((tmp_path / "checkpoint" / "config.json").read_text())
    config["text_config"] |= {"num_beams": 3, "max_length": 14}
    (tmp_path / "checkpoint" / "config.json").write_text(json.dumps(config))
    (tmp_path / "checkpoint" / "generation_config.json").write_text('{"num_beams": 5}')
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", progress=False)
    made = json.loads((tmp_path / "bundle" / "generation_config.json").read_text())
    assert (made["num_beams"], made["max_length"]) == (3, 14)
    assert made["eos_token_id"] == model.config.text_config.sep_token_id
