"""Writes geometry.json: what OpenCV and Clipper make of shapes, for the tests of vision/geometry.

make golden-ocr runs it with the versions of requirements.txt. Its shapes are seeded.
"""

import base64
import json
import os
import sys
import zlib

import cv2
import numpy as np
import pyclipper
from shapely.geometry import Polygon

random = np.random.default_rng(20)
packed = lambda a: base64.b64encode(zlib.compress(np.ascontiguousarray(a).tobytes(), 9)).decode()


def mask(h, w):
    """Blobs, lines of text, rings and single pixels."""
    m = np.zeros((h, w), np.uint8)
    for _ in range(random.integers(1, 9)):
        x, y = int(random.integers(0, w)), int(random.integers(0, h))
        a, b = int(random.integers(1, w // 2)), int(random.integers(1, 12))
        angle = float(random.uniform(-30, 30)) if random.random() < 0.5 else 0.0
        kind = random.integers(0, 4)
        if kind == 0:
            cv2.ellipse(m, (x, y), (a, b), angle, 0, 360, 1, -1)
        elif kind == 1:
            box = cv2.boxPoints(((x, y), (2 * a, 2 * b), angle))
            cv2.fillPoly(m, [box.astype(np.int32)], 1)
        elif kind == 2:
            cv2.ellipse(m, (x, y), (a, b), angle, 0, 360, 1, 2)
        else:
            m[random.random((h, w)) < 0.02] = 1
    return m


def contours():
    for _ in range(40):
        h, w = int(random.integers(5, 40)), int(random.integers(8, 80))
        m = mask(h, w)
        found, _ = cv2.findContours(m * 255, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        rects = []
        for c in found:
            rect = cv2.minAreaRect(c)
            rects.append([cv2.boxPoints(rect).astype(float).tolist(), float(min(rect[1]))])
        yield {"w": w, "h": h, "mask": packed(m), "contours": [c.reshape(-1).tolist() for c in found],
               "rects": rects}


def quads():
    """Rectangles of lines of text, and what grows of them."""
    for _ in range(120):
        w, h = 160, 120
        angle = random.choice([0.0, -90.0, float(random.uniform(-90, 90)), float(random.uniform(-3, 3))])
        rect = ((float(random.uniform(20, 140)), float(random.uniform(20, 100))),
                (float(random.uniform(3, 120)), float(random.uniform(3, 40))), angle)
        points = sorted(list(cv2.boxPoints(rect)), key=lambda p: p[0])
        left, right = sorted(points[:2], key=lambda p: p[1]), sorted(points[2:], key=lambda p: p[1])
        box = np.array([left[0], right[0], right[1], left[1]], np.float32)
        values = random.random((h, w), np.float32).round(3)
        x0, x1 = (int(np.clip(f(box[:, 0]), 0, w - 1)) for f in (lambda v: np.floor(v.min()), lambda v: np.ceil(v.max())))
        y0, y1 = (int(np.clip(f(box[:, 1]), 0, h - 1)) for f in (lambda v: np.floor(v.min()), lambda v: np.ceil(v.max())))
        inside = np.zeros((y1 - y0 + 1, x1 - x0 + 1), np.uint8)
        cv2.fillPoly(inside, (box - np.array([x0, y0], np.float32)).reshape(1, -1, 2).astype(np.int32), 1)
        polygon = Polygon(box)
        distance = polygon.area * 1.6 / polygon.length
        offset = pyclipper.PyclipperOffset()
        offset.AddPath(box, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
        grown = np.array(offset.Execute(distance)).reshape(-1, 1, 2)
        rect = cv2.minAreaRect(grown)
        yield {"quad": box.astype(float).tolist(), "covered": packed(inside), "left": x0, "top": y0,
               "columns": x1 - x0 + 1, "rows": y1 - y0 + 1, "distance": distance, "grown": grown.reshape(-1).tolist(),
               "rect": [cv2.boxPoints(rect).astype(float).tolist(), float(min(rect[1]))]}


def pictures():
    for _ in range(20):
        h, w = int(random.integers(2, 60)), int(random.integers(2, 90))
        img = cv2.GaussianBlur(random.integers(0, 256, (h, w, 3)).astype(np.uint8), (3, 3), 0)
        size = int(random.integers(1, 120)), int(random.integers(1, 80))
        yield {"w": w, "h": h, "pixels": packed(img), "size": size, "resized": packed(cv2.resize(img, size))}


def crops():
    for i in range(20):
        h, w = 50, 80
        img = cv2.GaussianBlur(random.integers(0, 256, (h, w, 3)).astype(np.uint8), (5, 5), 0)
        x, y = random.integers(0, 20, 2)
        a, b = random.integers(10, 59), random.integers(5, 29)
        shift = random.integers(-4, 5, (4, 2)) if i % 3 else np.zeros((4, 2))
        box = np.array([[x, y], [x + a, y], [x + a, y + b], [x, y + b]], np.float32) + shift.astype(np.float32)
        box = np.clip(box, 0, [w - 1, h - 1]).astype(np.float32)
        norm = np.linalg.norm
        cw = int(max(norm(box[0] - box[1]), norm(box[2] - box[3])))
        ch = int(max(norm(box[0] - box[3]), norm(box[1] - box[2])))
        to = np.array([[0, 0], [cw, 0], [cw, ch], [0, ch]], np.float32)
        out = cv2.warpPerspective(img, cv2.getPerspectiveTransform(box, to), (cw, ch),
                                  borderMode=cv2.BORDER_REPLICATE, flags=cv2.INTER_CUBIC)
        yield {"w": w, "h": h, "pixels": packed(img), "quad": box.astype(float).tolist(), "size": [cw, ch],
               "crop": packed(out)}


out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "geometry.json")
with open(out, "w") as f:
    json.dump({"versions": {"opencv": cv2.__version__, "pyclipper": pyclipper.__version__},
               "contours": list(contours()), "quads": list(quads()), "pictures": list(pictures()),
               "crops": list(crops())}, f, separators=(",", ":"))
    f.write("\n")
