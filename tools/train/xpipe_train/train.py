"""Trains a model of any family from cached features: python -m xpipe_train.train CONFIG. Resumes
from its last checkpoint.

A config (configs/*.json) names the family, and tasks/<family>.py has its class Task:

    Task(config, root, run)          makes self.model, its data under root, and the tokenizer file
                                     in run if it has one
    .batch(rng, stage)               anything; tensors in it are moved to the device
    .losses(batch, stage)            (total as a scalar tensor, {name: float} to show)
    .evaluate(limit)                 {name: share} on held-out material; all of it where limit is
                                     None
    .state(), .load(state)           optional: more to keep in checkpoints
    .warm_start(weights)             optional: how another checkpoint's weights are taken over

The rest is here and the same for all. Keys of a config, beside "family", "model" (the family's own)
and "stages":

    seed, warmup (steps), clip (gradient norm), weight_decay
    factors          learning rate factor of each top-level component of the model, 1 where not
                     named; 0 freezes it
    stages           [{name, steps, lr: [from, to], factors: {overrides}, ... the family's own}]
    precision        "fp32" or "bf16" (autocast)
    checkpointing    names of modules whose activations are computed again on the way back
    uniform_attention  endings of the names of query projections that start at zero
    pruning          {"at": step, "amount": share, "components": [...]}
    evaluate         {"every": steps, "limit": number}
"""
import argparse
import csv
import importlib
import json
import random
import time
from pathlib import Path

import torch

from . import techniques

DEFAULTS = {"seed": 1, "warmup": 100, "clip": 1.0, "weight_decay": 0.02, "factors": {},
            "precision": "fp32", "checkpointing": [], "uniform_attention": [], "pruning": None,
            "evaluate": {"every": 500, "limit": 250}}
SHOW, SAVE, SAVE_SECONDS = 50, 100, 60


def load_config(path: Path, overrides: list[str] = ()) -> dict:
    """The config file over the defaults; an override is "dotted.key=JSON"."""
    config = DEFAULTS | json.loads(path.read_text())
    config.setdefault("name", path.stem)
    for o in overrides:
        key, value = o.split("=", 1)
        *parents, last = key.split(".")
        at = config
        for p in parents:
            at = at[int(p)] if isinstance(at, list) else at.setdefault(p, {})
        at[last] = json.loads(value)
    return config


def groups(model, weight_decay: float):
    """Parameter groups, one a top-level component and decay kind. Vectors do not decay."""
    out: dict[tuple, list] = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            out.setdefault((name.split(".")[0], p.ndim > 1), []).append(p)
    return [{"params": ps, "component": c, "weight_decay": weight_decay if decay else 0.0}
            for (c, decay), ps in out.items()]


def begin_stage(optimiser, factors: dict) -> None:
    """Sets each group's factor; where it is 0 no gradient is computed."""
    for g in optimiser.param_groups:
        g["factor"] = factors.get(g["component"], 1.0)
        for p in g["params"]:
            p.requires_grad_(g["factor"] != 0)


def moved(x, device):
    """x with every tensor in it on the device."""
    if isinstance(x, torch.Tensor):
        return x.to(device)
    if isinstance(x, dict):
        return {k: moved(v, device) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)(moved(v, device) for v in x)
    return x


def plot(run: Path) -> None:
    """losses.csv -> losses.png."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    lines: dict[str, list] = {}
    with open(run / "losses.csv") as f:
        for r in csv.DictReader(f):
            lines.setdefault(r["name"], []).append((int(r["step"]), float(r["value"])))
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name, points in lines.items():
        axes.plot(*zip(*points), label=name, marker="." if name.startswith("held out") else None)
    axes.set_xlabel("step")
    axes.set_yscale("symlog", linthresh=0.1)
    axes.legend(fontsize=6)
    axes.grid(True)
    figure.savefig(run / "losses.png", dpi=120)
    pyplot.close(figure)


class Training:
    """A task with its optimiser, at a step."""

    def __init__(self, config: dict, root: Path, run: Path, start: Path | None = None):
        self.config, self.run, self.step, self.history = config, run, 0, []
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(config["seed"])
        self.task = importlib.import_module(f"{__package__}.tasks.{config['family']}").Task(config, root, run)
        model = self.model = self.task.model
        if config["uniform_attention"]:
            techniques.uniform_attention(model, config["uniform_attention"])
        last = None
        if (run / "last.pt").exists():
            last = torch.load(run / "last.pt", weights_only=False, map_location="cpu")
        if last is None and start:
            state = torch.load(start, weights_only=False, map_location="cpu")
            self.history = [*state.get("history", []), {"config": state["config"], "steps": state["step"]}]
            getattr(self.task, "warm_start", model.load_state_dict)(state["model"])
        self.optimiser = torch.optim.AdamW(groups(model.to(self.device), config["weight_decay"]),
                                           lr=1e-3, betas=(0.9, 0.98))
        techniques.recomputed(model, config["checkpointing"])
        self.rng = random.Random(config["seed"])
        torch.manual_seed(config["seed"])
        if last is not None:
            self.step, self.history = last["step"], last["history"]
            self._prune_at(self.step, reached=True)
            model.load_state_dict(last["model"])
            self.optimiser.load_state_dict(last["optimiser"])
            if last["task"] is not None:
                self.task.load(last["task"])
            self.rng.setstate(last["rng"])
            torch.set_rng_state(last["torch_rng"])

    def _prune_at(self, step: int, reached=False) -> None:
        p = self.config["pruning"]
        if p and (step == p["at"] or reached and step > p["at"]):
            techniques.pruned(self.model, p["components"], p["amount"])

    def save(self, path: Path, final=False) -> None:
        state = {"model": self.model.state_dict(), "step": self.step, "config": self.config, "history": self.history}
        if not final:
            state |= {"optimiser": self.optimiser.state_dict(), "rng": self.rng.getstate(),
                      "torch_rng": torch.get_rng_state(),
                      "task": self.task.state() if hasattr(self.task, "state") else None}
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)

    def one(self, stage: dict, lr: float) -> dict[str, float]:
        """One step; returns what the task shows of it."""
        self._prune_at(self.step)
        for g in self.optimiser.param_groups:
            g["lr"] = lr * g["factor"]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config["precision"] == "bf16"):
            total, shown = self.task.losses(moved(self.task.batch(self.rng, stage), self.device), stage)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config["clip"])
        self.optimiser.step()
        self.step += 1
        return shown

    @torch.no_grad()
    def evaluate(self, limit: int | None) -> dict[str, float]:
        self.model.eval()
        figures = self.task.evaluate(limit)
        self.model.train()
        return figures

    def go(self, until: int | None = None) -> None:
        """Runs all stages, or up to a step, and leaves final.pt."""
        config, stages = self.config, self.config["stages"]
        total = sum(s["steps"] for s in stages)
        log = open(self.run / "losses.csv", "a", newline="")
        rows = csv.writer(log)
        if self.step == 0:
            rows.writerow(["step", "stage", "lr", "seconds", "name", "value"])
        self.model.train()
        begun = saved = time.time()
        done, sums = 0, {}
        for stage in stages:
            begin, done = done, done + stage["steps"]
            begin_stage(self.optimiser, config["factors"] | stage.get("factors", {}))
            while self.step < min(done, until or done):
                t = (self.step - begin) / stage["steps"]
                first, end = stage["lr"]
                lr = (first + (end - first) * t) * min(1.0, (self.step + 1) / config["warmup"])
                for k, v in self.one(stage, lr).items():
                    sums.setdefault(k, []).append(v)
                ended = self.step in (done, until)

                def record(figures):
                    for k, v in figures.items():
                        rows.writerow(
                            [self.step, stage["name"], f"{lr:.2e}", f"{time.time() - begun:.0f}", k,
                             f"{v:.4f}"])
                    log.flush()

                if self.step % SHOW == 0 or ended:
                    mean = {k: sum(v) / len(v) for k, v in sums.items()}
                    sums = {}
                    record(mean)
                    print(f"{stage['name']} {self.step}/{total} lr {lr:.1e} "
                          + " ".join(f"{k} {v:.3f}" for k, v in mean.items())
                          + f" {time.time() - begun:.0f} s", flush=True)
                if self.step % SAVE == 0 or ended or time.time() - saved > SAVE_SECONDS:
                    self.save(self.run / "last.pt")
                    saved = time.time()
                if self.step % config["evaluate"]["every"] == 0 or ended:
                    figures = self.evaluate(config["evaluate"]["limit"])
                    record({f"held out: {k}": v for k, v in figures.items()})
                    print("  held out: " + " ".join(f"{k} {v:.3f}" for k, v in figures.items()), flush=True)
        log.close()
        techniques.unpruned(self.model)
        self.save(self.run / "final.pt", final=True)
        plot(self.run)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("config", type=Path)
    ap.add_argument("--root", type=Path, default=Path("build/train"))
    ap.add_argument("--run", type=Path, help="where checkpoints go (default root/runs/NAME)")
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--from", dest="start", type=Path, help="start from this checkpoint's weights")
    ap.add_argument("--until", type=int, help="stop at this step")
    ap.add_argument("--set", action="append", default=[], metavar="KEY=JSON",
                    help="another value for a key of the config")
    ap.add_argument("--no-test", action="store_true", help="leave out the full evaluation at the end")
    args = ap.parse_args()
    torch.set_num_threads(args.threads)
    config = load_config(args.config, args.set)
    run = args.run or args.root / "runs" / config["name"]
    run.mkdir(parents=True, exist_ok=True)
    training = Training(config, args.root, run, args.start)
    trained = sum(p.numel() for p in training.model.parameters() if p.requires_grad)
    print(f"{config['name']} on {training.device}: {trained / 1e6:.2f} M trained parameters, from "
          f"step {training.step}",
          flush=True)
    training.go(args.until)
    if not args.no_test:
        print("full test: " + " ".join(f"{k} {v:.4f}" for k, v in training.evaluate(None).items()), flush=True)


if __name__ == "__main__":
    main()
