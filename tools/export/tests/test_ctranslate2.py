"""Folders of CTranslate2's Whisper, made up here, against the model that transformers makes of the same
weights."""

import json
import struct

import numpy as np
import pytest
import torch
import transformers as tf
from tokenizers import AddedToken

from xpipe_export import cli, ctranslate2
from xpipe_export.ctranslate2 import SPEC, WEIGHTS, as_checkpoint, convert, is_model, read
from xpipe_export.golden import core, tokens, whisper_family
from xpipe_export.graph import ExportError

KINDS = {np.dtype(t): i for i, t in enumerate(ctranslate2.DTYPES)}
WORDS = ["<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>",
         "<|startofprev|>", "<|nocaptions|>", "<|notimestamps|>"]


def written(values: dict[str, np.ndarray], aliases=(("decoder/projection/weight", "decoder/embeddings/weight"),),
            spec: str = SPEC) -> bytes:
    """A model.bin."""
    text = lambda s: struct.pack("<H", len(s) + 1) + s.encode() + b"\0"
    out = [struct.pack("<I", 6), text(spec), struct.pack("<II", 3, len(values))]
    for name, value in values.items():
        out += [text(name), struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape),
                struct.pack("<BI", KINDS[value.dtype], value.nbytes), value.tobytes()]
    out.append(struct.pack("<I", len(aliases)))
    return b"".join([*out, *(text(a) + text(n) for a, n in aliases)])


def variables(model: tf.WhisperForConditionalGeneration, kind=np.float32) -> dict[str, np.ndarray]:
    """A model's weights under CTranslate2's names: its converter's work, backwards to ours."""
    weights = {k: v.detach().numpy().astype(kind) for k, v in model.state_dict().items()}
    out = {"decoder/embeddings/weight": weights["model.decoder.embed_tokens.weight"]}

    def norm(target, source):
        out[f"{target}/gamma"], out[f"{target}/beta"] = weights[f"{source}.weight"], weights[f"{source}.bias"]

    def linear(target, *sources):
        out[f"{target}/weight"] = np.concatenate([weights[f"{s}.weight"] for s in sources])
        zeros = np.zeros(model.config.d_model, kind)
        out[f"{target}/bias"] = np.concatenate([weights.get(f"{s}.bias", zeros) for s in sources])

    for side in ("encoder", "decoder"):
        out[f"{side}/position_encodings/encodings"] = weights[f"model.{side}.embed_positions.weight"]
        out[f"{side}/num_heads"] = np.array(model.config.encoder_attention_heads, np.int16)
        norm(f"{side}/layer_norm", f"model.{side}.layer_norm")
        for i in range(model.config.encoder_layers):
            to, at = f"{side}/layer_{i}", f"model.{side}.layers.{i}"
            norm(f"{to}/self_attention/layer_norm", f"{at}.self_attn_layer_norm")
            linear(f"{to}/self_attention/linear_0", *(f"{at}.self_attn.{p}_proj" for p in "qkv"))
            linear(f"{to}/self_attention/linear_1", f"{at}.self_attn.out_proj")
            if side == "decoder":
                norm(f"{to}/attention/layer_norm", f"{at}.encoder_attn_layer_norm")
                linear(f"{to}/attention/linear_0", f"{at}.encoder_attn.q_proj")
                linear(f"{to}/attention/linear_1", *(f"{at}.encoder_attn.{p}_proj" for p in "kv"))
                linear(f"{to}/attention/linear_2", f"{at}.encoder_attn.out_proj")
            norm(f"{to}/ffn/layer_norm", f"{at}.final_layer_norm")
            linear(f"{to}/ffn/linear_0", f"{at}.fc1")
            linear(f"{to}/ffn/linear_1", f"{at}.fc2")
    for part in ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"):
        out[f"encoder/{part.replace('.', '/')}"] = weights[f"model.encoder.{part}"]
    return out


@pytest.fixture
def folder(tmp_path):
    """A tiny model of English alone as CTranslate2 keeps it, and the model."""
    tokenizer = tf.WhisperTokenizerFast(tokenizer_object=tokens.byte_level(["<|endoftext|>"]))
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken(w, special=True) for w in WORDS]})
    torch.manual_seed(0)
    model = tf.WhisperForConditionalGeneration(tf.WhisperConfig(
        vocab_size=len(tokenizer) + 20, num_mel_bins=8, encoder_layers=2, encoder_attention_heads=2, decoder_layers=2,
        decoder_attention_heads=2, d_model=32, encoder_ffn_dim=48, decoder_ffn_dim=48, max_source_positions=50,
        max_target_positions=64, suppress_tokens=None, begin_suppress_tokens=None, bos_token_id=0, eos_token_id=0,
        pad_token_id=0, decoder_start_token_id=tokenizer.convert_tokens_to_ids(WORDS[0])))
    core.randomise(model, 1)
    path = tmp_path / "model"
    path.mkdir()
    (path / WEIGHTS).write_bytes(written(variables(model)))
    tokenizer.backend_tokenizer.save(str(path / "tokenizer.json"))
    (path / "config.json").write_text(json.dumps({
        "alignment_heads": [[1, 0]], "suppress_ids": [5, 9], "suppress_ids_begin": [220, 0], "lang_ids": [7, 8]}))
    return path, model.eval(), tokenizer


def test_converted_model_is_the_model(folder, tmp_path):
    path, model, tokenizer = folder
    out = tmp_path / "out"
    out.mkdir()
    convert(path, out)
    made, info = type(model).from_pretrained(out, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    features, ids = torch.randn(2, 8, 100), torch.tensor([[1, 2, 3]] * 2)
    with torch.no_grad():
        got, want = (m(input_features=features, decoder_input_ids=ids).logits for m in (made.eval(), model))
    assert torch.equal(got, want)
    token, generation = tokenizer.convert_tokens_to_ids, made.generation_config
    silent = token("<|notimestamps|>")
    assert generation.forced_decoder_ids == [[1, silent]] and not generation.is_multilingual
    assert generation.no_timestamps_token_id == silent and generation.prev_sot_token_id == token("<|startofprev|>")
    assert generation.suppress_tokens == [5, 9] and generation.alignment_heads == [[1, 0]]
    assert tf.WhisperFeatureExtractor.from_pretrained(out).nb_max_frames == 100


def test_several_languages_are_named(folder, tmp_path, monkeypatch):
    path, model, tokenizer = folder
    monkeypatch.setattr(ctranslate2, "MULTILINGUAL", model.config.vocab_size)
    with as_checkpoint(path) as place:
        generation = tf.GenerationConfig.from_pretrained(place)
    token = tokenizer.convert_tokens_to_ids
    assert generation.lang_to_id == {w: token(w) for w in ("<|en|>", "<|de|>")}
    assert generation.task_to_id == {w: token(f"<|{w}|>") for w in ("transcribe", "translate")}
    assert generation.forced_decoder_ids == [[1, None], [2, token("<|transcribe|>")]]


def test_float16_is_read(folder):
    path, model, _ = folder
    values = variables(model, np.float16)
    (path / WEIGHTS).write_bytes(written(values))
    got = read(path / WEIGHTS)
    assert np.array_equal(got["decoder/projection/weight"], values["decoder/embeddings/weight"])


def test_folder_is_exported(folder, tmp_path):
    path, _, _ = folder
    meta = cli.export_checkpoint(str(path), str(tmp_path / "bundle"), progress=False)
    assert meta["family"] == "whisper" and meta["provenance"]["source"] == "model"
    assert meta["provenance"]["end_to_end"]["max_abs_diff"] < 1e-3


def test_others_are_left_alone(tmp_path):
    whisper_family.tiny()[0].save_pretrained(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"")
    assert not is_model(tmp_path)
    with as_checkpoint(tmp_path) as place:
        assert place == tmp_path


def test_what_cannot_be_read_is_said(folder, tmp_path):
    path, model, _ = folder
    values = variables(model)
    whole = written(values)
    lacking = {k: v for k, v in values.items() if k != "encoder/layer_norm/gamma"}
    for raw, said in ((whole[:-9], "cut off"), (whole[:len(whole) // 2], "cut off"), (b"", "cut off"),
                      (written(values, spec="TransformerSpec"), "TransformerSpec"),
                      (written(lacking), "encoder/layer_norm/gamma"),
                      (written(values | {"encoder/layer_0/ffn/linear_0/weight_scale": np.ones(48, np.float32)}), "quantised")):
        (path / WEIGHTS).write_bytes(raw)
        with pytest.raises(ExportError, match=said):
            convert(path, tmp_path)
    (path / "tokenizer.json").unlink()
    with pytest.raises(ExportError, match="tokenizer.json"):
        convert(path, tmp_path)
