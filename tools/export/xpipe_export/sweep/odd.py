"""Settings that few checkpoints have: activations, epsilons, biases, caps and sizes of heads in the configuration
of any part, ways to prepare pictures, and the rarer keys of generation."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import Iterator
from unittest import mock

import transformers as tf

ACTIVATIONS = ["gelu", "gelu_new", "relu", "silu", "quick_gelu", "gelu_pytorch_tanh", "gelu_fast", "tanh"]
CONFIG = {
    **dict.fromkeys(("hidden_act", "hidden_activation", "activation_function", "projector_hidden_act"), ACTIVATIONS),
    **dict.fromkeys(("layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps"), [1e-6, 1e-3, 0.02]),
    **dict.fromkeys(("attention_bias", "mlp_bias", "qkv_bias", "multimodal_projector_bias", "scale_attn_weights",
                     "scale_attn_by_inverse_layer_idx", "do_layer_norm_before", "enable_bias", "layer_norm_elementwise_affine",
                     "scale_embedding", "layernorm_embedding", "use_absolute_embeddings", "use_sliding_window"), [True, False]),
    "head_dim": [4, 8, 16], "attn_logit_softcapping": [None, 5.0], "final_logit_softcapping": [None, 3.0],
    "query_pre_attn_scalar": [4, 30], "n_inner": [None, 20], "mlp_ratio": [2.0, 3.0], "feed_forward_proj": ["relu", "gated-gelu", "gated-silu"],
    "relative_attention_num_buckets": [8, 32], "relative_attention_max_distance": [20, 128],
}
"""Keys of configurations, and what else they may be. A model has them where its configuration does."""

HEADS_OF = {"llama", "mistral", "gemma", "gemma2", "gemma3_text"}
"""Types of model whose heads may be of any size; in others head_dim follows from the width."""

PICTURES = {
    "resample": [0, 1, 2, 3, 4, 5], "do_rescale": [True, True, False], "rescale_factor": [1 / 255, 1 / 127.5],
    "do_normalize": [True, True, False], "image_mean": [[0.5, 0.5, 0.5], [0.1, 0.4, 0.7]], "image_std": [[0.5, 0.5, 0.5], [0.2, 0.3, 0.4]],
    "do_center_crop": [True, False],
}

GENERATION = {
    "min_new_tokens": [5, 12], "max_new_tokens": [7, 16], "suppress_tokens": [[7, 8, 9, 10, 11, 12]], "begin_suppress_tokens": [[5, 6, 20, 21]],
    "bad_words_ids": [[[30], [31, 32], [33]]], "exponential_decay_length_penalty": [[4, 1.3]], "sequence_bias": [[[[40], 3.0], [[41, 42], -4.0]]],
    "renormalize_logits": [True], "forced_eos_token_id": [2], "temperature": [0.7], "top_k": [5], "top_p": [0.4], "use_cache": [False],
    "encoder_no_repeat_ngram_size": [2], "encoder_repetition_penalty": [1.5], "num_return_sequences": [1], "remove_invalid_values": [True],
    "length_penalty": [0.5], "eos_token_id": "several",
}


def parts(config) -> Iterator:
    """A configuration and those within it."""
    yield config
    for value in list(vars(config).values()):
        if hasattr(value, "model_type") and hasattr(value, "to_dict"):
            yield from parts(value)


@contextmanager
def drawn(kind: str, seed: int) -> Iterator[random.Random]:
    """While entered, models are made of configurations in which about two keys of each part are others."""
    d, inside = random.Random(f"odd {kind} {seed}"), []
    made = tf.PreTrainedModel.__init__

    def begin(self, config, *args, **more):
        if not inside:
            inside.append(self)
            for part in parts(config):
                _change(d, part)
        made(self, config, *args, **more)

    with mock.patch.object(tf.PreTrainedModel, "__init__", begin):
        yield d


def _change(d: random.Random, part) -> None:
    there = sorted(k for k in CONFIG if hasattr(part, k) and not callable(getattr(part, k)))
    if part.model_type not in HEADS_OF and "head_dim" in there:
        there.remove("head_dim")
    for key in d.sample(there, min(len(there), d.choice((0, 1, 2, 3)))):
        setattr(part, key, d.choice(CONFIG[key]))


def prepare(d: random.Random, images) -> None:
    """Change about one way in which an image processor prepares pictures."""
    there = sorted(k for k in PICTURES if getattr(images, k, None) is not None)
    for key in d.sample(there, min(len(there), d.choice((0, 1, 2)))):
        setattr(images, key, d.choice(PICTURES[key]))


def generation(d: random.Random, keys: dict) -> dict:
    """One or two of the rarer keys beside those there are."""
    out = dict(keys)
    for key in d.sample(sorted(GENERATION), d.choice((0, 1, 2))):
        if key == "eos_token_id":
            if isinstance(out.get(key), int):
                out[key] = [out[key], 35, 36]
            continue
        out[key] = d.choice(GENERATION[key])
    if "max_new_tokens" in out:
        out.pop("max_length", None)
    return out
