"""Golden outputs of a checkpoint in torch: python -m xpipe_train.golden CHECKPOINT OUT --images
DIR.

OUT/golden.json lists cases of every graph with their .npy inputs and outputs, in the layout that
engine/enginetest reads, and image-question pairs with the text that greedy decoding gives. Seeded;
versions and the checkpoint's step are recorded in it.
"""
import json

import torch
from PIL import Image
from xpipe_export.families.blip2 import QFormer
from xpipe_export.families.causal import KEEP, CausalDecoder, cache_names, padded_mask

from .encoder import pixels
from .export_blip2 import MAX_NEW_TOKENS, restored
from .golden_cases import Cases, arguments, size, versions
from .text import IDS, Codec

SEED = 20
GRAPHS = {"decoder": "decoder_model_merged"}
"""The bundle's file of a graph where its name is another."""
PAIRS = [("apple.png", None), ("dog.png", None), ("rocket.png", None), ("blue-triangle.png", None),
         ("umbrella.png", None),
         ("blue-triangle.png", "what color is the shape?"),
         ("blue-triangle.png", "Is there a triangle?"),
         ("red-circle.png", "what shape is in the image?"),
         ("red-circle.png", "is there not a red shape in the image?"),
         ("apple.png", "what is this?"),
         ("scene.png", "how many dogs are there?"), ("scene.png", "is there a car?"),
         ("scene.png", "what color is the car?"),
         ("scene.png", "is the car left of the apple?")]


@torch.no_grad()
def main():
    args = arguments(__doc__, "blip2-mini")
    torch.manual_seed(SEED)
    model, vision, _ = restored(args.checkpoint)
    codec = Codec(args.tokenizer)
    cases = Cases(args.out, args.bundle)

    def case(graph, module, inputs, outputs):
        return cases.add(graph, GRAPHS.get(graph, graph), module, inputs, outputs)

    seen = [torch.tensor(pixels(Image.open(args.images / n)))[None]
            for n in ("apple.png", "blue-triangle.png", "dog.png")]
    embeds = [case("vision_encoder", vision, {"pixel_values": x}, ["image_embeds", "image_places"])[0]
              for x in (seen[0], torch.cat(seen[1:]))]
    qformer = QFormer(model.qformer, model.query_tokens).eval()
    for x in (*embeds, torch.randn(3, 19, model.c.width)):
        case("qformer", qformer, {"image_embeds": x}, ["query_output"])
    embed = model.lm.get_input_embeddings()
    for shape in ((1, 1), (3, 7)):
        case("embed_tokens", embed, {"input_ids": torch.randint(0, model.c.vocab, shape)}, ["inputs_embeds"])
    layers, heads, dim = model.c.lm_layers, model.c.heads, model.c.width // model.c.heads
    decoder = CausalDecoder(model.lm).eval()
    for batch, length, past in ((1, 5, 0), (2, 3, 0), (1, 1, 6), (3, 2, 4)):
        inputs = {"inputs_embeds": torch.randn(batch, length, model.c.width) * 0.1,
                  "attention_mask": padded_mask(batch, past, length), KEEP: torch.tensor(0)}
        inputs |= {n: torch.randn(batch, heads, past, dim) for n in cache_names("past_key_values", layers)}
        case("decoder", decoder, inputs, ["logits", *cache_names("present", layers)])

    texts = []
    for name, question in PAIRS:
        q = model.query_output(vision(torch.tensor(pixels(Image.open(args.images / name)))[None])[0])
        ids = model.generate(q, [codec.prompt(question)], [0], IDS["eos"], MAX_NEW_TOKENS)[0]
        texts.append({"image": name, "question": question, "ids": ids, "text": codec.decode(ids)})
        print(name, "|", question, "|", texts[-1]["text"])
    step = torch.load(args.checkpoint, weights_only=False)["step"]
    (args.out / "golden.json").write_text(json.dumps({
        "made_by": "tools/train/xpipe_train/golden.py", "seed": SEED, "checkpoint_step": step, "versions": versions(),
        "decoding": f"greedy, at most {MAX_NEW_TOKENS} tokens", "cases": cases.list, "texts": texts}, indent=1) + "\n")
    print(size(args.out))


if __name__ == "__main__":
    main()
