"""python -m xpipe_export.golden.texts OUT [--only TYPE-CUT ...]: language models of many types in the
cuts of other tools, with the ids that PyTorch's generate gives: greedily, and with beams.

    optimum    model.onnx with a cache, as optimum-onnx 0.1.0 writes it
    nocache    model.onnx without one
    split      decoder_model.onnx and decoder_with_past_model.onnx
    merged     onnx/decoder_model_merged.onnx: an If over both, on use_cache_branch
    gqa        onnx/model.onnx of onnxruntime-genai's builder: GroupQueryAttention, as transformers.js' newer files
    genai      the same with genai_config.json

Tiny seeded models of the real classes; the tools are those of decoders.py. What an exporter refuses is
told and left out. TestTextLayouts of pipeline runs what lies in $XPIPE_TEXT_LAYOUTS; a few of the
folders are in testdata/layouts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import shutil
import tempfile
from pathlib import Path

import onnx
import torch
import transformers as tf

from . import core
from .decoders import CHATS, PROMPTS, build_genai, chat_tokenizer, clean, greedy

BEAMS, BEAM_NEW = 3, 8
WINDOW = 6
COMMON = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
          "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 256, "tie_word_embeddings": False}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 256}
LAYERS = ["sliding_attention", "full_attention"]


def sizes(*names: str, **more) -> dict:
    return {n: COMMON[n] for n in names} | more


PLAIN = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")
TYPES = {
    "gpt2": (tf.GPT2Config, GPT),
    "qwen3": (tf.Qwen3Config, COMMON),
    "gemma2": (tf.Gemma2Config, COMMON | {"sliding_window": WINDOW, "query_pre_attn_scalar": 16, "layer_types": LAYERS}),
    "phi3": (tf.Phi3Config, {k: v for k, v in COMMON.items() if k != "head_dim"} | {"sliding_window": WINDOW}),
    "mistral": (tf.MistralConfig, COMMON | {"sliding_window": WINDOW}),
    "opt": (tf.OPTConfig, sizes("hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings",
                                ffn_dim=64, word_embed_proj_dim=32)),
    "llama": (tf.LlamaConfig, COMMON),
    "qwen2": (tf.Qwen2Config, COMMON),
    "gemma3_text": (tf.Gemma3TextConfig, COMMON | {"sliding_window": WINDOW, "query_pre_attn_scalar": 16,
                                                   "layer_types": LAYERS, "rope_local_base_freq": 1e3}),
    "gemma": (tf.GemmaConfig, COMMON),
    "arcee": (tf.ArceeConfig, COMMON),
    "codegen": (tf.CodeGenConfig, GPT | {"rotary_dim": 8, "n_head": 4}),
    "cohere": (tf.CohereConfig, {k: v for k, v in COMMON.items() if k != "head_dim"}),
    "falcon": (tf.FalconConfig, sizes("hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings",
                                      ffn_hidden_size=64, alibi=False, new_decoder_architecture=False, multi_query=True)),
    "glm": (tf.GlmConfig, COMMON),
    "gpt_neo": (tf.GPTNeoConfig, sizes("hidden_size", "max_position_embeddings", num_layers=2, num_heads=2,
                                       attention_types=[[["global", "local"], 1]], window_size=WINDOW, intermediate_size=64)),
    "gpt_neox": (tf.GPTNeoXConfig, sizes(*PLAIN)),
    "gptj": (tf.GPTJConfig, GPT | {"rotary_dim": 8}),
    "granite": (tf.GraniteConfig, {k: v for k, v in COMMON.items() if k != "head_dim"} | {"embedding_multiplier": 2.0}),
    "helium": (tf.HeliumConfig, COMMON),
    "mpt": (tf.MptConfig, {"d_model": 32, "n_layers": 2, "n_heads": 2, "expansion_ratio": 2, "max_seq_len": 256}),
    "olmo": (tf.OlmoConfig, {k: v for k, v in COMMON.items() if k != "head_dim"}),
    "olmo2": (tf.Olmo2Config, {k: v for k, v in COMMON.items() if k != "head_dim"}),
    "phi": (tf.PhiConfig, sizes(*PLAIN, partial_rotary_factor=0.5)),
    "smollm3": (tf.SmolLM3Config, {k: v for k, v in COMMON.items() if k != "head_dim"}),
    "stablelm": (tf.StableLmConfig, {k: v for k, v in COMMON.items() if k != "head_dim"}),
}
BUILT = ("gemma", "gemma2", "gemma3_text", "granite", "llama", "mistral", "olmo", "phi", "phi3", "qwen2", "qwen3", "smollm3")
LEGACY = ("gpt2", "opt", "llama", "qwen2", "mistral", "phi3", "gemma2", "gpt_neox")
# Where the builder has windows, whatever the configuration says: in odd layers, where Gemma 2 has
# them in even ones, and in five of six.
BUILT_LAYERS = {"gemma2": LAYERS[::-1], "gemma3_text": [LAYERS[0]] * 2}
WIDE = 128  # than any text
CUTS = {"optimum": tuple(TYPES), "nocache": ("gpt2", "opt", "llama", "qwen3"), "split": LEGACY, "merged": LEGACY, "gqa": BUILT,
        "genai": BUILT}


def copy_small(made: Path, folder: Path) -> None:
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        if (made / name).exists():
            shutil.copyfile(made / name, folder / name)
    template = made / "chat_template.jinja"
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    if template.exists():
        settings["chat_template"] = template.read_text()
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")


def optimum(checkpoint: Path, folder: Path, past: bool = True) -> None:
    from optimum.exporters.onnx import main_export
    made = folder.parent / "made"
    main_export(str(checkpoint), str(made), task="text-generation" + ("-with-past" if past else ""), do_validation=False)
    copy_small(made, folder)
    onnx.save(onnx.load(made / "model.onnx"), folder / "model.onnx")
    clean(folder / "model.onnx")


def split(checkpoint: Path, folder: Path) -> None:
    """The first step's graph without a past, and the other one."""
    from optimum.exporters.onnx import export
    from optimum.exporters.tasks import TasksManager
    copy_small(checkpoint, folder)
    model = tf.AutoModelForCausalLM.from_pretrained(checkpoint).eval()
    make = TasksManager.get_exporter_config_constructor(exporter="onnx", model=model, task="text-generation")
    for name, inside in (("decoder_model", False), ("decoder_with_past_model", True)):
        config = make(model.config, use_past=True, use_past_in_inputs=inside)
        export(model, config, folder / f"{name}.onnx")
        clean(folder / f"{name}.onnx")


def merged(checkpoint: Path, folder: Path) -> None:
    from optimum.onnx import merge_decoders
    split(checkpoint, folder)
    parts = [folder / f"{n}.onnx" for n in ("decoder_model", "decoder_with_past_model")]
    (folder / "onnx").mkdir()
    merge_decoders(*(onnx.load(p) for p in parts), save_path=folder / "onnx" / "decoder_model_merged.onnx", strict=False)
    clean(folder / "onnx" / "decoder_model_merged.onnx")
    for part in parts:
        part.unlink()


def genai(checkpoint: Path, folder: Path) -> None:
    build_genai(checkpoint, folder.parent / "made")
    copy_small(folder.parent / "made", folder)
    for name in ("genai_config.json", "model.onnx", "model.onnx.data"):
        shutil.copyfile(folder.parent / "made" / name, folder / name)
    (folder / "config.json").unlink(missing_ok=True)


def gqa(checkpoint: Path, folder: Path) -> None:
    build_genai(checkpoint, folder.parent / "made")
    copy_small(checkpoint, folder)
    (folder / "onnx").mkdir()
    onnx.save(onnx.load(folder.parent / "made" / "model.onnx"), folder / "onnx" / "model.onnx")
    clean(folder / "onnx" / "model.onnx")


EXPORT = {"optimum": optimum, "nocache": lambda c, f: optimum(c, f, past=False), "split": split, "merged": merged,
          "gqa": gqa, "genai": genai}


def checkpoint(kind: str, cuts: tuple[str, ...], seed: int, path: Path) -> dict:
    """A model and what it writes; raises Unsuitable.

    Windows that slide end within the texts, but for optimum: of transformers 4.57 it traces a cache that is
    cut to the window, which no client of such files expects.
    """
    tokenizer = chat_tokenizer()
    make, more = TYPES[kind]
    built = bool({"gqa", "genai"} & set(cuts))
    if "sliding_window" in more and not built:
        more = more | {"sliding_window": WIDE}
    elif kind in BUILT_LAYERS and built:
        more = more | {"layer_types": BUILT_LAYERS[kind]}
    ids = {"vocab_size": len(tokenizer), "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
           "pad_token_id": tokenizer.pad_token_id, "tie_word_embeddings": False}
    model = tf.AutoModelForCausalLM.from_config(make(**(more | ids)))
    core.randomise(model, seed, gain=1.5)
    core.save_rounded(model, path)
    tokenizer.save_pretrained(path)
    model = tf.AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager").eval()
    rows, gaps = [], []
    for text in [*PROMPTS, *CHATS]:
        chats = not isinstance(text, str)
        given = tokenizer.apply_chat_template(text, add_generation_prompt=True) if chats else tokenizer(text).input_ids
        new, gap = greedy(model, given)
        row = {"messages": text} if chats else {"prompt": text}
        with torch.no_grad():
            beams = model.generate(torch.tensor([given]), attention_mask=torch.ones(1, len(given), dtype=torch.int64),
                                   num_beams=BEAMS, max_new_tokens=BEAM_NEW, do_sample=False, num_return_sequences=2,
                                   return_dict_in_generate=True, output_scores=True)
        if float(beams.sequences_scores[0] - beams.sequences_scores[1]) > 1e-3:
            best = beams.sequences[0, len(given):].tolist()
            row["beam_ids"] = best[:best.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in best else best
        rows.append(row | {"input_ids": given, "ids": new})
        gaps.append(gap)
    dull = sum(len(set(r["ids"])) < 4 for r in rows)
    if min(gaps) < core.MIN_GAP or dull > 2:
        raise core.Unsuitable(f"gap {min(gaps):.2g}, {dull} dull")
    return {"rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m xpipe_export.golden.texts")
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="*", help="such as gpt2-merged")
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    tf.utils.logging.set_verbosity_error()
    for kind, cuts in itertools.product(TYPES, (("optimum", "nocache", "split", "merged"), ("gqa", "genai"))):
        names = [f"{kind}-{cut}" for cut in cuts if kind in CUTS[cut]]
        names = [n for n in names if not args.only or n in args.only]
        if not names:
            continue
        with tempfile.TemporaryDirectory() as tmp:
            golden = {}

            def attempt(seed: int) -> None:
                shutil.rmtree(Path(tmp) / "checkpoint", ignore_errors=True)
                golden.update(checkpoint(kind, cuts, seed, Path(tmp) / "checkpoint"))

            try:
                seed = core.search(attempt, 1)
            except Exception as e:
                print(kind, "has no model:", str(e)[-200:], flush=True)
                continue
            for name in names:
                folder = args.out / name
                work = Path(tmp) / name / "folder"
                work.mkdir(parents=True)
                try:
                    EXPORT[name.rsplit("-", 1)[1]](Path(tmp) / "checkpoint", work)
                except Exception as e:
                    print(name, "is not made:", str(e).strip()[-200:].replace("\n", " "), flush=True)
                    continue
                about = {"script": f"python -m xpipe_export.golden.texts --only {name}", "seed": seed,
                         "versions": core.versions() | {"onnx": onnx.__version__}}
                (work / "golden.json").write_text(json.dumps(about | golden, ensure_ascii=False, indent=1) + "\n")
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(work, folder)
                print(name, "seed", seed, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()), "bytes", flush=True)


if __name__ == "__main__":
    main()
