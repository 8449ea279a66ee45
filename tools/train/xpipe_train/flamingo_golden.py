"""Golden outputs of flamingo-mini in torch: python -m xpipe_train.flamingo_golden CHECKPOINT OUT
--images DIR.

OUT/golden.json lists cases of the graphs with their .npy files, in the layout that
engine/enginetest reads, and episodes over the pictures of DIR: examples, a picture and a question,
the ids of the prompt, and the text that greedy decoding gives. It is decoded without a cache: every
step reads the whole sequence again.
"""
import json

import torch
from PIL import Image
from tokenizers import Tokenizer
from torch.nn import functional as F
from transformers import BlipImageProcessor
from xpipe_export.families import open_flamingo
from xpipe_export.families.causal import KEEP, cache_names, padded_mask
from xpipe_export.families.flamingo import one_image_each

from . import SIZE
from .clip_golden import digest
from .encoder import Encoder
from .export_flamingo import MAX_NEW_TOKENS, restored
from .flamingo import ANSWER, END, IDS, MEDIA, Vision, hidden
from .golden_cases import Cases, arguments, size, versions
from .mini_export import preprocessor

SEED = 20
GAP = 2e-3
"""Steps whose two best logits are nearer than this say nothing about an engine."""
QUESTION = "what is this?"
EPISODES = [
    # examples (picture, name), then the picture asked about
    ([("apple.png", "zudo"), ("dog.png", "kemi"), ("guitar.png", "lopa"), ("rocket.png", "rifa")], "guitar.png"),
    ([("dog.png", "kemi"), ("apple.png", "zudo")], "apple.png"),
    ([("umbrella.png", "Vano"), ("pizza.png", "my lunch"), ("red-circle.png", "bodu")], "pizza.png"),
    ([("blue-triangle.png", "tefi")], "blue-triangle.png"),
    ([], "rocket.png"),
]


@torch.no_grad()
def main():
    args = arguments(__doc__, "flamingo-mini")
    torch.manual_seed(SEED)
    model, c, state = restored(args.checkpoint)
    vision, tokenizer = Vision(Encoder(), model.vision_encoder).eval(), Tokenizer.from_file(str(args.tokenizer))
    cases = Cases(args.out, args.bundle)
    add_graphs(cases, model, c)

    names = sorted({name for shots, asked in EPISODES for name in (*(n for n, _ in shots), asked)})
    processor = BlipImageProcessor(**{k: v for k, v in preprocessor(SIZE).items() if k != "image_processor_type"})
    pixels = processor([Image.open(args.images / n) for n in names], return_tensors="pt").pixel_values
    cells = vision(pixels)
    episodes = []
    for shots, asked in EPISODES:
        said = ANSWER.format(QUESTION)
        text = "".join(f"{MEDIA}{said} {name}{END}" for _, name in shots) + MEDIA + said
        prompt = tokenizer.encode(text).ids
        which = torch.tensor([[names.index(n) for n in (*(n for n, _ in shots), asked)]])
        ids, logprobs = greedy(model, cells, which, prompt)
        episodes.append({"shots": [{"image": n, "text": t} for n, t in shots], "image": asked, "question": QUESTION,
                         "prompt_ids": prompt, "ids": ids, "logprobs": logprobs, "text": tokenizer.decode(ids).strip()})
        print(len(shots), "examples |", asked, "|", episodes[-1]["text"])
    (args.out / "golden.json").write_text(
        json.dumps(
            {
                "made_by": "tools/train/xpipe_train/flamingo_golden.py, PyTorch restored from the "
                           "bundle (xpipe_train.restore)",
                "seed": SEED, "checkpoint_step": state["step"], "versions": versions(),
                "decoding": f"greedy, at most {MAX_NEW_TOKENS} tokens", "cases": cases.list,
                "images": [{"image": n, "pixels_sha256": digest(p)} for n, p in zip(names, pixels)],
                "episodes": episodes}, indent=1) + "\n")
    print(size(args.out))


def greedy(model, cells, which, prompt: list[int]) -> tuple[list[int], list[float]]:
    """The ids behind prompt up to the end's, and the logarithms of their probabilities."""
    ids, logprobs = [], []
    while len(ids) < MAX_NEW_TOKENS:
        logits = model.lang_encoder.embed_out(hidden(model, cells, which, torch.tensor([prompt + ids]))[0, -1])
        best = logits.topk(2)
        if best.values[0] - best.values[1] < GAP:
            raise SystemExit(f"step {len(ids)}: the two best logits are {best.values.tolist()}: "
                             "choose another episode")
        if best.indices[0] == IDS["end"]:
            break
        ids.append(int(best.indices[0]))
        logprobs.append(float(F.log_softmax(logits, -1)[ids[-1]]))
    return ids, logprobs


def add_graphs(cases: Cases, model, c) -> None:
    """Cases of the graphs behind the vision encoder, whose inputs are small."""
    lm, seen = model.lang_encoder, model.perceiver.latents.shape[1]
    for images in (1, 3):
        cases.add("resampler", "resampler", model.perceiver,
                  {"image_embeds": torch.randn(images, 49, seen) * 3}, ["latents"])
    kv = cache_names("present", len(model.blocks), ".encoder")
    cross_kv = open_flamingo.CrossKV(model.blocks).eval()
    for batch, images in ((1, 1), (2, 3)):
        cases.add("cross_kv", "cross_kv", cross_kv, {"latents": torch.randn(batch, images * model.tokens, seen)}, kv)
    cases.add("embed_tokens", "embed_tokens", lm.get_input_embeddings(),
              {"input_ids": torch.randint(0, c.vocab, (3, 7))},
              ["inputs_embeds"])
    decoder = open_flamingo.decoder_spec(model, False).module.eval()
    heads, dim = c.heads, c.width // c.heads
    cross_dim = c.cross_width // c.cross_heads
    for batch, length, past, images in ((2, 4, 0, 2), (1, 1, 6, 2), (3, 2, 4, 1)):
        media = one_image_each(batch, length, images)
        inputs = {"inputs_embeds": torch.randn(batch, length, c.width),
                  "attention_mask": padded_mask(batch, past, length), "image_attention_mask": media,
                  "cross_attention_gate": media.any(-1).float(), KEEP: torch.tensor(0)}
        inputs |= {n: torch.randn(batch, heads, past, dim)
                   for n in cache_names("past_key_values", c.layers, ".decoder")}
        inputs |= {n: torch.randn(batch, c.cross_heads, images * model.tokens, cross_dim)
                   for n in cache_names("past_key_values", len(model.blocks), ".encoder")}
        cases.add("decoder", "decoder_model_merged", decoder, inputs,
                  ["logits", *cache_names("present", c.layers, ".decoder")])


if __name__ == "__main__":
    main()
