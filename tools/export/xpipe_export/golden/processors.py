"""Golden outputs of transformers' logits processors: logits_processors.json.

python -m xpipe_export.golden.processors [--out FILE]. Each case is generation
parameters, the ids so far and logits in, filtered logits out (null is minus
infinity), made by the list that generate() itself builds, in its order.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch
import transformers as tf
from transformers.generation.logits_process import LogitsProcessorList

from . import core

SEED, VOCAB, PROMPT = 7, 48, 4

SINGLE = [
    {"repetition_penalty": 1.3}, {"repetition_penalty": 0.7}, {"repetition_penalty": 2.5},
    {"no_repeat_ngram_size": 1}, {"no_repeat_ngram_size": 2}, {"no_repeat_ngram_size": 3},
    {"no_repeat_ngram_size": 9},
    {"bad_words_ids": [[3]]}, {"bad_words_ids": [[5, 9], [2]]},
    {"bad_words_ids": [[11, 5, 9], [7], [5]]}, {"bad_words_ids": [[40, 41]]},
    {"min_new_tokens": 3, "eos_token_id": 2}, {"min_new_tokens": 30, "eos_token_id": [2, 17]},
    {"min_new_tokens": 8, "eos_token_id": 2},
    {"min_length": 20, "eos_token_id": 2}, {"min_length": 12, "eos_token_id": 2},
    {"do_sample": True, "temperature": 0.5}, {"do_sample": True, "temperature": 1.7},
    {"do_sample": True, "top_k": 1}, {"do_sample": True, "top_k": 5},
    {"do_sample": True, "top_k": 500},
    {"do_sample": True, "top_p": 0.05}, {"do_sample": True, "top_p": 0.5},
    {"do_sample": True, "top_p": 0.9}, {"do_sample": True, "top_p": 0.999},
    {"do_sample": True, "min_p": 0.02}, {"do_sample": True, "min_p": 0.3},
    {"do_sample": True, "min_p": 1.0},
    {"do_sample": True, "typical_p": 0.1}, {"do_sample": True, "typical_p": 0.5},
    {"do_sample": True, "typical_p": 0.95},
    {"do_sample": True, "epsilon_cutoff": 0.02}, {"do_sample": True, "epsilon_cutoff": 0.9},
    {"do_sample": True, "eta_cutoff": 0.02}, {"do_sample": True, "eta_cutoff": 0.4},
    {"renormalize_logits": True},
]

COMBINED = [
    {"do_sample": True, "temperature": 0.8, "top_k": 20, "top_p": 0.9},
    {"do_sample": True, "temperature": 1.4, "top_k": 30, "top_p": 0.8, "min_p": 0.05,
     "typical_p": 0.9, "repetition_penalty": 1.2},
    {"do_sample": True, "temperature": 0.7, "top_p": 0.95, "no_repeat_ngram_size": 2,
     "bad_words_ids": [[3], [5, 9]], "min_new_tokens": 30, "eos_token_id": [2, 17]},
    {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2, "bad_words_ids": [[3]],
     "min_new_tokens": 30, "eos_token_id": 2},
    {"do_sample": True, "typical_p": 0.9, "epsilon_cutoff": 0.01, "eta_cutoff": 0.1, "renormalize_logits": True},
    {"do_sample": True, "num_beams": 2, "epsilon_cutoff": 0.9, "eta_cutoff": 0.9, "eos_token_id": 2},
    {"do_sample": True, "num_beams": 2, "top_k": 1, "top_p": 0.1, "min_p": 0.9, "typical_p": 0.2,
     "eos_token_id": 2},
]


def run() -> dict:
    config = tf.OPTConfig(vocab_size=VOCAB, hidden_size=8, word_embed_proj_dim=8,
                          num_hidden_layers=1, ffn_dim=8, num_attention_heads=1,
                          max_position_embeddings=64)
    model = tf.OPTForCausalLM(config)
    generator = torch.Generator().manual_seed(SEED)
    ids = torch.tensor([[2, 11, 5, 9, 3, 11, 5, 9, 7, 3, 11, 5], [1, 1, 2, 20, 21, 20, 21, 20, 21, 33, 33, 33]])
    logits = torch.randn(2, VOCAB, generator=generator) * 3
    tied = logits.clone()
    tied[:, 10:14] = tied.max(-1, keepdim=True).values  # equal logits at the edge of top_k
    cases = []
    for parameters in SINGLE + COMBINED + [{"do_sample": True, "top_k": 2, "tied": True}]:
        given = dict(parameters)
        scores = tied if given.pop("tied", False) else logits
        # top_k is 50 unless told otherwise: what is not named here must not filter
        settings = {"top_k": 0, "eos_token_id": None, "pad_token_id": 1, "bos_token_id": None} | given
        generation = tf.GenerationConfig(**settings)
        model._prepare_special_tokens(generation, kwargs_has_attention_mask=True, device="cpu")
        processors = LogitsProcessorList(
            model._get_logits_processor(
                generation_config=generation, input_ids_seq_length=PROMPT,
                encoder_input_ids=ids[:, :PROMPT], prefix_allowed_tokens_fn=None,
                logits_processor=LogitsProcessorList(), device="cpu", model_kwargs={},
                negative_prompt_ids=None, negative_prompt_attention_mask=None))
        out = processors(ids, scores.clone())
        cases.append({"parameters": given, "processors": [type(p).__name__ for p in processors], "tied": scores is tied,
                      "output": [[None if math.isinf(v) else v for v in row] for row in out.tolist()]})
        if not processors and given not in ({"do_sample": True, "top_k": 0},):
            raise RuntimeError(f"{given} makes no processor")
    return {"script": "python -m xpipe_export.golden.processors", "seed": SEED,
            "versions": core.versions(), "prompt_length": PROMPT, "input_ids": ids.tolist(),
            "logits": logits.tolist(), "logits_tied": tied.tolist(), "cases": cases}


def main() -> None:
    parser = argparse.ArgumentParser()
    families = Path(__file__).resolve().parents[4] / "testdata" / "families"
    parser.add_argument("--out", type=Path, default=families / "logits_processors.json")
    args = parser.parse_args()
    args.out.write_text(json.dumps(run()) + "\n")


if __name__ == "__main__":
    main()
