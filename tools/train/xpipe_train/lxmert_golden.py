"""Golden answers of lxmert-mini in torch: python -m xpipe_train.lxmert_golden CHECKPOINT OUT
[--root build/train].

OUT gets scene.png, a scene in a drawing style of the training set, and answers.json: the boxes of
its things in pixels, and questions with the answers and log-probabilities that torch gives when it
cuts the picture at those boxes with Pillow.
"""
import argparse
import json
import platform
import random
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import __version__ as pillow

from .export_lxmert import restored
from .lxmert_crops import pixels, square
from .scenes import ANSWERS, SIDE, layout, load_sprites, questions, render
from .tasks.lxmert import Tokenizer

SEED, STYLE = 5, "google"


@torch.no_grad()
def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("checkpoint", type=Path)
    ap.add_argument("out", type=Path)
    ap.add_argument("--root", type=Path, default=Path("build/train"))
    args = ap.parse_args()
    torch.set_num_threads(1)
    model, encoder, state = restored(args.checkpoint)
    tok = Tokenizer.from_file(str(args.checkpoint.with_name("tokenizer.json")))
    rng = random.Random(SEED)
    sprites = load_sprites(args.root, STYLE)
    scene = layout(rng, sprites)
    while len(scene.things) < 6 or len(scene.single()) < 3 or not any(t.tint for t in scene.single()):
        scene = layout(rng, sprites)
    im = render(scene, sprites, rng)
    args.out.mkdir(parents=True, exist_ok=True)
    im.save(args.out / "scene.png", optimize=True)
    boxes = [t.box for t in scene.things]
    features = encoder(
        torch.tensor(
            np.stack([pixels(c) for c in [im, *(im.crop(square(b, SIDE, SIDE)) for b in boxes)]])))
    places = torch.tensor([(0, 0, SIDE, SIDE), *boxes], dtype=torch.float32) / SIDE
    answers = []
    for _, q, _ in questions(scene, rng, sprites, each=3):
        ids = torch.tensor([tok.encode(q).ids])
        out = model.lxmert(input_ids=ids, attention_mask=torch.ones_like(ids),
                           visual_feats=features[None], visual_pos=places[None],
                           visual_attention_mask=torch.ones(1, len(places), dtype=torch.int64))
        best = out.question_answering_score.log_softmax(-1)[0].max(-1)
        answers.append({"question": q, "answer": ANSWERS[best.indices], "logprob": best.values.item()})
    (args.out / "answers.json").write_text(
        json.dumps(
            {
                "made_by": "tools/train/xpipe_train/lxmert_golden.py", "seed": SEED, "style": STYLE,
                "checkpoint_step": state["step"],
                "versions": {"python": platform.python_version(), "torch": torch.__version__,
                             "transformers": transformers.__version__, "pillow": pillow,
                             "numpy": np.__version__},
                "image": "scene.png", "boxes": boxes, "answers": answers}, indent=1) + "\n")
    print(f"{len(answers)} answers about {len(boxes)} things")


if __name__ == "__main__":
    main()
