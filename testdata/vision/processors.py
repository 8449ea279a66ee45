"""What the slow image processors of transformers 4.57.6 make of test pictures.

    build/venv-train/bin/python3 testdata/vision/processors.py

writes processors_random.json (configurations of random keys, with the hash of
the result or the error) and processors.json: configurations in the old and new spellings, and for
each of some files of images/ the shape, the SHA-256 of the float32 bytes and
61 values of the result, or the error of a processor that fails. Needs transformers 4.57.6 and Pillow 13.0.0.
"""

import hashlib
import json
import random
import sys
import warnings
from pathlib import Path

import numpy as np
import PIL
import transformers
from PIL import Image, ImageOps
from transformers.models.auto import image_processing_auto

HERE = Path(__file__).parent
PICTURES = ["rgb.png", "rgba.png", "palette-alpha.png", "grey-clear.png", "grey-alpha.png", "orientation.png", "wide.png", "tall.png"]

CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
CLIP = {"image_mean": CLIP_MEAN, "image_std": CLIP_STD, "resample": 3}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}

CONFIGS = {
    # As checkpoints have them.
    "blip2": {"image_processor_type": "BlipImageProcessor", "do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True, **CLIP, "processor_class": "Blip2Processor", "rescale_factor": 0.00392156862745098, "size": {"height": 224, "width": 224}},
    "blip2-coco": {"image_processor_type": "BlipImageProcessor", **CLIP, "size": {"height": 364, "width": 364}},
    "blip-defaults": {"image_processor_type": "BlipImageProcessor"},
    "blip-do-pad-null": {"image_processor_type": "BlipImageProcessor", "do_pad": None, "size": {"height": 48, "width": 40}, "crop_size": None},
    "clip-old": {"feature_extractor_type": "CLIPFeatureExtractor", "crop_size": 224, "do_center_crop": True, "do_normalize": True, "do_resize": True, **CLIP, "size": 224},
    "clip": {"image_processor_type": "CLIPImageProcessor", "crop_size": {"height": 64, "width": 64}, "size": {"shortest_edge": 64}, "do_center_crop": True, "do_convert_rgb": True, **CLIP},
    "clip-defaults": {"image_processor_type": "CLIPImageProcessor"},
    "clip-crop-larger": {"image_processor_type": "CLIPImageProcessor", "crop_size": {"height": 97, "width": 64}, "size": {"shortest_edge": 40}, **CLIP},
    "clip-no-resize": {"image_processor_type": "CLIPImageProcessor", "do_resize": False, "crop_size": {"height": 70, "width": 33}},
    "clip-square": {"image_processor_type": "CLIPImageProcessor", "size": {"height": 50, "width": 70}, "crop_size": 40},
    "clip-kosmos": {"image_processor_type": "CLIPImageProcessor", "use_square_size": True, "size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}},
    "clip-raw": {"image_processor_type": "CLIPImageProcessor", "do_normalize": False, "do_rescale": False, "size": {"shortest_edge": 30}, "crop_size": 30},
    "clip-no-rescale": {"image_processor_type": "CLIPImageProcessor", "do_rescale": False, "image_mean": [122.7, 116.7, 104.1], "image_std": [68.5, 66.6, 70.3], "size": {"shortest_edge": 30}, "crop_size": 30},
    "clip-no-normalize": {"image_processor_type": "CLIPImageProcessor", "do_normalize": False, "size": {"shortest_edge": 30}, "crop_size": 30},
    "idefics": {"image_processor_type": "IdeficsImageProcessor", "image_num_channels": 3, "image_mean": CLIP_MEAN, "image_std": CLIP_STD, "image_size": 224},
    "vit": {"image_processor_type": "ViTImageProcessor", "do_normalize": True, "do_rescale": True, "do_resize": True, **HALF, "resample": 2, "rescale_factor": 0.00392156862745098, "size": {"height": 224, "width": 224}},
    "vit-old": {"feature_extractor_type": "ViTFeatureExtractor", "do_normalize": True, "do_resize": True, **HALF, "resample": 2, "size": 96},
    "vit-lanczos": {"image_processor_type": "ViTImageProcessor", "resample": 1, "size": {"height": 33, "width": 57}, "image_mean": 0.4, "image_std": 0.3},
    "vit-box": {"image_processor_type": "ViTImageProcessor", "resample": 4, "size": [40, 30]},
    "vit-hamming": {"image_processor_type": "ViTImageProcessor", "resample": 5, "size": {"height": 40, "width": 30}},
    "deit": {"image_processor_type": "DeiTImageProcessor", "crop_size": {"height": 56, "width": 56}, "size": {"height": 64, "width": 64}, **IMAGENET},
    "deit-old": {"feature_extractor_type": "DeiTFeatureExtractor", "crop_size": 224, "size": 256, "resample": 3, **IMAGENET},
    "convnext-224": {"image_processor_type": "ConvNextImageProcessor", "crop_pct": 0.875, "do_normalize": True, "do_resize": True, **IMAGENET, "resample": 3, "size": {"shortest_edge": 224}},
    "convnext-384": {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 384}, **IMAGENET},
    "convnext-old": {"feature_extractor_type": "ConvNextFeatureExtractor", "crop_pct": 0.95, "size": 72, "resample": 3, **IMAGENET},
    "efficientnet": {"image_processor_type": "EfficientNetImageProcessor", "do_center_crop": False, "crop_size": {"height": 289, "width": 289}, **IMAGENET, "include_top": True, "resample": 0, "rescale_factor": 0.00392156862745098, "rescale_offset": False, "size": {"height": 224, "width": 224}},
    "efficientnet-offset": {"image_processor_type": "EfficientNetImageProcessor", "do_center_crop": True, "crop_size": {"height": 29, "width": 50}, "include_top": False, "rescale_factor": 0.00784313725490196, "rescale_offset": True, "size": {"height": 40, "width": 40}},
    "siglip": {"image_processor_type": "SiglipImageProcessor", "do_normalize": True, "do_rescale": True, "do_resize": True, **HALF, "processor_class": "SiglipProcessor", "resample": 3, "size": {"height": 224, "width": 224}},
    "detr": {"image_processor_type": "DetrImageProcessor", "size": {"shortest_edge": 64, "longest_edge": 100}, **IMAGENET, "do_convert_annotations": True, "format": "coco_detection"},
    "detr-old": {"feature_extractor_type": "DetrFeatureExtractor", "size": 48, "max_size": 90, **IMAGENET},
    "sam": {"image_processor_type": "SamImageProcessor", "size": {"longest_edge": 80}, "pad_size": {"height": 90, "width": 80}, **IMAGENET, "resample": 2},
    "donut-base": {"feature_extractor_type": "DonutFeatureExtractor", "do_align_long_axis": False, "do_normalize": True, "do_pad": True, "do_resize": True, "do_thumbnail": True, **HALF, "resample": 2, "size": [1920, 2560]},
    "donut-defaults": {"image_processor_type": "DonutImageProcessor"},
    "donut-docvqa": {"image_processor_type": "DonutImageProcessor", "do_align_long_axis": False, "do_normalize": True, "do_pad": True, "do_rescale": True, "do_resize": True, "do_thumbnail": True, **HALF, "processor_class": "DonutProcessor", "rescale_factor": 0.00392156862745098, "resample": 2, "size": {"height": 1280, "width": 960}},
    "donut-rvlcdip": {"image_processor_type": "DonutFeatureExtractor", "do_align_long_axis": True, "do_normalize": True, "do_pad": True, "do_resize": True, "do_thumbnail": True, **HALF, "resample": 2, "size": [960, 1280]},
    "donut": {"image_processor_type": "DonutImageProcessor", "size": {"height": 47, "width": 40}},
    "donut-align": {"image_processor_type": "DonutImageProcessor", "do_align_long_axis": True, "size": {"height": 64, "width": 49}},
    "donut-align-landscape": {"feature_extractor_type": "DonutFeatureExtractor", "do_align_long_axis": True, "size": [57, 33]},
    "donut-align-square": {"image_processor_type": "DonutImageProcessor", "do_align_long_axis": True, "size": 37},
    "donut-landscape": {"image_processor_type": "DonutImageProcessor", "size": {"height": 20, "width": 91}},
    "donut-narrow": {"image_processor_type": "DonutImageProcessor", "size": {"height": 12, "width": 7}, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
    "donut-nearest": {"image_processor_type": "DonutImageProcessor", "resample": 0, "size": {"height": 50, "width": 40}},
    "donut-lanczos": {"image_processor_type": "DonutImageProcessor", "resample": 1, "do_align_long_axis": True, "size": {"height": 35, "width": 30}},
    "donut-no-resize": {"image_processor_type": "DonutImageProcessor", "do_resize": False, "size": {"height": 90, "width": 70}},
    "donut-no-thumbnail": {"image_processor_type": "DonutImageProcessor", "do_thumbnail": False, "do_pad": False, "do_align_long_axis": True, "size": {"height": 48, "width": 40}},
    "donut-thumbnail-missing": {"image_processor_type": "DonutImageProcessor", "do_thumbnail": False, "size": {"height": 60, "width": 40}},
    "donut-no-pad": {"image_processor_type": "DonutImageProcessor", "do_pad": False, "do_align_long_axis": True, "size": {"height": 48, "width": 40}},
    "donut-only-pad": {"image_processor_type": "DonutImageProcessor", "do_resize": False, "do_thumbnail": False, "size": {"height": 333, "width": 401}},
    "donut-raw": {"image_processor_type": "DonutImageProcessor", "do_normalize": False, "do_rescale": False, "size": {"height": 48, "width": 40}},
    "donut-no-normalize": {"image_processor_type": "DonutImageProcessor", "do_normalize": False, "size": {"height": 48, "width": 40}},
    "donut-no-rescale": {"image_processor_type": "DonutImageProcessor", "do_rescale": False, "image_mean": [122.7, 116.7, 104.1], "image_std": [68.5, 66.6, 70.3], "size": {"height": 48, "width": 40}},
}

# Keys that some classes read, in configurations of those that do not, or that read them otherwise.
OTHERS = {
    "do_center_crop": True, "crop_size": {"height": 21, "width": 19}, "do_pad": True, "pad_size": {"height": 99, "width": 98}, "default_to_square": False, "max_size": 50, "crop_pct": 0.5,
    "image_size": 12, "rescale_offset": True, "include_top": True, "use_square_size": True, "do_thumbnail": True, "do_align_long_axis": True,
}  # fmt: skip


def without(*keys: str) -> dict:
    return {k: v for k, v in OTHERS.items() if k not in keys}


SIDES = {"size": {"height": 40, "width": 36}}
VARIED = {
    "vit-others": {"image_processor_type": "ViTImageProcessor", **SIDES, **OTHERS},
    "vit-others-bare": {"image_processor_type": "ViTImageProcessor", "size": 37, **OTHERS},
    "siglip-others": {"image_processor_type": "SiglipImageProcessor", **SIDES, **OTHERS},
    "blip-others": {"image_processor_type": "BlipImageProcessor", "size": 33, **OTHERS},
    "deit-others": {"image_processor_type": "DeiTImageProcessor", **SIDES, **OTHERS},
    "clip-others": {"image_processor_type": "CLIPImageProcessor", "size": 30, **without("use_square_size")},
    "clip-longest": {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 30, "longest_edge": 34}, "crop_size": 28},
    "clip-square-default": {"image_processor_type": "CLIPImageProcessor", "size": 30, "max_size": 31, "default_to_square": True, "crop_size": 40},
    "chinese-clip-others": {"image_processor_type": "ChineseCLIPImageProcessor", **SIDES, **OTHERS},
    "convnext-others": {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 40, "longest_edge": 44}, **without("crop_pct")},
    "efficientnet-others": {"image_processor_type": "EfficientNetImageProcessor", **SIDES, **without("rescale_offset", "include_top")},
    "detr-bare": {"image_processor_type": "DetrImageProcessor", "size": 33},
    "detr-max-size": {"image_processor_type": "DetrImageProcessor", "size": {"shortest_edge": 40, "longest_edge": 60}, "max_size": 41, "do_center_crop": True, "default_to_square": True},
    "detr-sides": {"image_processor_type": "DetrImageProcessor", **SIDES, "pad_and_return_pixel_mask": False, "do_pad": True, "pad_size": {"height": 60, "width": 60}},
    "detr-others": {"image_processor_type": "DetrImageProcessor", "size": {"shortest_edge": 40, "longest_edge": 60}, **without("max_size", "do_pad", "pad_size")},
    "sam-bare": {"image_processor_type": "SamImageProcessor", "size": 80, "pad_size": 90, "default_to_square": True},
    "sam-both": {"image_processor_type": "SamImageProcessor", "size": {"shortest_edge": 20, "longest_edge": 80}, **without("pad_size"), "pad_size": 82},
    "donut-others": {"image_processor_type": "DonutImageProcessor", **SIDES, **without("do_thumbnail", "do_align_long_axis")},
    "idefics-others": {"image_processor_type": "IdeficsImageProcessor", **OTHERS, "size": 99, "resample": 0, "do_rescale": None, "do_normalize": False, "do_resize": False},
}
for kind, config in {
    "CLIP": {"size": 30, "crop_size": 28}, "ViT": SIDES, "Siglip": SIDES, "Blip": SIDES, "DeiT": {**SIDES, "crop_size": 30}, "ConvNext": {"size": {"shortest_edge": 40}}, "ChineseCLIP": {**SIDES, "crop_size": 30},
    "EfficientNet": SIDES, "Detr": {"size": {"shortest_edge": 40, "longest_edge": 60}}, "Sam": {"size": {"longest_edge": 40}, "pad_size": 44}, "Donut": SIDES,
}.items():  # fmt: skip
    for flag in ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_pad", "rescale_offset", "include_top", "do_thumbnail", "do_align_long_axis", "do_convert_rgb", "use_square_size"):
        if (kind, flag) in (("Sam", "do_resize"), ("Donut", "do_resize"), ("Donut", "do_thumbnail")):
            continue  # pictures larger than the page are errors
        VARIED[f"{kind.lower()}-{flag}-null"] = {"image_processor_type": kind + "ImageProcessor", **config, flag: None}
VARIED_PICTURES = ["orientation.png", "wide.png"]

DONUT_PICTURES = ["rgb.png", "orientation.png", "wide.png", "tall.png", "17x1.jpg", "1x1.png", "grey-2x2.jpg"]


def pictures(name: str, config: dict) -> list[str]:
    """Other pictures for Donut, for which their shape matters and transparency does not. Large
    pages take seconds."""
    if name in VARIED:
        return VARIED_PICTURES[:1] if name.startswith(("donut", "chinese")) else VARIED_PICTURES
    if not name.startswith("donut"):
        return PICTURES
    large = config.get("size") in ([1920, 2560], None)
    return ["tall.png", "orientation.png"] if large else DONUT_PICTURES


def run(config: dict, name: str) -> np.ndarray:
    kind = config.get("image_processor_type") or config["feature_extractor_type"].replace("FeatureExtractor", "ImageProcessor")
    processor = image_processing_auto.get_image_processor_class_from_name(kind).from_dict(dict(config))
    im = ImageOps.exif_transpose(Image.open(HERE / "images" / name))
    if kind != "IdeficsImageProcessor":  # it alone looks at transparency
        im = im.convert("RGB")
    given = {"return_tensors": "np" if kind != "IdeficsImageProcessor" else "pt"}
    if kind.startswith("Donut"):  # left alone, it takes a picture 1 pixel high for a plane
        given["input_data_format"] = "channels_last"
    out = processor([im], **given)
    px = out if kind == "IdeficsImageProcessor" else out["pixel_values"]
    return np.asarray(px)


def random_cases(count: int, seed: int) -> list[dict]:
    """Configurations of any keys, read by their class or not, null or not, on one picture."""
    rng, cases = random.Random(seed), []
    side = lambda: rng.randint(5, 70)
    flags = ["do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_pad", "rescale_offset", "include_top", "do_thumbnail", "do_align_long_axis", "do_convert_rgb", "use_square_size", "default_to_square"]
    for _ in range(count):
        c: dict = {"image_processor_type": rng.choice(["CLIP", "ViT", "Siglip", "Blip", "DeiT", "ConvNext", "EfficientNet", "Detr", "Sam", "Donut", "Idefics"]) + "ImageProcessor"}
        for flag in flags:
            if rng.random() < 0.25:
                c[flag] = rng.choice([True, False, None])
        if rng.random() < 0.8:
            c["size"] = rng.choice([side(), [side(), side()], {"height": side(), "width": side()}, {"shortest_edge": side()}, {"longest_edge": side()}, {"shortest_edge": side(), "longest_edge": side()}, None])
        for key, share, values in (
            ("crop_size", 0.4, [side(), {"height": side(), "width": side()}, None]), ("pad_size", 0.3, [{"height": 90, "width": 95}, None]), ("max_size", 0.2, [side(), None]), ("image_size", 0.2, [side()]), ("resample", 0.3, [0, 1, 2, 3, 4, 5, None]),
            ("rescale_factor", 0.2, [0.5, 1 / 127.5, None]), ("image_mean", 0.2, [0.4, [0.1, 0.2, 0.3], None]), ("image_std", 0.2, [0.4, [0.1, 0.2, 0.3], None]), ("crop_pct", 0.2, [0.5, 0.9, None]),
        ):  # fmt: skip
            if rng.random() < share:
                c[key] = rng.choice(values)
        try:
            px = run(c, "orientation.png").astype("<f4")
            cases.append({"config": c, "shape": list(px.shape), "sha256": hashlib.sha256(px.tobytes()).hexdigest()})
        except Exception as e:  # any will do: the configuration is refused
            cases.append({"config": c, "error": f"{type(e).__name__}: {e}"[:80]})
    return cases


def main() -> None:
    warnings.simplefilter("ignore")
    text = ",\n".join(json.dumps(c, separators=(",", ":")) for c in random_cases(300, 7))
    (HERE / "processors_random.json").write_text("[\n" + text + "\n]\n")

    for module, version in ((PIL, "13.0.0"), (transformers, "4.57.6")):
        if module.__version__ != version:
            sys.exit(f"{module.__name__} is {module.__version__}, the reference is {version}")
    cases = []
    for name, config in (CONFIGS | VARIED).items():
        results = {}
        for picture in pictures(name, config):
            try:
                px = run(config, picture).astype("<f4")
            except (ValueError, ZeroDivisionError) as e:
                if not name.startswith("donut"):
                    raise
                results[picture] = {"error": str(e)}
                continue
            flat = px.reshape(-1)
            at = np.linspace(0, flat.size - 1, 61).astype(int)
            results[picture] = {"shape": list(px.shape), "sha256": hashlib.sha256(px.tobytes()).hexdigest(), "at": at.tolist(), "values": [float(v) for v in flat[at]]}
        cases.append({"name": name, "config": config, "results": results})
    out = {"transformers": transformers.__version__, "pillow": PIL.__version__, "numpy": np.__version__, "cases": cases}
    (HERE / "processors.json").write_text(json.dumps(out, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n")


main()
