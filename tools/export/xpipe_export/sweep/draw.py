"""What a checkpoint of the sweep is drawn from."""

from __future__ import annotations

import random
from pathlib import Path

import torch
import transformers as tf
from tokenizers import AddedToken

from ..golden import core, decoders, florence_family, mllama_family, tokens, whisper_family

MAKERS = {
    "opt": tokens.opt, "gpt2": tokens.gpt2, "roberta": tokens.roberta, "bert": tokens.bert, "t5": tokens.t5,
    "clip": tokens.clip, "gptneox": tokens.gptneox, "mllama": mllama_family.tokenizer,
    "bart": lambda: florence_family.bart(20), "llama": tokens.llama, "xlm": tokens.xlm_roberta,
    "donut": lambda: tokens.xlm_roberta(["<s_docvqa>", "<s_question>", "</s_question>", "<s_answer>", "</s_answer>",
                                         "<s_cord-v2>", "<s_menu>", "</s_menu>", "<sep/>"]),
    "siglip2": lambda: tokens.gemma()[0], "chat": decoders.chat_tokenizer, "qwen": lambda: tf.Qwen2TokenizerFast(
        tokenizer_object=decoders.chat_tokenizer().backend_tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"),
    "whisper-english": lambda: whisper_family.tokenizer_of([]), "whisper-languages": lambda: whisper_family.tokenizer_of(["en", "de", "fr"]),
}
"""Tokenizers by name. Those of 4.57 are saved once, and 5 loads them: it cannot make them all."""

FIVE = int(tf.__version__.partition(".")[0]) >= 5


def save_tokenizers(folder: Path) -> None:
    """Save all MAKERS' tokenizers in a folder."""
    for name, make in MAKERS.items():
        make().save_pretrained(folder / name)


class Draw(random.Random):
    """A stream of choices for one checkpoint, the same in each version of transformers."""

    def __init__(self, kind: str, seed: int, tokenizers: Path):
        super().__init__(f"{kind} {seed}")
        self.number, self.tokenizers = seed, tokenizers
        self.scales = 1.0

    def tokenizer(self, name: str, extra: tuple = (), odd: bool = True):
        """A tokenizer with extra special tokens; with odd, perhaps with words added, another token for
        padding, or padding on the other side."""
        out = self.fixed(name)
        if extra:
            out.add_special_tokens({"additional_special_tokens": [
                AddedToken(t, normalized=False, special=True) for t in extra]})
        if odd and self.random() < 0.3:
            out.add_tokens(["zudo", "wemi-3"])
        pad, side = self.random(), self.random()
        if odd and pad < 0.3 and out.eos_token:
            out.pad_token = out.eos_token
        if odd and side < 0.3:
            out.padding_side = "right" if out.padding_side == "left" else "left"
        return out

    def fixed(self, name: str):
        """A tokenizer as its maker has it."""
        return tf.AutoTokenizer.from_pretrained(self.tokenizers / name)

    def heads(self, even: bool = True) -> tuple[int, int]:
        """Heads, and a width that they divide."""
        heads = self.choice((2, 3, 4))
        return heads, heads * self.choice((6, 8, 10) if even else (5, 6, 7))

    def vision(self, patch: int | None = None, side: int | None = None) -> dict:
        heads, width = self.heads()
        patch = patch or self.choice((4, 6, 8, 10))
        return {"hidden_size": width, "intermediate_size": self.randrange(20, 50), "num_hidden_layers": self.choice((1, 2, 3)),
                "num_attention_heads": heads, "image_size": side or patch * self.choice((2, 3, 4)), "patch_size": patch}

    def language(self, tokenizer, positions: int = 256) -> dict:
        """Of a decoder of Llama's kind."""
        heads = self.choice((2, 4, 6))
        each = self.choice((6, 8, 12))
        return {"vocab_size": len(tokenizer) + self.choice((0, 0, 3)), "hidden_size": heads * each,
                "intermediate_size": self.randrange(24, 60), "num_hidden_layers": self.choice((1, 2, 3)),
                "num_attention_heads": heads, "num_key_value_heads": self.choice([n for n in (1, 2, 3, 6) if heads % n == 0]),
                "max_position_embeddings": positions, "tie_word_embeddings": self.random() < 0.4,
                "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
                "pad_token_id": tokenizer.pad_token_id}

    def rope(self, linear: bool = True) -> dict:
        """A base, and perhaps positions that are scaled, as a configuration of this version says it."""
        theta = self.choice((10000.0, 500.0, 100000.0))
        kinds = [None, None, {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                              "original_max_position_embeddings": 32}]
        scaled = self.choice(kinds + [{"rope_type": "linear", "factor": 2.0}] * linear)
        if FIVE:
            return {"rope_parameters": {"rope_theta": theta, **(scaled or {"rope_type": "default"})}}
        return {"rope_theta": theta} | ({"rope_scaling": scaled} if scaled else {})

    def generation(self, prompt: int = 0, beams: bool = True) -> dict:
        """Keys of generation; prompt is how many ids stand before a text at least."""
        out = {}
        if beams and self.random() < 0.4:
            out["num_beams"] = self.choice((2, 3))
            if self.random() < 0.5:
                out["length_penalty"] = self.choice((0.0, -1.0, 2.0))
            if self.random() < 0.4:
                out["early_stopping"] = True
        if self.random() < 0.5:
            out["max_length"] = prompt + self.choice((9, 14, 20, 31))
        if self.random() < 0.4:
            out["min_length"] = self.choice((4, prompt + 6))
        if self.random() < 0.4:
            out["repetition_penalty"] = self.choice((1.3, 0.8, 1.5))
        if self.random() < 0.4:
            out["no_repeat_ngram_size"] = self.choice((1, 2, 3))
        return out

    def randomise(self, model, *louder, gain: float = 2.0, embed: float = 0.4) -> None:
        """Seeded weights; the parts named louder get what makes texts less dull."""
        core.randomise(model, self.number)
        for i, part in enumerate(louder):
            core.randomise(part, self.number + 1000 + i, gain=gain, embed=embed)
        generator = torch.Generator().manual_seed(self.number)
        for name, p in model.named_parameters():
            if p.dim() == 5 or "conv" in name and p.dim() == 3 or name.endswith("in_proj_weight"):
                p.data.copy_(torch.randn(p.shape, generator=generator) / p[0].numel() ** 0.5)

    def saving(self) -> dict:
        """How weights are saved: their type, and into which files."""
        dtype = self.choice((torch.float32, torch.float32, torch.float16, torch.bfloat16))
        how = self.choice(({}, {}, {"max_shard_size": "30KB"}, {} if FIVE else {"safe_serialization": False}))
        return {"dtype": dtype, "how": how}
