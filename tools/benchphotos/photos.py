"""Time the embedding of a folder of photos by `xpipe embed` and by Pillow with ONNX Runtime.

    python photos.py make FOLDER [COUNT]           seeded JPEGs of 1 to 12 megapixels
    python photos.py bench XPIPE BUNDLE FOLDER OUT  both over the folder; JSON in OUT
    python photos.py peer BUNDLE FOLDER OUT.npy     the Python side alone

The Python side is Immich's machine learning without its HTTP: a pool of as many threads as there are cores, each of
which decodes a photo with Pillow, prepares it with NumPy and runs a session of two intra-op threads and one inter-op
thread. Its preprocessing is CLIPImageProcessor's: the shorter side to size, bicubic, the middle cut out.
Wants numpy, pillow and onnxruntime; tools/benchserve/requirements.txt has their versions."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

SHAPES = [(4, 3), (3, 4), (3, 2), (2, 3), (16, 9), (1, 1)]


def make(folder, count):
    """Clouds of several scales, so that the files are as large as photos': about 0.2 bytes a pixel."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        path = folder / f"{i:04d}.jpg"
        if path.exists():
            continue
        rng = np.random.default_rng(i)
        w, h = SHAPES[rng.integers(len(SHAPES))]
        unit = (rng.uniform(1, 12) * 1e6 / (w * h)) ** 0.5
        size = int(w * unit), int(h * unit)
        photo = np.zeros((size[1], size[0], 3), np.int16)
        for cells, weight in ((4, 96), (24, 64), (160, 40), (900, 24)):
            noise = rng.integers(-128, 128, (max(2, cells * h // w), cells, 3), np.int16)
            layer = Image.fromarray((noise + 128).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
            photo += (np.asarray(layer, np.int16) - 128) * weight // 128
        part = folder / f"{i:04d}.part"
        Image.fromarray(np.clip(photo + 128, 0, 255).astype(np.uint8)).save(part, "JPEG", quality=88)
        part.rename(path)


def peer(bundle, folder, out):
    import onnxruntime as ort

    graph = next(p for p in Path(bundle, "onnx").glob("*.onnx") if "vision" in p.name)
    config = json.loads(Path(bundle, "preprocessor_config.json").read_text())
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 2, 1
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    name, size = session.get_inputs()[0].name, config["size"]
    mean, std = np.float32(config["image_mean"]), np.float32(config["image_std"])

    def embed(path):
        img = Image.open(path).convert("RGB")
        if short := size.get("shortest_edge"):
            w, h = img.size
            scale = short / min(w, h)
            img = img.resize((max(short, int(w * scale)), max(short, int(h * scale))), Image.Resampling.BICUBIC)
            left, top = (img.width - short) // 2, (img.height - short) // 2
            img = img.crop((left, top, left + short, top + short))
        else:
            img = img.resize((size["width"], size["height"]), Image.Resampling.BICUBIC)
        pixels = (np.asarray(img, np.float32) / np.float32(255) - mean) / std
        return session.run(None, {name: pixels.transpose(2, 0, 1)[None]})[0].reshape(-1)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        np.save(out, np.stack(list(pool.map(embed, sorted(Path(folder).glob("*.jpg"))))))


def timed(command):
    began = time.time()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.time() - began
    if status:
        sys.exit(f"{command}: status {os.waitstatus_to_exitcode(status)}")
    cpu = usage.ru_utime + usage.ru_stime
    return {"seconds": seconds, "cpu_percent": 100 * cpu / seconds, "most_resident_mib": usage.ru_maxrss / 1024}


def bench(xpipe, bundle, folder, out):
    count = len(list(folder.glob("*.jpg")))
    results = Path(out).parent
    sides = {
        "xpipe": [xpipe, "embed", str(folder), "--model", bundle, "--out", str(results / "photos-xpipe.npy")],
        "python": [sys.executable, __file__, "peer", bundle, str(folder), str(results / "photos-python.npy")],
    }
    report = {"photos": count}
    for name, command in sides.items():
        for old in results.glob(f"photos-{name}.*"):
            old.unlink()
        report[name] = timed(command)
        report[name]["photos_per_second"] = count / report[name]["seconds"]
    mine, theirs = (np.load(results / f"photos-{name}.npy") for name in sides)
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    report["least_cosine"] = float((mine * theirs).sum(axis=1).min())
    report["times_as_fast"] = report["xpipe"]["photos_per_second"] / report["python"]["photos_per_second"]
    report["memory_to_python"] = report["xpipe"]["most_resident_mib"] / report["python"]["most_resident_mib"]
    Path(out).write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if sys.argv[1] == "make":
    make(Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1000)
elif sys.argv[1] == "peer":
    peer(*sys.argv[2:5])
else:
    bench(sys.argv[2], sys.argv[3], Path(sys.argv[4]), sys.argv[5])
