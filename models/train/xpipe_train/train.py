"""Trains blip2-mini from cached features: python -m xpipe_train.train CONFIG. Resumes from its last checkpoint.

A config (configs/*.json) names the model's sizes, the learning rate factor of each component and the stages;
a stage has its steps, its learning rate from and to, the batch and the weight of each loss.
"""
import argparse
import csv
import json
import random
import time
from pathlib import Path

import torch

from .data import Data, corpus, padded
from .encoder import Encoder
from .model import Blip2Mini, MiniConfig
from .text import IDS, Codec, imagenet_names, train_tokenizer


def build(config: dict, root: Path, run: Path):
    """(model, data, codec) as the config and the cached features have them."""
    c = MiniConfig(**config["model"])
    tokenizer = run / "tokenizer.json"
    if not tokenizer.exists():
        train_tokenizer(*corpus(root), tokenizer, c.vocab)
    codec = Codec(tokenizer)
    classifier = Encoder().classifier
    data = Data(root, codec, classifier, config["shrink"])
    c.emoji = len(data.names)
    words = [(codec.plain(n) + [IDS["pad"]] * c.concept_words)[:c.concept_words] for n in imagenet_names() + data.names]
    torch.manual_seed(config["seed"])
    model = Blip2Mini(c, torch.tensor(words), classifier, IDS)
    data.heads.install(model.concepts)
    sample = data.arrays(data.emoji + data.shapes, [(s, i) for s, v in enumerate(data.emoji + data.shapes)
                                                    for i in range(0, len(v.labels), max(1, len(v.labels) // 300))])
    for name, x in (("grid", sample[0].flatten(0, 1)), ("pooled", sample[1])):
        getattr(model.neck, f"{name}_mean").copy_(x.mean(0))
        getattr(model.neck, f"{name}_std").copy_(x.std(0) + 1e-3)
    return model, data, codec


def groups(model, factors: dict):
    """Parameter groups, one a component and decay kind; a factor of 0 freezes the component."""
    out: dict[tuple, list] = {}
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        component = name.split(".")[0]
        factor = factors.get(component, 1.0)
        if factor == 0:
            p.requires_grad_(False)
            continue
        out.setdefault((factor, p.ndim > 1), []).append(p)
    return [{"params": ps, "factor": f, "weight_decay": 0.02 if decay else 0.0} for (f, decay), ps in out.items()]


def text_losses(model, query_output, texts):
    """Mean loss and accuracy over the target tokens; short and long texts apart, so that little is padding."""
    prefix = model.prefix(query_output)
    loss = accuracy = count = 0
    for part in ([t for t in texts if len(t[1]) <= 7], [t for t in texts if len(t[1]) > 7]):
        if part:
            image, tokens, targets = padded(part)
            n = int((targets >= 0).sum())
            part_loss, part_accuracy = model.text_loss(prefix, image, tokens, targets)
            loss, accuracy, count = loss + part_loss * n, accuracy + part_accuracy * n, count + n
    return loss / count, accuracy / count


def plot(run: Path) -> None:
    """losses.csv -> losses.png."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    with open(run / "losses.csv") as f:
        rows = list(csv.DictReader(f))
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for column in ("itc", "text", "text_accuracy"):
        points = [(int(r["step"]), float(r[column])) for r in rows if r[column]]
        axes.plot(*zip(*points), label=column)
    axes.set_xlabel("step"), axes.legend(), axes.grid(True)
    figure.savefig(run / "losses.png", dpi=120)


@torch.no_grad()
def evaluate(model, data: Data, codec: Codec, limit: int | None = None, which="emoji_test"):
    """(exact share of held-out emoji names, right share of easy-VQA test questions, by kind)."""
    from . import pictures
    model.eval()
    rng = random.Random(0)
    test = getattr(data, which)
    rows = list(range(len(test.labels)))
    rows = rows if limit is None else rng.sample(rows, limit)
    right = 0
    for start in range(0, len(rows), 128):
        part = rows[start:start + 128]
        q = model.query_output(model.image_embeds(*data.arrays([test], [(0, i) for i in part])))
        got = model.generate(q, [codec.prompt(None)] * len(part), list(range(len(part))), IDS["eos"])
        right += sum(codec.decode(g) == data.names[test.labels[i]] for g, i in zip(got, part))
    emoji = right / len(rows)
    _, asked = pictures.easy_vqa("test")
    if limit is not None:
        asked = rng.sample(asked, limit * 2)
    place = {i: n for n, i in enumerate(data.shapes_test.labels)}
    by: dict[str, list] = {}
    asked = sorted(asked, key=lambda r: r[2])
    for start in range(0, len(asked), 512):
        part = asked[start:start + 512]
        images = sorted({i for _, _, i in part})
        q = model.query_output(model.image_embeds(*data.arrays([data.shapes_test], [(0, place[i]) for i in images])))
        number = {i: n for n, i in enumerate(images)}
        got = model.generate(q, [codec.prompt(x) for x, _, _ in part], [number[i] for _, _, i in part], IDS["eos"], 4)
        for g, (_, a, _) in zip(got, part):
            kind = "yes/no" if a in ("yes", "no") else "shape" if a in ("circle", "rectangle", "triangle") else "colour"
            by.setdefault(kind, []).append(codec.decode(g) == a)
    model.train()
    everything = [r for v in by.values() for r in v]
    return emoji, sum(everything) / len(everything), {k: round(sum(v) / len(v), 4) for k, v in sorted(by.items())}


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("config", type=Path)
    ap.add_argument("--root", type=Path, default=Path("build/train"))
    ap.add_argument("--run", type=Path, help="where checkpoints go (default root/runs/NAME)")
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--from", dest="start", type=Path, help="start from this checkpoint's weights")
    args = ap.parse_args()
    config = json.loads(args.config.read_text())
    run = args.run or args.root / "runs" / config["name"]
    run.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    model, data, codec = build(config, args.root, run)
    print(f"{sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6:.2f} M trained parameters; "
          f"{len(data.emoji)} emoji views, {len(data.shapes)} shape views; discriminant on left-out styles "
          f"{data.heads.accuracy:.3f}, temperature {data.heads.temperature}", flush=True)
    optimiser = torch.optim.AdamW(groups(model, config["factors"]), lr=1e-3, betas=(0.9, 0.98))
    step, rng = 0, random.Random(config["seed"])
    last = run / "last.pt"
    if last.exists():
        state = torch.load(last, weights_only=False)
        model.load_state_dict(state["model"])
        data.heads.install(model.concepts)  # there may be more views now than then
        optimiser.load_state_dict(state["optimiser"])
        step = state["step"]
        rng.setstate(state["rng"]), torch.set_rng_state(state["torch_rng"])
    elif args.start:
        model.warm_start(torch.load(args.start, weights_only=False)["model"])

    def save(path):
        torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step, "rng": rng.getstate(),
                    "torch_rng": torch.get_rng_state(), "config": config}, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)

    log = open(run / "losses.csv", "a", newline="")
    rows = csv.writer(log)
    if step == 0:
        rows.writerow(["step", "stage", "lr", "itc", "text", "text_accuracy", "seconds"])
    model.train()
    begun, done, sums = time.time(), 0, {}
    for stage in config["stages"]:
        begin, done = done, done + stage["steps"]
        while step < done:
            t = (step - begin) / stage["steps"]
            lr = (stage["lr"][0] + (stage["lr"][1] - stage["lr"][0]) * t) * min(1.0, (step + 1) / config["warmup"])
            for g in optimiser.param_groups:
                g["lr"] = lr * g["factor"]
            images, labels, texts = data.batch(rng, stage["emoji"], stage["shapes"], stage["questions"], stage["photos"])
            q = model.query_output(model.image_embeds(*images))
            loss, shown = 0.0, {}
            if stage["itc"] and stage["emoji"]:
                itc = torch.nn.functional.cross_entropy(model.itc_logits(q[:stage["emoji"]], data.name_tokens), labels, label_smoothing=0.05)
                loss, shown["itc"] = loss + stage["itc"] * itc, itc.item()
            if stage["text"]:
                text, accuracy = text_losses(model, q, texts)
                loss, shown["text"], shown["accuracy"] = loss + stage["text"] * text, text.item(), accuracy.item()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config["clip"])
            optimiser.step()
            step += 1
            for k, v in shown.items():
                sums.setdefault(k, []).append(v)
            if step % 50 == 0:
                mean = {k: sum(v) / len(v) for k, v in sums.items()}
                sums = {}
                seconds = time.time() - begun
                rows.writerow([step, stage["name"], f"{lr:.2e}", *(f"{mean[k]:.4f}" if k in mean else "" for k in ("itc", "text", "accuracy")), f"{seconds:.0f}"])
                log.flush()
                print(f"{stage['name']} {step}/{sum(s['steps'] for s in config['stages'])} lr {lr:.1e} "
                      + " ".join(f"{k} {v:.3f}" for k, v in mean.items()) + f" {seconds:.0f} s", flush=True)
            if step % 100 == 0 or step == done:
                save(last)
                if stage["text"] and (step % 500 == 0 or step == done):
                    print(f"  held out: emoji %.3f easy-VQA %.3f %s" % evaluate(model, data, codec, 250), flush=True)
    save(run / "final.pt")
    plot(run)
    print("full test: emoji %.4f easy-VQA %.4f %s" % evaluate(model, data, codec), flush=True)


if __name__ == "__main__":
    main()
