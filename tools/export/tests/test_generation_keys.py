"""Keys of generation in a checkpoint's files become those that its generate follows."""

import json

import pytest
import transformers as tf
from test_checkpoints import blip, save

from xpipe_export.cli import export_checkpoint
from xpipe_export.golden import core, tokens


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


def test_git_is_compared_without_its_own_keys(tmp_path):
    """A repetition penalty of the checkpoint is no difference between its logits and the bundle's."""
    words = tokens.bert()
    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16, "patch_size": 8}
    model = tf.GitForCausalLM(tf.GitConfig(
        vision_config=vision, vocab_size=len(words), hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64, pad_token_id=words.pad_token_id, bos_token_id=words.cls_token_id, eos_token_id=words.sep_token_id))
    core.randomise(model, 1)
    for part in (model.eval(), words, tf.CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})):
        part.save_pretrained(tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "generation_config.json").write_text(json.dumps({"repetition_penalty": 1.7}))
    meta = export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", progress=False)
    assert meta["provenance"]["end_to_end"]["max_rel_diff"] < 1e-4
    assert json.loads((tmp_path / "bundle" / "generation_config.json").read_text())["repetition_penalty"] == 1.7
