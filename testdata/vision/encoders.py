"""Plain encoders for kinds of files that Pillow does not write.

They follow the formats' specifications in the simplest way, and know only what
make_images.py asks of them.
"""

import struct
import zlib

import numpy as np
from PIL import Image

# Annex K of T.81: luminance quantization and the typical Huffman tables.
QUANT = [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
         18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99]  # fmt: skip
ZIGZAG = sorted(range(64), key=lambda i: (i // 8 + i % 8, i // 8 if (i // 8 + i % 8) % 2 else i % 8))
DC_BITS = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
DC_VALUES = list(range(12))


def ac_table() -> tuple[list[int], list[int]]:
    """A code for every run and size: 8-bit codes would not do for 162 symbols."""
    values = [0x00, 0xF0] + [r << 4 | s for s in range(1, 11) for r in range(16)]
    bits = [0, 1, 0, 1, 2, 4, 8, 16, 32, 20] + [0] * 6
    rest = len(values) - sum(bits)
    bits[15] = rest
    return bits, values


def codes(bits: list[int], values: list[int]) -> dict[int, tuple[int, int]]:
    out, code, k = {}, 0, 0
    for length, count in enumerate(bits, 1):
        for _ in range(count):
            out[values[k]] = (code, length)
            code, k = code + 1, k + 1
        code <<= 1
    return out


class Bits:
    def __init__(self) -> None:
        self.text: list[str] = []

    def put(self, value: int, n: int) -> None:
        if n:
            self.text.append(format(value, f"0{n}b"))

    def bytes(self) -> bytes:
        s = "".join(self.text)
        s += "1" * (-len(s) % 8)
        return bytes(int(s[i : i + 8], 2) for i in range(0, len(s), 8)).replace(b"\xff", b"\xff\x00")


def jpeg(im: Image.Image, sampling: list[tuple[int, int]], interleaved: bool = True, adobe: int | None = None) -> bytes:
    """A baseline JPEG whose components have the given (horizontal, vertical) factors."""
    n = len(sampling)
    if n == 1:
        planes = [im.convert("L")]
    elif n == 4:
        cmyk = im.convert("CMYK")
        planes = [p.point(lambda v: 255 - v) for p in cmyk.split()]
        if adobe == 2:
            planes = [*Image.merge("RGB", [p.point(lambda v: 255 - v) for p in planes[:3]]).convert("YCbCr").split(), planes[3]]
    else:
        planes = list((im if adobe == 0 else im.convert("YCbCr")).split())
    hmax, vmax = max(h for h, _ in sampling), max(v for _, v in sampling)
    mcus_x, mcus_y = -(-im.width // (8 * hmax)), -(-im.height // (8 * vmax))
    quant = np.maximum(np.array(QUANT) // 3, 1)

    k, x = np.mgrid[:8, :8]
    dct = np.cos((2 * x + 1) * k * np.pi / 16) * np.where(k == 0, np.sqrt(1 / 8), 0.5)
    blocks = []
    for plane, (h, v) in zip(planes, sampling):
        a = np.asarray(plane)
        w, hh = -(-im.width * h // hmax), -(-im.height * v // vmax)
        a = np.asarray(plane.resize((w, hh), Image.Resampling.BOX)) if (w, hh) != plane.size else a
        a = np.pad(a, ((0, mcus_y * v * 8 - hh), (0, mcus_x * h * 8 - w)), "edge").astype(float) - 128
        a = a.reshape(mcus_y * v, 8, mcus_x * h, 8).transpose(0, 2, 1, 3)
        c = np.rint((dct @ a @ dct.T).reshape(*a.shape[:2], 64) / quant).astype(int)
        blocks.append((c[..., ZIGZAG], -(-w // 8), -(-hh // 8)))

    dc, ac = codes(DC_BITS, DC_VALUES), codes(*ac_table())
    pred = [0] * n

    def block(out: Bits, i: int, bx: int, by: int) -> None:
        c = blocks[i][0][by, bx]

        def value(v: int) -> tuple[int, int]:
            size = int(abs(v)).bit_length()
            return size, v if v > 0 else v + (1 << size) - 1

        size, v = value(int(c[0]) - pred[i])
        pred[i] = int(c[0])
        out.put(*dc[size])
        out.put(v, size)
        run = 0
        last = max([j for j in range(1, 64) if c[j]], default=0)
        for j in range(1, last + 1):
            if c[j] == 0:
                run += 1
                continue
            while run > 15:
                out.put(*ac[0xF0])
                run -= 16
            size, v = value(int(c[j]))
            out.put(*ac[run << 4 | size])
            out.put(v, size)
            run = 0
        if last < 63:
            out.put(*ac[0])

    def segment(marker: int, data: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data

    out = b"\xff\xd8"
    if adobe is not None:
        out += segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([adobe]))
    out += segment(0xDB, b"\0" + bytes(quant[ZIGZAG].tolist()))
    frame = struct.pack(">BHHB", 8, im.height, im.width, n)
    out += segment(0xC0, frame + b"".join(bytes([i + 1, h << 4 | v, 0]) for i, (h, v) in enumerate(sampling)))
    for cls, (bits, values) in enumerate([(DC_BITS, DC_VALUES), ac_table()]):
        out += segment(0xC4, bytes([cls << 4, *bits, *values]))
    for scan in [range(n)] if interleaved else [[i] for i in range(n)]:
        out += segment(0xDA, bytes([len(scan)]) + b"".join(bytes([i + 1, 0]) for i in scan) + b"\0\x3f\0")
        bitstream = Bits()
        if len(scan) == 1:
            i = scan[0]
            for by in range(blocks[i][2]):
                for bx in range(blocks[i][1]):
                    block(bitstream, i, bx, by)
        else:
            for my in range(mcus_y):
                for mx in range(mcus_x):
                    for i in scan:
                        h, v = sampling[i]
                        for y in range(v):
                            for x in range(h):
                                block(bitstream, i, mx * h + x, my * v + y)
        out += bitstream.bytes()
    return out + b"\xff\xd9"


def png(px: np.ndarray, bits: int, color: int, interlaced: bool = False, extra: list[tuple[bytes, bytes]] = []) -> bytes:
    """A PNG of raw samples [h,w] or [h,w,channels]; every row takes another filter."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def rows(a: np.ndarray) -> bytes:
        if a.shape[0] == 0 or a.shape[1] == 0:
            return b""
        a = a.reshape(a.shape[0], -1)
        if bits == 16:
            a = a.astype(">u2").view(np.uint8)
        elif bits < 8:
            shifts = np.arange(bits - 1, -1, -1)
            a = np.packbits(((a[..., None] >> shifts) & 1).reshape(a.shape[0], -1).astype(np.uint8), axis=1)
        channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
        bpp = max(1, channels * bits // 8)
        out, prev = b"", np.zeros(a.shape[1], int)
        for y, row in enumerate(a.astype(int)):
            left = np.concatenate([np.zeros(bpp, int), row])[: len(row)]
            corner = np.concatenate([np.zeros(bpp, int), prev])[: len(row)]
            p = left + prev - corner
            pa, pb, pc = abs(p - left), abs(p - prev), abs(p - corner)
            paeth = np.where((pa <= pb) & (pa <= pc), left, np.where(pb <= pc, prev, corner))
            guess = [0, left, prev, (left + prev) // 2, paeth][y % 5]
            out += bytes([y % 5]) + ((row - guess) & 255).astype(np.uint8).tobytes()
            prev = row
        return out

    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
        data = b"".join(rows(px[y::dy, x::dx]) for x, y, dx, dy in passes)
    else:
        data = rows(px)
    head = struct.pack(">IIBBBBB", px.shape[1], px.shape[0], bits, color, 0, 0, int(interlaced))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunk(*e) for e in extra) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def gif(screen: tuple[int, int], frames: list, table: bytes | None) -> bytes:
    """A GIF of frames (x, y, indices, local table or None, clear index or None)."""

    def flags(t: bytes | None) -> int:
        return 0x80 | (len(t) // 3 - 1).bit_length() - 1 if t else 0

    out = b"GIF89a" + struct.pack("<HHBBB", *screen, flags(table), 2, 0) + (table or b"")
    for x, y, px, local, clear in frames:
        if clear is not None:
            out += b"!\xf9\x04\x01\0\0" + bytes([clear, 0])
        out += b"," + struct.pack("<HHHHB", x, y, px.shape[1], px.shape[0], flags(local)) + (local or b"") + b"\x08"
        # Codes of 9 bits that are never compressed: a clear code often enough.
        bits = []
        for i, v in enumerate(px.reshape(-1).tolist()):
            if i % 200 == 0:
                bits.append(256)
            bits.append(v)
        bits.append(257)
        n = sum(c << (9 * i) for i, c in enumerate(bits))
        data = n.to_bytes(-(-9 * len(bits) // 8), "little")
        for i in range(0, len(data), 255):
            out += bytes([len(data[i : i + 255])]) + data[i : i + 255]
        out += b"\0"
    return out + b";"


def bmp(px: np.ndarray, bits: int = 24, palette: list[int] | None = None, masks: tuple | None = None, top_down: bool = False, rle: bool = False, core: bool = False) -> bytes:
    """A BMP of RGB or index pixels."""
    h, w = px.shape[:2]
    order = px if top_down else px[::-1]
    if bits == 24:
        raw = [row[:, ::-1].tobytes() for row in order]
    elif bits == 32:
        shift = [(m & -m).bit_length() - 1 for m in masks or (0xFF0000, 0xFF00, 0xFF)]
        v = sum(order[..., i].astype(np.uint32) << np.uint32(s) for i, s in enumerate(shift))
        raw = [row.astype("<u4").tobytes() for row in v]
    elif bits == 16:
        green = 6 if masks else 5
        r, g, b = (order[..., i].astype(int) for i in range(3))
        v = (r >> 3) << (green + 5) | (g >> (8 - green)) << 5 | b >> 3
        raw = [row.astype("<u2").tobytes() for row in v]
    elif rle:
        raw = [rle_rows(order, bits)]
    else:
        shifts = np.arange(bits - 1, -1, -1)
        raw = [np.packbits(((row[:, None] >> shifts) & 1).astype(np.uint8).reshape(-1)).tobytes() for row in order]
    data = b"".join(r if rle else r + b"\0" * (-len(r) % 4) for r in raw)
    table = b""
    if palette:
        entries = [palette[i : i + 3][::-1] for i in range(0, len(palette), 3)]
        table = b"".join(bytes(e) + (b"" if core else b"\0") for e in entries)
    if core:
        head = struct.pack("<IHHHH", 12, w, h, 1, bits)
    else:
        compression = 3 if masks else (1 if bits == 8 else 2) if rle else 0
        head = struct.pack("<IiiHHIIiiII", 40, w, -h if top_down else h, 1, bits, compression, len(data), 2835, 2835, len(palette or []) // 3, 0)
        if masks:
            head += struct.pack("<III", *masks)
    offset = 14 + len(head) + len(table)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + head + table + data


def rle_rows(order: np.ndarray, bits: int) -> bytes:
    out = b""
    for y, row in enumerate(order.tolist()):
        i = 0
        while i < len(row):
            n = 1
            while i + n < len(row) and n < 60 and row[i + n] == row[i]:
                n += 1
            if n == 1 and i + 5 < len(row) and y % 2:  # absolute mode
                part = row[i : i + 5]
                if bits == 8:
                    out += bytes([0, 5, *part, 0])
                else:
                    out += bytes([0, 5, part[0] << 4 | part[1], part[2] << 4 | part[3], part[4] << 4, 0])
                i += 5
                continue
            v = row[i] if bits == 8 else row[i] << 4 | row[i]
            out += bytes([n, v])
            i += n
        out += b"\0\0"
    return out + b"\0\x01"


def tiff(px: np.ndarray, order: str = "<", planar: bool = False, tile: int = 0, extra: int | None = None, photometric: int | None = None) -> bytes:
    """An uncompressed TIFF of [h,w,channels] samples of 8 or 16 bits."""
    h, w, n = px.shape
    px = px.astype(px.dtype.newbyteorder(order))
    if tile:
        parts = []
        for y in range(0, h, tile):
            for x in range(0, w, tile):
                t = np.zeros((tile, tile, n), px.dtype)
                part = px[y : y + tile, x : x + tile]
                t[: part.shape[0], : part.shape[1]] = part
                parts.append(t.tobytes())
    elif planar:
        parts = [px[..., i].tobytes() for i in range(n)]
    else:
        parts = [px.tobytes()]
    bits = px.dtype.itemsize * 8
    tags: list[tuple[int, str, list[int]]] = [
        (256, "H", [w]),
        (257, "H", [h]),
        (258, "H", [bits] * n),
        (259, "H", [1]),
        (262, "H", [photometric if photometric is not None else 2 if n > 2 else 1]),
        (277, "H", [n]),
        (284, "H", [2 if planar else 1]),
    ]
    if extra is not None:
        tags.append((338, "H", [extra]))
    offsets_tag, counts_tag = (324, 325) if tile else (273, 279)
    if tile:
        tags += [(322, "H", [tile]), (323, "H", [tile])]
    else:
        tags.append((278, "H", [h]))
    tags += [(offsets_tag, "I", [0] * len(parts)), (counts_tag, "I", [len(p) for p in parts])]
    tags.sort()

    def build(start: int) -> tuple[bytes, int]:
        at, offsets = start, []
        for p in parts:
            offsets.append(at)
            at += len(p)
        body, tail = b"", b""
        base = 8 + 2 + 12 * len(tags) + 4
        for tag, fmt, values in tags:
            values = offsets if tag == offsets_tag else values
            data = struct.pack(f"{order}{len(values)}{fmt}", *values)
            field = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(order + "I", base + len(tail))
            if len(data) > 4:
                tail += data + b"\0" * (len(data) % 2)
            body += struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[fmt], len(values)) + field
        head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
        return head + struct.pack(order + "H", len(tags)) + body + b"\0" * 4 + tail, base + len(tail)

    _, start = build(0)
    return build(start)[0] + b"".join(parts)
