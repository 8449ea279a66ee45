"""python operations_reference.py > operations.json: what onnxruntime-extensions (0.15.2) makes of
pictures by lists of operations, those that its tests and onnxruntime-genai's packages have.

Tensors are kept as a sum and some hundred values each.
"""

import json
import os
import tempfile

import numpy as np
from onnxruntime_extensions.pp_api import create_processor, image_pre_process, load_images, tensor_result_get_at
from PIL import Image


def patterned(w: int, h: int) -> np.ndarray:
    y, x = np.mgrid[0:h, 0:w]
    return np.stack([x * 7 + y * 3, x * x + 5 * y, x * y // 3 + 11 * y], -1).astype(np.uint8)


def op(kind: str, **attrs) -> dict:
    return {"operation": {"name": kind.lower(), "type": kind} | ({"attrs": attrs} if attrs else {})}


def config(*ops: dict) -> dict:
    return {"processor": {"name": "image_processing", "transforms": list(ops)}}


HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
FIRST = op("Permute3D", dims=[2, 0, 1])


def gemma(**attrs) -> dict:
    return config(op("DecodeImage", color_space="RGB"), op("Resize", **attrs), op("Rescale"), op("Normalize", **HALF), FIRST)


def qwen(w: int, h: int, **attrs) -> dict:
    # 0.15.2 looks at the list's size in place of the picture's, which the version after it corrects
    return config(op("DecodeImage", color_space="RGB"), op("ConvertRGB"),
                  op("Resize", smart_resize=1, width=w, height=h, patch_size=14, merge_size=2, **attrs),
                  op("Rescale", rescale_factor=0.00392156862745098), op("Normalize", qwen2_5_vl=1),
                  op("PatchImage", patch_size=14, temporal_patch_size=2, merge_size=2))


PHI = config(op("DecodeImage", color_space="BGR"), op("ConvertRGB"), op("Phi3ImageTransform", num_crops=16, num_img_tokens=144))
NAMES = {"phi": ["pixel_values", "image_sizes", None], "qwen": ["pixel_values", "grid"]}
CASES = [
    ("gemma", gemma(interpolation="CUBIC", width=96, height=96, keep_aspect_ratio=0), (61, 97)),
    ("gemma tall", gemma(interpolation="LANCZOS", width=40, height=30, keep_aspect_ratio=0), (50, 300)),
    ("gemma linear", gemma(interpolation="LINEAR", width=33, height=60), (50, 300)),
    ("clip", config(op("DecodeImage", color_space="RGB"), op("Resize", interpolation="CUBIC", width=50, height=50),
                    op("CenterCrop", width=31, height=44), op("Rescale"),
                    op("Normalize", mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]), FIRST), (90, 120)),
    ("bgr", config(op("DecodeImage", color_space="BGR"), op("Resize", width=20, height=24), op("Rescale", rescale_factor=0.5), FIRST),
     (30, 30)),
    *((f"qwen {w}x{h}", qwen(w, h, min_pixels=3136, max_pixels=40000), (w, h))
      for w, h in [(61, 97), (300, 200), (70, 70), (10, 12), (98, 126), (30, 700)]),
    *((f"phi {w}x{h}", PHI, (w, h)) for w, h in [(61, 97), (300, 200), (50, 400), (7, 5)]),
]


def run(made: dict, picture: np.ndarray, names: list[str]) -> dict:
    outputs = {}
    with tempfile.TemporaryDirectory() as folder:
        file, png = os.path.join(folder, "list.json"), os.path.join(folder, "picture.png")
        with open(file, "w") as f:
            json.dump(made, f)
        Image.fromarray(picture).save(png)
        result = image_pre_process(create_processor(file), load_images([png]))
        for i, name in enumerate(names):
            if name is None:
                continue
            value = np.array(tensor_result_get_at(result, i))
            flat = value.reshape(-1).astype(np.float64)
            at = sorted(np.random.default_rng(1).choice(flat.size, min(flat.size, 120), replace=False).tolist())
            outputs[name] = {"shape": list(value.shape), "at": at, "value": [float(np.float32(flat[i])) for i in at], "sum": float(flat.sum())}
    return outputs


print(json.dumps([{"name": name, "config": made, "width": w, "height": h,
                   "outputs": run(made, patterned(w, h), NAMES.get(name.split()[0], ["pixel_values"]))}
                  for name, made, (w, h) in CASES]))
