"""Golden files of Whisper, from features: three sounds in numbers."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
import transformers as tf
from tokenizers import AddedToken, processors

from . import core, tokens
from .core import Golden

FRAMES, MELS = 64, 8
WORDS = ["<|startoftranscript|>", "<|en|>", "<|de|>", "<|fr|>", "<|translate|>", "<|transcribe|>", "<|startofprev|>",
         "<|nospeech|>", "<|notimestamps|>"]


def whisper_tokenizer():
    tok = tokens.byte_level(["<|endoftext|>"])
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    made = tf.WhisperTokenizerFast(tokenizer_object=tok)
    made.add_special_tokens({"additional_special_tokens": [AddedToken(w, normalized=False, special=True) for w in WORDS]})
    return made


def tokenizer_of(languages: list[str]) -> tf.WhisperTokenizerFast:
    """Texts' tokens come first, then the end, as in Whisper's vocabularies. Times have no token: only ids."""
    tok = tokens.byte_level([])
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    made = tf.WhisperTokenizerFast(tokenizer_object=tok)
    words = ["endoftext", "startoftranscript", *(languages or ["en"]), "translate", "transcribe", "startoflm",
             "startofprev", "nospeech", "notimestamps"]
    added = [AddedToken(f"<|{w}|>", normalized=False, special=True) for w in words]
    made.add_special_tokens({"additional_special_tokens": added})
    return made


def tiny():
    """A model, its generation config and its tokenizer."""
    tokenizer = whisper_tokenizer()
    token = tokenizer.convert_tokens_to_ids
    config = tf.WhisperConfig(
        vocab_size=-(-len(tokenizer) // 64) * 64, num_mel_bins=MELS, encoder_layers=2, encoder_attention_heads=2, decoder_layers=2,
        decoder_attention_heads=2, d_model=32, encoder_ffn_dim=48, decoder_ffn_dim=48, max_source_positions=FRAMES // 2,
        max_target_positions=64, decoder_start_token_id=token("<|startoftranscript|>"), pad_token_id=token("<|endoftext|>"),
        bos_token_id=token("<|endoftext|>"), eos_token_id=token("<|endoftext|>"), suppress_tokens=None, begin_suppress_tokens=None)
    model = tf.WhisperForConditionalGeneration(config)
    generation = tf.GenerationConfig(
        decoder_start_token_id=token("<|startoftranscript|>"), pad_token_id=0, bos_token_id=0, eos_token_id=0, max_length=64,
        is_multilingual=True, lang_to_id={w: token(w) for w in WORDS[1:4]},
        task_to_id={"translate": token("<|translate|>"), "transcribe": token("<|transcribe|>")},
        no_timestamps_token_id=token("<|notimestamps|>"), forced_decoder_ids=[[1, None], [2, token("<|transcribe|>")]],
        suppress_tokens=[5, 9, 11], begin_suppress_tokens=[220, 0], return_timestamps=False)
    return model, generation, tokenizer


def randomise(model, seed: int) -> None:
    """Seeded weights with which a text depends on the sound and on what stands before it."""
    core.randomise(model, seed)
    core.randomise(model.model.decoder, seed + 1000, gain=1.8, embed=0.4)
    for name, p in model.named_parameters():
        if "conv" in name and p.dim() == 3:
            p.data.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(seed)) * 1.5 / p[0].numel() ** 0.5)


def seeded(seed: int, checkpoint: Path):
    """The tiny model with seeded weights, saved and loaded again; its generation config and tokenizer."""
    model, generation, tokenizer = tiny()
    randomise(model, seed)
    model.generation_config = generation
    core.save_rounded(model, checkpoint)
    tokenizer.save_pretrained(checkpoint)
    tf.WhisperFeatureExtractor(feature_size=MELS, chunk_length=1, hop_length=250).save_pretrained(checkpoint)
    model = type(model).from_pretrained(checkpoint, attn_implementation="eager").eval()
    return model, generation, tokenizer


def features() -> dict[str, torch.Tensor]:
    """Three sounds, in numbers that float16 holds."""
    rng = np.random.default_rng(5)
    t = np.arange(FRAMES)[None, None] / 9
    wave = np.sin(t * (1 + np.arange(MELS)[None, :, None]) / 3 + rng.uniform(0, 6, (3, MELS, 1))) + rng.normal(0, 0.4, (3, MELS, FRAMES))
    return {"input_features": torch.tensor(np.float16(wave).astype(np.float32))}


def begins(model, sound: torch.Tensor) -> list[int]:
    """What transformers starts the text of one sound [1,mels,frames] with: the likeliest language, the
    task, no times."""
    with torch.no_grad():
        return model._retrieve_init_tokens(sound, 1, model.generation_config, model.config, FRAMES, {})[0].tolist()


def whisper(seed: int, checkpoint: Path, golden: Golden, images: list[Path]) -> None:
    model, generation, tokenizer = seeded(seed, checkpoint)
    values = features()["input_features"]
    starts = [begins(model, values[i:i + 1]) for i in range(core.ROWS)]
    if len({s[1] for s in starts}) < 2:
        raise core.Unsuitable("one language for all")
    plain = copy.deepcopy(model.generation_config)
    plain.forced_decoder_ids = None

    def generate(rows, **parameters):
        # not Whisper's own generate, which goes on to a next segment
        out = tf.GenerationMixin.generate(model, input_features=values[rows],
                                          decoder_input_ids=torch.tensor([starts[r] for r in rows]),
                                          generation_config=plain, **parameters)
        return out.sequences[:, len(starts[0]):], out

    core.generations(golden, generate, lambda ids: tokenizer.decode(ids, skip_special_tokens=True))
    golden.array("input_features", values)
    with torch.no_grad():
        golden.array("last_hidden_state", model.model.encoder(values).last_hidden_state)
        whole = torch.tensor([starts[0] + golden.data["greedy"]["ids"][0]])
        out = model(input_features=values[:1], decoder_input_ids=whole, output_attentions=True)
        golden.array("cross_attn", torch.stack(out.cross_attentions, 1)[0])
    golden.data["cross_attn"] = "row 0, [layer,head,token,state]: what of the sound each token of start and text attends to"
    golden.data["rows"] = [{"start": s, "text": ""} for s in starts]
