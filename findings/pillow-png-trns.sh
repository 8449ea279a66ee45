#!/usr/bin/env bash
# Pillow loses the transparent colour of PNGs with grey of 2 or 4 bits or with 16 bits a sample.
#
# Expected: tRNS of a grey or RGB PNG names one colour, in samples of the file's depth, and each
# pixel of that colour is transparent once the picture is read as RGBA.
# What happens: Pillow brings the pixels to 8 bits but leaves the colour in the file's depth, and
# then compares the two. With 4 bits, tRNS 5 should hide grey 85 (5 * 17) and matches nothing; in
# 16-bit RGB nothing matches either. Depths 1 and 8 are right. libvips (by way of sharp) makes the
# pixel transparent in all of them.
# Versions: Pillow 13.0.0, sharp 0.35.5 (npm), Node.js 20.
# Output seen (alpha of the pixel of that colour, and of another):
#   grey 1    pillow [0,255]  sharp [0,255]
#   grey 2    pillow [255,255]  sharp [0,255]
#   grey 4    pillow [255,255]  sharp [0,255]
#   grey 8    pillow [0,255]  sharp [0,255]
#   rgb 8     pillow [0,255]  sharp [0,255]
#   rgb 16    pillow [255,255]  sharp [0,255]
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check pillow==13.0.0
cd "$dir"
npm init -y >npm.log
npm install --silent --no-audit --no-fund sharp@0.35.5
"$dir/venv/bin/python" - <<'EOF' >cases.json
import base64
import io
import json
import struct
import zlib

from PIL import Image


def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png(depth, channels, hidden, other):
    """A PNG of two pixels, the first of the colour that tRNS names."""
    bits = "".join(format(s, f"0{depth}b") for s in [hidden] * channels + [other] * channels)
    bits += "0" * (-len(bits) % 8)
    row = b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    colour = 0 if channels == 1 else 2
    return (b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, depth, colour, 0, 0, 0))
            + chunk(b"tRNS", struct.pack(">H", hidden) * channels)
            + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b""))


cases = []
for name, depth, channels, hidden, other in (
        ("grey 1", 1, 1, 1, 0), ("grey 2", 2, 1, 1, 2), ("grey 4", 4, 1, 5, 9),
        ("grey 8", 8, 1, 5, 9), ("rgb 8", 8, 3, 5, 9), ("rgb 16", 16, 3, 0x1234, 0x8765)):
    data = png(depth, channels, hidden, other)
    alpha = Image.open(io.BytesIO(data)).convert("RGBA").getchannel("A")
    cases.append({"name": name, "png": base64.b64encode(data).decode(),
                  "pillow": list(alpha.tobytes())})
print(json.dumps(cases))
EOF
cat >compare.mjs <<'EOF'
import { readFileSync } from "node:fs";
import sharp from "sharp";

const lost = ["grey 2", "grey 4", "rgb 16"];
let seen = true;
for (const { name, png, pillow } of JSON.parse(readFileSync("cases.json", "utf8"))) {
  const rgba = await sharp(Buffer.from(png, "base64")).ensureAlpha().toColourspace("srgb").raw()
    .toBuffer();
  const alpha = [rgba[3], rgba[7]];
  const got = [pillow, alpha].map((values) => JSON.stringify(values));
  console.log(`${name.padEnd(9)} pillow ${got[0]}  sharp ${got[1]}`);
  seen &&= got[0] === (lost.includes(name) ? "[255,255]" : "[0,255]") && got[1] === "[0,255]";
}
if (!seen) {
  console.error("the behaviour has changed");
  process.exit(1);
}
EOF
node compare.mjs
