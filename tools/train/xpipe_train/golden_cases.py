"""Cases of graphs in the layout that engine/enginetest reads: .npy inputs, and the outputs that
torch gives for them."""
import argparse
import platform
import shutil
from pathlib import Path

import numpy as np
import onnx
import torch
import transformers
from PIL import __version__ as pillow
from tokenizers import __version__ as tokenizers
from xpipe_export.graph import feed


class Cases:
    """The cases of one folder; it is emptied first. bundle is where the graphs lie, seen from
    there."""

    def __init__(self, out: Path, bundle: str):
        self.out, self.bundle, self.list = out, bundle, []
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)

    def add(self, graph: str, file: str, module, inputs: dict, outputs: list[str], given: dict[str, str] | None = None):
        """Run module and note inputs and outputs of graph, the bundle's onnx/file.onnx. Inputs the
        graph does not declare are left out (bundles of before num_logits_to_keep); given are those
        whose files are there already, seen from the folder. Returns what module gave."""
        got = module(*inputs.values())
        path = f"{self.bundle}/onnx/{file}.onnx"
        declared = {i.name for i in onnx.load(self.out / path, load_external_data=False).graph.input}
        name = f"{graph}/{sum(c['name'].startswith(graph + '/') for c in self.list)}"
        (self.out / name).mkdir(parents=True)
        case = {"name": name, "graph": path, "inputs": dict(given or {}), "outputs": {}}
        kept = {k: v for k, v in inputs.items() if k in declared and k not in case["inputs"]}
        for kind, tensors in (("inputs", kept), ("outputs", dict(
            zip(outputs, got if isinstance(got, tuple) else (got,))))):
            for n, t in tensors.items():
                np.save(self.out / name / f"{n}.npy", feed(t))
                case[kind][n] = f"{name}/{n}.npy"
        self.list.append(case)
        return got


def versions() -> dict:
    return {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__,
            "tokenizers": tokenizers, "pillow": pillow, "numpy": np.__version__}


def arguments(doc: str, name: str) -> argparse.Namespace:
    """CHECKPOINT OUT [--images DIR] [--tokenizer FILE] [--bundle DIR]; sets torch to one thread."""
    ap = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("checkpoint", type=Path)
    ap.add_argument("out", type=Path)
    ap.add_argument("--images", type=Path, default=Path("testdata/images"))
    ap.add_argument("--tokenizer", type=Path, help="default: tokenizer.json beside the checkpoint")
    ap.add_argument("--bundle", default=f"../../../models/mini/{name}", help="where the graphs lie, seen from OUT")
    args = ap.parse_args()
    args.tokenizer = args.tokenizer or args.checkpoint.with_name("tokenizer.json")
    torch.set_num_threads(1)
    return args


def size(folder: Path) -> str:
    return f"{sum(p.stat().st_size for p in folder.rglob('*') if p.is_file()) / 1e6:.2f} MB"
