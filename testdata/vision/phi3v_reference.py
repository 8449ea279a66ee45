"""python testdata/vision/phi3v_reference.py > testdata/vision/phi3v.json: pixels of Phi-3-vision.

Its image processor is code in its checkpoints; this is image_processing_phi3_v.py again, with torch
2.8.0, torchvision 0.23.0 and Pillow 13.0.0. Pictures are those of testdata/families/images.
"""

import json
import math
from pathlib import Path

import torch
import torchvision
from PIL import Image

IMAGES = Path(__file__).resolve().parents[1] / "families" / "images"
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def transform(picture, crops):
    tall = picture.width < picture.height
    if tall:
        picture = picture.transpose(Image.TRANSPOSE)
    ratio, scale = picture.width / picture.height, 1
    while scale * math.ceil(scale / ratio) <= crops:
        scale += 1
    scale -= 1
    width = scale * 336
    picture = torchvision.transforms.functional.resize(picture, [int(width / ratio), width])
    whole = math.ceil(picture.height / 336) * 336
    top = int((whole - picture.height) / 2)
    picture = torchvision.transforms.functional.pad(picture, [0, top, 0, whole - picture.height - top], fill=[255] * 3)
    return picture.transpose(Image.TRANSPOSE) if tall else picture


def pixels(picture, crops):
    page = torchvision.transforms.functional.to_tensor(transform(picture, crops))
    page = torchvision.transforms.functional.normalize(page, MEAN, STD)
    h, w = page.shape[1:]
    seen = torch.nn.functional.interpolate(page[None].float(), size=(336, 336), mode="bicubic")
    cut = page.reshape(3, h // 336, 336, w // 336, 336).permute(1, 3, 0, 2, 4).reshape(-1, 3, 336, 336)
    seen = torch.cat([seen, cut])
    return torch.cat([seen, torch.zeros(1 + crops - len(seen), 3, 336, 336)]), [h, w]


cases = []
for name, crops in (("figure0.png", 4), ("figure1.png", 4), ("figure2.png", 1), ("figure1.png", 16)):
    made, size = pixels(Image.open(IMAGES / name).convert("RGB"), crops)
    every = made.numel() // 499
    cases.append({"image": name, "crops": crops, "size": size, "every": every,
                  "values": [round(v, 6) for v in made.flatten()[::every].tolist()]})
print(json.dumps(cases))
