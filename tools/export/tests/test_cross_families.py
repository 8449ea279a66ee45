"""Families with a replay of their own: what the bundles alone give, and checkpoints of other shapes
than the golden ones."""

import json

import numpy as np
import pytest
import torch
import transformers as tf

from test_checkpoints import words
from test_golden import check_generation, load
from xpipe_export import replay_families
from xpipe_export.cli import export_checkpoint
from xpipe_export.golden import core
from xpipe_export.graph import ExportError


def exported(model, tmp_path, **settings):
    """xpipe.json of the model's bundle; what else the checkpoint needs is saved before."""
    core.randomise(model, 11, embed=0.3)
    model.save_pretrained(tmp_path / "checkpoint")
    words().save_pretrained(tmp_path / "checkpoint")
    export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", attention_maps=True, progress=False, **settings)
    meta = json.loads((tmp_path / "bundle" / "xpipe.json").read_text())
    assert max(g["max_rel_diff"] for g in meta["provenance"]["graphs"].values()) < 1e-4
    assert meta["provenance"]["end_to_end"]["max_rel_diff"] < 1e-4
    return meta


@pytest.mark.parametrize("rows", [[0], [1], [0, 1, 2]], ids=str)
def test_mllama(rows):
    golden, arrays, bundle = load("mllama")
    ids, logits = replay_families.mllama(bundle, golden, arrays, rows, 20)
    check_generation(golden, arrays, rows, ids, logits)
    for r in rows:  # what tokens read is transformers' own mask
        row = golden["rows"][r]
        seen = replay_families.mllama_sees(np.array(row["input_ids"]), bundle.meta["image_token_id"])
        want = np.array(row["cross_attention_mask"])
        assert [list(np.flatnonzero(t.any(-1))) for t in want] == seen
        assert [int(t.sum(-1).max()) for t in want.transpose(1, 0, 2)] == row["tiles"]


def test_mllama_text_beside_pictures():
    golden, arrays, bundle = load("mllama")
    golden["rows"].append({"images": [], "tiles": [], **golden["text_only"]})
    for rows in ([3], [3, 1]):
        ids, _ = replay_families.mllama(bundle, golden, arrays, rows, 20)
        assert ids[0] == golden["text_only"]["ids"]


def mllama(**text):
    vision = {"hidden_size": 12, "num_hidden_layers": 3, "num_global_layers": 2, "attention_heads": 3,
              "intermediate_size": 20, "vision_output_dim": 36, "image_size": 24, "patch_size": 8, "max_num_tiles": 2,
              "intermediate_layers_indices": [0, 2], "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]]}
    text = {"vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 3,
            "num_key_value_heads": 3, "intermediate_size": 32, "cross_attention_layers": [2],
            "max_position_embeddings": 64, "rope_scaling": {"rope_type": "default"}, "pad_token_id": 0} | text
    model = tf.MllamaForConditionalGeneration(tf.MllamaConfig(vision, text, image_token_index=40))
    return model


def test_mllama_of_another_shape(tmp_path):
    tf.MllamaImageProcessor(size={"height": 24, "width": 24}, max_image_tiles=2).save_pretrained(tmp_path / "checkpoint")
    meta = exported(mllama(), tmp_path)
    assert meta["tiles"] == 2 and meta["tokens_per_tile"] == 10 and meta["cross_layers"] == [2]
    assert meta["prompts"]["caption"] == "An image of"


def test_mllama_with_cross_attention_first_is_refused(tmp_path):
    tf.MllamaImageProcessor(size={"height": 24, "width": 24}, max_image_tiles=2).save_pretrained(tmp_path / "checkpoint")
    with pytest.raises(ExportError, match="in the first layer"):
        exported(mllama(cross_attention_layers=[0, 2]), tmp_path)
