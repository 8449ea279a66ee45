"""Prints pictures with times and places in their Exif blocks, written by Pillow, as JSON lines with what
Pillow reads of them: {"name", "data" (base64), "time", "latitude", "longitude"}."""

import base64
import io
import json

from PIL import ExifTags, Image

CASES = [
    ("plain", {}, {}, {}),
    ("date", {306: "2019:07:14 12:30:05"}, {}, {}),
    ("original", {306: "2024:01:01 00:00:00"}, {0x9003: "2019:07:14 12:30:05"}, {}),
    ("zone", {}, {0x9003: "2019:07:14 12:30:05", 0x9011: "+05:30"}, {}),
    ("blank", {306: "    :  :     :  :  "}, {0x9003: "0000:00:00 00:00:00"}, {}),
    ("place", {}, {}, {1: "N", 2: (48.0, 51.0, 29.6), 3: "E", 4: (2.0, 17.0, 40.2)}),
    ("south west", {}, {}, {1: "S", 2: (22.0, 57.0, 6.0), 3: "W", 4: (43.0, 12.0, 37.0)}),
    ("decimal", {}, {}, {1: "N", 2: (48.8582, 0.0, 0.0), 3: "E", 4: (2.2945, 0.0, 0.0)}),
    ("half", {}, {}, {1: "N", 2: (48.0, 51.0, 29.6)}),
]


def degrees(gps, value, side):
    if value not in gps:
        return None
    d, m, s = (float(x) for x in gps[value])
    return (d + m / 60 + s / 3600) * (-1 if gps.get(side) in ("S", "W") else 1)


for name, top, camera, gps in CASES:
    for suffix in ("jpeg", "png", "webp", "tiff"):
        exif = Image.Exif()
        exif.update(top)
        if camera:
            exif.get_ifd(ExifTags.IFD.Exif).update(camera)
        if gps:
            exif.get_ifd(ExifTags.IFD.GPSInfo).update(gps)
        out = io.BytesIO()
        Image.new("RGB", (9, 7), "red").save(out, suffix.upper(), exif=exif)
        read = Image.open(io.BytesIO(out.getvalue())).getexif()
        within, where = read.get_ifd(ExifTags.IFD.Exif), read.get_ifd(ExifTags.IFD.GPSInfo)
        time = within.get(0x9003) or read.get(306)
        if time and not time[:1].isdigit() or time and time.startswith("0000"):
            time = None
        north, east = degrees(where, 2, 1), degrees(where, 4, 3)
        if north is None or east is None:
            north = east = None
        print(json.dumps({
            "name": f"{name} {suffix}", "data": base64.b64encode(out.getvalue()).decode(), "time": time,
            "zone": within.get(0x9011), "latitude": north, "longitude": east,
        }))
