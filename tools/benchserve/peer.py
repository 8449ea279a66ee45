"""A service of the shape of Immich's machine learning: FastAPI and uvicorn before Pillow and ONNX
Runtime, for benchserve to compare with.

    python peer.py BUNDLE HOST:PORT

Both encoders of the CLIP in BUNDLE are opened, as Immich's service holds them; pictures are asked for.
"""

import asyncio
import io
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
import uvicorn
from fastapi import FastAPI, File, Form
from PIL import Image

bundle, address = Path(sys.argv[1]), sys.argv[2]
conf = json.loads((bundle / "preprocessor_config.json").read_text())
graphs = json.loads((bundle / "xpipe.json").read_text())["graphs"]
# Immich's defaults for one model on CPU: intra-op threads 2, inter-op 1, requests in a pool of threads.
options = ort.SessionOptions()
options.intra_op_num_threads, options.inter_op_num_threads = 2, 1
sessions = {role: ort.InferenceSession(str(bundle / graphs[role]), options, providers=["CPUExecutionProvider"])
            for role in ("vision_encoder", "text_encoder")}
session = sessions["vision_encoder"]
pool = ThreadPoolExecutor(2)
app = FastAPI()
name = session.get_inputs()[0].name
size = conf["size"]["width"], conf["size"]["height"]  # BlipImageProcessor: no crop
mean, std = np.float32(conf["image_mean"]), np.float32(conf["image_std"])
resample = Image.Resampling(conf.get("resample", 3))


def run(data: bytes) -> tuple[np.ndarray, tuple[int, int]]:
    img = Image.open(io.BytesIO(data)).convert("RGB")
    pixels = np.asarray(img.resize(size, resample), np.float32) * np.float32(conf["rescale_factor"])
    pixels = ((pixels - mean) / std).transpose(2, 0, 1)[None]
    return session.run(None, {name: pixels})[0].reshape(-1), img.size


@app.get("/ping")
def ping():
    return "pong"


@app.post("/predict")
async def predict(entries: str = Form(), image: bytes = File()):
    json.loads(entries)
    row, (width, height) = await asyncio.get_running_loop().run_in_executor(pool, run, image)
    return {"clip": json.dumps(row.tolist()), "imageHeight": height, "imageWidth": width}


host, port = address.split(":")
uvicorn.run(app, host=host, port=int(port), log_level="error", access_log=False)
