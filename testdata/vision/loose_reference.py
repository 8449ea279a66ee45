"""Files that are not by the book and what Pillow 13.0.0 makes of them, for TestLooseFiles.

    loose_reference.py KIND

writes to stdout for each file of a kind (a function files_KIND below) a line
"NAME|BYTES WIDTH HEIGHT", then the file, then its RGB pixels, turned as Exif
says. A file that Pillow refuses has width and height 0.
"""

import io
import itertools
import random
import struct
import sys
import warnings
import zlib

import numpy as np
import PIL
from PIL import Image, ImageOps

import encoders

warnings.simplefilter("ignore")
Image.MAX_IMAGE_PIXELS = None


def picture(w: int = 16, h: int = 10, seed: int = 1) -> Image.Image:
    rng = np.random.default_rng(seed)
    px = rng.integers(0, 256, (max(h // 3, 1), max(w // 3, 1), 3), dtype=np.uint8)
    return Image.fromarray(px).resize((w, h), 2)


def saved(im: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    im.save(out, kind, **options)
    return out.getvalue()


# Orientation.

UNITS = {1: "B", 2: "s", 3: "H", 4: "L", 5: "LL", 6: "b", 7: "s", 8: "h", 9: "l", 10: "ll", 11: "f", 12: "d", 13: "L", 16: "Q"}


def value(order: str, kind: int, v: int, count: int) -> bytes:
    if kind not in UNITS:
        return struct.pack(order + "H", v)
    if kind in (2, 7):
        return (bytes([v]) if kind == 7 else str(v).encode()) * count
    one = [v * 3, 3] if kind in (5, 10) else [v]
    return b"".join(struct.pack(order + UNITS[kind], *(one if i == 0 else [1] * len(one))) for i in range(count))


def directory(order: str, entries: list[tuple[int, int, int, bytes]], magic: bytes | None = None, at: int = 8) -> bytes:
    magic = magic or (b"II*\0" if order == "<" else b"MM\0*")
    out = magic + struct.pack(order + "L", at) + b"\0" * (at - 8) + struct.pack(order + "H", len(entries))
    tail = b""
    start = at + 2 + 12 * len(entries) + 4
    for tag, kind, count, data in entries:
        out += struct.pack(order + "HHL", tag, kind, count)
        if len(data) <= 4:
            out += data.ljust(4, b"\0")
        else:
            out += struct.pack(order + "L", start + len(tail))
            tail += data
    return out + b"\0" * 4 + tail


def exifs():
    """Exif blocks by name."""
    for order, kind, count in itertools.product("<>", (*UNITS, 0, 14, 17, 129), (0, 1, 2, 3)):
        yield f"{order}type{kind}x{count}", directory(order, [(0x112, kind, count, value(order, kind, 6, count))])
    for order, v in itertools.product("<>", (0, 1, 2, 3, 4, 5, 7, 8, 9, 255)):
        for kind in (3, 4, 6, 9, 11, 12):
            if kind == 6 and v > 127:
                continue
            yield f"{order}type{kind}={v}", directory(order, [(0x112, kind, 1, value(order, kind, v, 1))])
    h6, h8 = struct.pack("<H", 6), struct.pack("<H", 8)
    yield "twice", directory("<", [(0x112, 3, 1, h6), (0x112, 3, 1, h8)])
    yield "twice-first-empty", directory("<", [(0x112, 3, 0, b""), (0x112, 3, 1, h8)])
    yield "twice-first-byte", directory("<", [(0x112, 1, 1, b"\6"), (0x112, 3, 1, h8)])
    yield "twice-first-unknown", directory("<", [(0x112, 99, 1, h6), (0x112, 3, 1, h8)])
    yield "after-long", directory("<", [(0x10F, 2, 20, b"x" * 20), (0x112, 3, 1, h6)])
    long = directory("<", [(0x10F, 2, 5000, b""), (0x112, 3, 1, h6)])
    yield "after-longer-than-all", long
    yield "after-cut-off", directory("<", [(0x10F, 2, 6, b"")], ) [:-4] + b""
    beyond = bytearray(directory("<", [(0x10F, 2, 8, b"12345678"), (0x112, 3, 1, h6)]))
    struct.pack_into("<L", beyond, 8 + 2 + 8, len(beyond) - 3)
    yield "after-beyond", bytes(beyond)
    many = bytearray(directory("<", [(0x112, 3, 1, h6)]))
    struct.pack_into("<H", many, 8, 40)
    yield "more-entries-than-there", bytes(many)
    yield "other-magic-le", directory("<", [(0x112, 3, 1, h6)], b"II\0*")
    yield "other-magic-be", directory(">", [(0x112, 3, 1, struct.pack(">H", 6))], b"MM*\0")
    yield "further-back", directory("<", [(0x112, 3, 1, h6)], at=26)
    yield "half", directory("<", [(0x112, 5, 1, struct.pack("<LL", 12, 2))])
    yield "fraction", directory("<", [(0x112, 5, 1, struct.pack("<LL", 13, 2))])
    yield "by-zero", directory("<", [(0x112, 5, 1, struct.pack("<LL", 6, 0))])
    yield "long-of-a-thousand", directory("<", [(0x112, 3, 300, struct.pack("<H", 6) * 300)])
    yield "big-long", directory("<", [(0x112, 4, 1, struct.pack("<L", 65536 + 6))])
    yield "float-6.5", directory("<", [(0x112, 11, 1, struct.pack("<f", 6.5))])


def png_with(chunks: list[tuple[bytes, bytes]], after: list[tuple[bytes, bytes]] = []) -> bytes:
    im = picture()
    rows = np.asarray(im)
    raw = b"".join(b"\0" + r.tobytes() for r in rows)
    head = struct.pack(">LLBBBBB", *im.size, 8, 2, 0, 0, 0)
    return png([(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(raw)), *after, (b"IEND", b"")])


def riff(chunks: list[tuple[bytes, bytes]]) -> bytes:
    body = b"WEBP"
    for kind, data in chunks:
        body += kind + struct.pack("<L", len(data)) + data + b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<L", len(body)) + body


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="8"/></x:xmpmeta>'


def files_orientation():
    plain = saved(picture(), "JPEG")
    vp8l = saved(picture(), "WEBP", lossless=True)[12:]
    vp8l = vp8l[8 : 8 + struct.unpack("<L", vp8l[4:8])[0]]
    w, h = picture().size
    vp8x = lambda flags: (b"VP8X", bytes([flags, 0, 0, 0]) + struct.pack("<L", w - 1)[:3] + struct.pack("<L", h - 1)[:3])
    for name, block in exifs():
        app1 = b"Exif\0\0" + block
        yield f"jpeg {name}", plain[:2] + b"\xff\xe1" + struct.pack(">H", len(app1) + 2) + app1 + plain[2:]
        yield f"png {name}", png_with([(b"eXIf", block)])
        yield f"webp {name}", riff([vp8x(8), (b"VP8L", vp8l), (b"EXIF", block)])
        packet = b"http://ns.adobe.com/xap/1.0/\0" + XMP
        both = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(app1) + 2) + app1 + b"\xff\xe1" + struct.pack(">H", len(packet) + 2) + packet + plain[2:]
        yield f"jpeg+xmp {name}", both
    for order, kind, count in itertools.product("<>", (*UNITS, 14), (1, 2)):
        yield f"tiff {order}type{kind}x{count}", tiff(order, [(0x112, kind, count, value(order, kind, 6, count))])
    yield "tiff xmp", tiff("<", [(700, 1, len(XMP), XMP)])
    yield "tiff xmp undefined", tiff("<", [(700, 7, len(XMP), XMP)])
    yield "tiff xmp and tag", tiff("<", [(0x112, 3, 1, b"\3\0"), (700, 1, len(XMP), XMP)])
    block = directory("<", [(0x112, 3, 1, struct.pack("<H", 6))])
    other = directory("<", [(0x112, 3, 1, struct.pack("<H", 3))])
    for flags in range(0, 64, 4):
        for parts in ([(b"EXIF", block)], [(b"XMP ", XMP)], [(b"XMP ", XMP), (b"EXIF", block)], [(b"EXIF", b"Exif\0\0" + block)]):
            yield f"webp flags {flags:x} {[k.decode() for k, _ in parts]}", riff([vp8x(flags), (b"VP8L", vp8l), *parts])
    yield "webp before", riff([vp8x(8), (b"EXIF", block), (b"VP8L", vp8l)])
    yield "webp twice", riff([vp8x(8), (b"VP8L", vp8l), (b"EXIF", other), (b"EXIF", block)])
    yield "webp plain", riff([(b"VP8L", vp8l), (b"EXIF", block)])
    text = b"Raw profile type exif\0" + b"\nexif\n%8d\n" % (6 + len(block)) + (b"Exif\0\0" + block).hex().encode() + b"\n"
    yield "png raw", png_with([(b"tEXt", text)])
    yield "png raw after", png_with([], [(b"tEXt", text)])
    yield "png exif after", png_with([], [(b"eXIf", block)])
    yield "png exif twice", png_with([(b"eXIf", block)], [(b"eXIf", other)])
    yield "png exif empty", png_with([(b"eXIf", b"")])
    yield "png text exif", png_with([(b"tEXt", b"exif\0" + block)])
    for key in (b"XML:com.adobe.xmp", b"other"):
        yield f"png xmp text {key}", png_with([(b"tEXt", key + b"\0" + XMP)])
        yield f"png xmp ztxt {key}", png_with([(b"zTXt", key + b"\0\0" + zlib.compress(XMP))])
        yield f"png xmp itxt {key}", png_with([(b"iTXt", key + b"\0\0\0\0\0" + XMP)])
        yield f"png xmp packed {key}", png_with([(b"iTXt", key + b"\0\1\0\0\0" + zlib.compress(XMP))])
        yield f"png xmp not utf-8 {key}", png_with([(b"iTXt", key + b"\0\0\0\0\0\xff" + XMP)])
        yield f"png xmp cut {key}", png_with([(b"zTXt", key + b"\0\0" + zlib.compress(XMP)[:-6])])
        yield f"png xmp damaged {key}", png_with([(b"zTXt", key + b"\0\0" + zlib.compress(XMP)[:-1] + b"x")])
    yield "png xmp element", png_with([(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<tiff:Orientation>6</tiff:Orientation>")])


def tiff(order: str, extra: list[tuple[int, int, int, bytes]]) -> bytes:
    im = picture()
    px = im.tobytes()
    short = lambda v: struct.pack(order + "H", v)
    long = lambda v: struct.pack(order + "L", v)
    entries = [
        (256, 3, 1, short(im.width)), (257, 3, 1, short(im.height)), (258, 3, 3, short(8) * 3), (259, 3, 1, short(1)), (262, 3, 1, short(2)),
        (273, 4, 1, long(0)), (277, 3, 1, short(3)), (278, 3, 1, short(im.height)), (279, 4, 1, long(len(px))), *extra,
    ]
    entries.sort(key=lambda e: e[0])
    made = directory(order, entries)
    entries = [(t, k, c, long(len(made)) if t == 273 else d) for t, k, c, d in entries]
    return directory(order, entries) + px


# GIF.


def lzw(indices: list[int], width: int) -> bytes:
    """Codes of one width: a clear code before each two indices keeps the table short."""
    bits, n, out = 0, 0, b""

    def put(code: int) -> None:
        nonlocal bits, n
        bits |= code << n
        n += width + 1

    for i, v in enumerate(indices):
        if i % 2 == 0:
            put(1 << width)
        put(v)
    put((1 << width) + 1)
    out = bits.to_bytes((n + 7) // 8, "little")
    blocks = b"".join(bytes([len(out[i : i + 255])]) + out[i : i + 255] for i in range(0, len(out), 255))
    return bytes([width]) + blocks + b"\0"


def files_gif():
    rng = random.Random(3)
    w, h = 12, 9
    for colors, grey, local, interlace, clear, frames, disposal in itertools.product((2, 4, 16), (0, 1, 2), (0, 1), (0, 1), (None, 1, 200), (1, 3), (0, 1, 2, 3)):
        if rng.random() < 0.6:
            continue
        def table() -> bytes:
            if grey == 1:
                return b"".join(bytes([i] * 3) for i in range(colors))
            if grey == 2:
                return b"".join(bytes([255 - i * 9] * 3) for i in range(colors))
            return rng.randbytes(3 * colors)
        bits = colors.bit_length() - 2
        out = b"GIF89a" + struct.pack("<HHBBB", w, h, 0 if local else 0x80 | bits, rng.choice((0, 1, 250)), 0)
        if not local:
            out += table()
        for f in range(frames):
            out += b"\x21\xf9\x04" + bytes([disposal << 2 | (clear is not None), 0, 0, clear or 0]) + b"\0"
            x, y = (0, 0) if f == 0 else (rng.randrange(4), rng.randrange(4))
            fw, fh = (w, h) if f == 0 else (w - x - rng.randrange(4), h - y - rng.randrange(4))
            out += b"," + struct.pack("<HHHHB", x, y, fw, fh, interlace << 6 | (0x80 | bits if local else 0))
            if local:
                out += table()
            out += lzw([rng.choice((rng.randrange(colors), rng.randrange(256), clear or 0)) for _ in range(fw * fh)], 8)
        for frame in range(frames):
            yield f"{colors} {grey} {local} {interlace} {clear} {frames} {disposal}#{frame}", out + b";"


# JPEG.


def scans(data: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """What stands before the tables of the first scan, and the scans: the tables before each, and it."""
    at, start, head, out = 2, 2, b"", []
    while at < len(data):
        assert data[at] == 0xFF
        marker = data[at + 1]
        if marker == 0xD9:
            break
        n = struct.unpack(">H", data[at + 2 : at + 4])[0]
        if marker == 0xC2 or marker == 0xC0:
            at += 2 + n
            head, start = data[:at], at
            continue
        tables = data[start:at]
        at += 2 + n
        if marker == 0xDA:
            first = at - 2 - n
            while not (data[at] == 0xFF and data[at + 1] != 0 and not 0xD0 <= data[at + 1] <= 0xD7):
                at += 1
            out.append((tables, data[first:at]))
            start = at
    return head, out


def files_jpeg():
    rng = random.Random(5)
    for i, (w, h, sub, mode, q) in enumerate(itertools.product((1, 7, 8, 17, 40, 97), (1, 8, 9, 33, 61), (0, 1, 2), ("RGB", "L", "CMYK"), (5, 60, 95))):
        if rng.random() < 0.72 or mode != "RGB" and sub:
            continue
        im = picture(w, h, i).convert(mode)
        options = {"subsampling": sub} if mode != "L" else {}
        if rng.random() < 0.3:
            options["restart_marker_blocks"] = 3
        head, list_ = scans(saved(im, "JPEG", quality=q, progressive=True, **options))
        join = lambda keep: head + b"".join(t + s if keep(i) else t for i, (t, s) in enumerate(list_)) + b"\xff\xd9"
        for n in range(1, len(list_) + 1):
            yield f"{w}x{h} {mode} {sub} q{q} first {n}", join(lambda i: i < n)
        for k in range(3):
            kept, left_out = set(), set()
            for i, (_, s) in enumerate(list_):
                n = s[4]
                comps, start, high = s[5 : 5 + 2 * n : 2], s[5 + 2 * n], s[7 + 2 * n] >> 4
                # Bits that refine coefficients mean nothing without those.
                lost = start > 0 and high > 0 and comps[0] in left_out
                if i == 0 or rng.random() < 0.6 and not lost:
                    kept.add(i)
                elif start > 0:
                    left_out.add(comps[0])
            yield f"{w}x{h} {mode} {sub} q{q} some {k}", join(lambda i: i in kept)
        yield f"{w}x{h} {mode} {sub} q{q} without means", join(lambda i: i > 0)
    for i, (w, h) in enumerate(((16, 10), (33, 17), (8, 8))):
        for split in ("Y", "YCb", "YCr", "CbCr"):
            yield f"{w}x{h} only {split}", parted(picture(w, h, i), split)


def parted(im: Image.Image, split: str) -> bytes:
    """A baseline file of one scan a component, of which some are left out."""
    data = encoders.jpeg(im, [(1, 1), (1, 1), (1, 1)], interleaved=False)
    at = data.index(b"\xff\xda")
    head, parts = data[:at], data[at:-2].split(b"\xff\xda")[1:]
    names = dict(zip(("Y", "Cb", "Cr"), parts))
    keep = [p for n, p in names.items() if n in split.replace("CbCr", "Cb Cr").replace("YC", "Y C").split()]
    return head + b"".join(b"\xff\xda" + p for p in keep) + b"\xff\xd9"


# PNG.


def chunk(kind: bytes, data: bytes, crc: int | None = None) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data) if crc is None else crc)


def png(chunks: list[tuple]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)


KINDS = [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (1, 3), (2, 3), (4, 3), (8, 3), (8, 4), (16, 4), (8, 6), (16, 6)]
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def rows(depth: int, color: int, w: int, h: int, rng: random.Random, filters: str = "01234") -> bytes:
    n = (w * depth * SAMPLES[color] + 7) // 8
    return b"".join(bytes([int(rng.choice(filters))]) + rng.randbytes(n) for _ in range(h)) if n else b""


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def raw(depth: int, color: int, w: int, h: int, interlace: int, rng: random.Random) -> bytes:
    if not interlace:
        return rows(depth, color, w, h, rng)
    out = b""
    for x, y, dx, dy in ADAM7:
        out += rows(depth, color, max((w - x + dx - 1) // dx, 0), max((h - y + dy - 1) // dy, 0), rng)
    return out


def files_png():
    rng = random.Random(7)
    for depth, color in KINDS:
        for interlace, w, h in ((0, 16, 10), (1, 16, 10), (0, 1, 1), (1, 1, 1), (1, 3, 2), (1, 5, 9), (0, 13, 7)):
            yield from loose(rng, depth, color, interlace, w, h)
    for depth, color in ((3, 0), (1, 2), (16, 3), (4, 4), (8, 1), (8, 5), (8, 7), (0, 0), (32, 0)):
        head = struct.pack(">LLBBBBB", 4, 4, depth, color, 0, 0, 0)
        yield f"kind {depth} {color}", png([(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 200)), (b"IEND", b"")])


def loose(rng: random.Random, depth: int, color: int, interlace: int, w: int, h: int):
    name = f"{depth}/{color}{'i' if interlace else ''} {w}x{h} "
    ihdr = lambda *rest: (b"IHDR", struct.pack(">LLBBBBB", w, h, depth, color, *(rest or (0, 0, interlace))))
    head, end = ihdr(), (b"IEND", b"")
    px = raw(depth, color, w, h, interlace, rng)
    packed = zlib.compress(px)
    data = (b"IDAT", packed)
    plte = (b"PLTE", rng.randbytes(3 * min(2**depth, 256)))
    need = [plte] if color == 3 else []
    trns = (b"tRNS", rng.randbytes({0: 2, 2: 6, 3: 3}.get(color, 4)))
    yield name + "plain", png([head, *need, data, end])
    yield name + "trns", png([head, *need, trns, data, end])
    yield name + "no palette", png([head, data, end])
    yield name + "no palette but trns", png([head, trns, data, end])
    yield name + "trns before plte", png([head, trns, *need, data, end])
    yield name + "trns behind pixels", png([head, *need, data, trns, end])
    yield name + "trns twice", png([head, *need, trns, (b"tRNS", rng.randbytes(6)), data, end])
    yield name + "plte behind pixels", png([head, data, plte, end])
    yield name + "plte", png([head, plte, data, end])
    yield name + "plte twice", png([head, plte, (b"PLTE", rng.randbytes(12)), data, end])
    for n in (0, 1, 2, 5, 6, 767, 768, 769, 770, 771, 774, 900):
        yield name + f"plte of {n}", png([head, (b"PLTE", rng.randbytes(n)), data, end])
    for n in (0, 1, 2, 3, 5, 6, 7, 255, 256, 257, 300):
        yield name + f"trns of {n}", png([head, *need, (b"tRNS", rng.randbytes(n)), data, end])
        yield name + f"trns of {n} behind", png([head, *need, data, (b"tRNS", rng.randbytes(n)), end])
    yield name + "simple trns", png([head, *need, (b"tRNS", b"\xff\0\xff"), data, end])
    yield name + "simple trns and line", png([head, *need, (b"tRNS", b"\xff\0\n"), data, end])
    yield name + "long simple trns", png([head, *need, (b"tRNS", b"\xff" * 300 + b"\0"), data, end])
    # Checksums.
    for kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"teXt", b"zzZz"):
        chunks = [head, *need, (b"teXt", b"abc"), (b"zzZz", b"a"), data, end]
        if color != 3:
            chunks.insert(1, plte)
        chunks = [(k, d, 1) if k == kind else (k, d) for k, d in chunks]
        yield name + f"bad sum of {kind}", png(chunks)
    yield name + "bad sums behind", png([head, *need, data, (b"tEXt", b"a\0b", 7), (b"tRNS", trns[1], 7), (b"IEND", b"", 7)])
    # The end.
    whole = png([head, *need, data, end])
    yield name + "no end", png([head, *need, data])
    yield name + "more behind the end", whole + b"rest of it"
    for cut in (1, 4, 8, 11, 12, 13, 16, 17, 20):
        yield name + f"cut by {cut}", whole[:-cut]
    yield name + "junk in place of the end", png([head, *need, data]) + b"xxxxxxxxxxxxxxxx"
    yield name + "chunk of a bad name", png([head, *need, data, (b"a b!", b"12"), end])
    yield name + "bad name before", png([head, *need, (b"a b!", b"12"), data, end])
    yield name + "cut chunk behind", png([head, *need, data]) + struct.pack(">L", 50) + b"tEXtab"
    yield name + "cut unknown chunk behind", png([head, *need, data]) + struct.pack(">L", 50) + b"abCdab"
    yield name + "cut pixels behind", png([head, *need, data, (b"tEXt", b"a\0b")]) + struct.pack(">L", 50) + b"IDATab"
    # Pixels.
    half = len(packed) // 2
    yield name + "pixels in two", png([head, *need, (b"IDAT", packed[:half]), (b"IDAT", packed[half:]), end])
    yield name + "pixels in bytes", png([head, *need, *((b"IDAT", packed[i : i + 1]) for i in range(len(packed))), end])
    yield name + "empty pixels", png([head, *need, (b"IDAT", b""), (b"IDAT", packed), (b"IDAT", b""), end])
    yield name + "bad sums of pixels", png([head, *need, (b"IDAT", packed[:half], 3), (b"IDAT", packed[half:], 3), end])
    yield name + "pixels parted", png([head, *need, (b"IDAT", packed[:half]), (b"tEXt", b"a\0b"), (b"IDAT", packed[half:]), end])
    yield name + "pixels of DDAT", png([head, *need, (b"IDAT", packed[:half]), (b"DDAT", packed[half:]), end])
    yield name + "more pixels", png([head, *need, (b"IDAT", zlib.compress(px + b"\1" * 50)), end])
    yield name + "more pixel chunks", png([head, *need, data, (b"IDAT", b"more of them"), end])
    yield name + "more pixel chunks apart", png([head, *need, data, (b"tEXt", b"a\0b"), (b"IDAT", b"more of them"), end])
    yield name + "data behind pixels", png([head, *need, (b"IDAT", packed + b"behind the end"), end])
    yield name + "bad adler", png([head, *need, (b"IDAT", packed[:-4] + b"1234"), end])
    yield name + "bad adler apart", png([head, *need, (b"IDAT", packed[:-4]), (b"IDAT", b"1234"), end])
    yield name + "bad adler in part", png([head, *need, (b"IDAT", packed[:-2]), (b"IDAT", b"34"), end])
    for cut in (1, 2, 3, 4, 5, 6, 8):
        yield name + f"packed cut by {cut}", png([head, *need, (b"IDAT", packed[:-cut]), end])
    store = zlib.compressobj(0)
    stored = store.compress(px) + store.flush()
    yield name + "stored", png([head, *need, (b"IDAT", stored), end])
    yield name + "stored, bad adler", png([head, *need, (b"IDAT", stored[:-1] + b"z"), end])
    n = len(px) // h if not interlace else 0
    if n and h > 2:
        yield name + "rows missing", png([head, *need, (b"IDAT", zlib.compress(px[: n * (h - 2)])), end])
        yield name + "half a row missing", png([head, *need, (b"IDAT", zlib.compress(px[: n * (h - 2) - 1])), end])
        yield name + "rows missing, bad adler", png([head, *need, (b"IDAT", zlib.compress(px[: n * (h - 2)])[:-1] + b"!"), end])
        yield name + "rows missing, adler apart", png([head, *need, (b"IDAT", zlib.compress(px[: n * (h - 2)])[:-4]), (b"IDAT", zlib.compress(px[: n * (h - 2)])[-4:]), end])
        bad = bytearray(px)
        bad[n * (h - 1)] = 5
        yield name + "filter 5", png([head, *need, (b"IDAT", zlib.compress(bytes(bad))), end])
        yield name + "filter 5 in the rest", png([head, *need, (b"IDAT", zlib.compress(px + b"\5" * 60)), end])
    elif interlace:
        for cut in (1, 3, len(px) // 2):
            yield name + f"samples cut by {cut}", png([head, *need, (b"IDAT", zlib.compress(px[:-cut])), end])
    damaged = bytearray(packed)
    damaged[len(damaged) * 2 // 3] ^= 0x55
    yield name + "damaged", png([head, *need, (b"IDAT", bytes(damaged)), end])
    for first in (b"\x78\x00", b"\x79\x9c", b"\x88\x1c", b"\x08\x1d", b"\x78\xbb"):
        yield name + f"zlib head {first.hex()}", png([head, *need, (b"IDAT", first + packed[2:]), end])
    yield name + "not deflated", png([head, *need, (b"IDAT", b"hello, world"), end])
    yield name + "no pixels", png([head, *need, end])
    yield name + "no pixels no end", png([head, *need])
    # The header.
    yield name + "compression 1", png([ihdr(1, 0, interlace), *need, data, end])
    yield name + "filter 1", png([ihdr(0, 1, interlace), *need, data, end])
    yield name + "interlace 3", png([ihdr(0, 0, 3), *need, data, end])
    yield name + "long header", png([(b"IHDR", head[1] + b"more"), *need, data, end])
    yield name + "short header", png([(b"IHDR", head[1][:12]), *need, data, end])
    yield name + "header twice", png([(b"IHDR", struct.pack(">LLBBBBB", 3, 3, 8, 2, 0, 0, 0)), head, *need, data, end])
    yield name + "header behind", png([head, *need, data, (b"IHDR", struct.pack(">LLBBBBB", 3, 3, 8, 2, 0, 0, 0)), end])
    yield name + "broken header behind", png([head, *need, data, (b"IHDR", b"abc"), end])
    yield name + "no header", png([*need, data, end])
    yield name + "header later", png([(b"tEXt", b"a\0b"), head, *need, data, end])
    yield name + "pixels before header", png([data, head, *need, data, end])
    yield name + "plte before header", png([plte, head, data, end])
    # Other chunks, good and bad.
    for kind, good in ((b"gAMA", 4), (b"cHRM", 32), (b"sRGB", 1), (b"pHYs", 9), (b"acTL", 8), (b"fcTL", 26), (b"bKGD", 2), (b"hIST", 2), (b"tIME", 7), (b"sBIT", 1)):
        for n in (0, good - 1, good, good + 3):
            yield name + f"{kind} of {n}", png([head, *need, (kind, b"\0" * n), data, end])
            yield name + f"{kind} of {n} behind", png([head, *need, data, (kind, b"\0" * n), end])
    big = zlib.compress(b"x" * (1 << 20) + b"yy")
    for kind, body in (
        (b"iCCP", b"name\0\0" + zlib.compress(b"x")), (b"iCCP", b"name\0\1" + zlib.compress(b"x")), (b"iCCP", b"name\0"), (b"iCCP", b"name"), (b"iCCP", b""), (b"iCCP", b"name\0\0junk"), (b"iCCP", b"\0\0" + big),
        (b"tEXt", b""), (b"tEXt", b"key"), (b"tEXt", b"\0v"), (b"zTXt", b"key\0\0" + zlib.compress(b"x")), (b"zTXt", b"key\0\1x"), (b"zTXt", b"key"), (b"zTXt", b"key\0"), (b"zTXt", b"key\0\0junk"), (b"zTXt", b"key\0\0" + big),
        (b"iTXt", b"key"), (b"iTXt", b"key\0"), (b"iTXt", b"key\0\1\0\0\0junk"), (b"iTXt", b"key\0\1\1\0\0junk"), (b"iTXt", b"key\0\1\0\0\0" + big), (b"iTXt", b"k\xff\0\0\0\0\0\xff"), (b"eXIf", b""),
    ):
        yield name + f"{kind} {body[:9]}", png([head, *need, (kind, body), data, end])
        yield name + f"{kind} {body[:9]} behind", png([head, *need, data, (kind, body), end])
    # Animations.
    frame = lambda seq, fw=w, fh=h, x=0, y=0: (b"fcTL", struct.pack(">LLLLLHHBB", seq, fw, fh, x, y, 1, 10, 0, 0))
    actl = lambda n: (b"acTL", struct.pack(">LL", n, 0))
    more = (b"fdAT", struct.pack(">L", 2) + packed)
    yield name + "animated", png([head, actl(2), *need, frame(0), data, frame(1), more, end])
    yield name + "animated, default", png([head, actl(1), *need, data, frame(0), (b"fdAT", struct.pack(">L", 1) + packed), end])
    yield name + "of one frame", png([head, actl(1), *need, frame(0), data, trns, end])
    yield name + "frames and no acTL", png([head, *need, frame(0), data, frame(1), more, end])
    yield name + "frames out of order", png([head, *need, frame(1), data, end])
    yield name + "frames out of order behind", png([head, *need, frame(0), data, frame(3), end])
    yield name + "frame data first", png([head, *need, frame(0), (b"fdAT", struct.pack(">L", 1) + packed), end])
    yield name + "frame data without frame", png([head, *need, (b"fdAT", struct.pack(">L", 0) + packed), end])
    yield name + "frame data behind", png([head, *need, data, (b"fdAT", struct.pack(">L", 0) + packed), end])
    yield name + "frame data goes on", png([head, *need, frame(0), (b"IDAT", packed[:half]), (b"fdAT", struct.pack(">L", 1) + packed[half:]), end])
    yield name + "frame over the edge", png([head, *need, frame(0, w + 1), data, end])
    yield name + "frame of nothing", png([head, *need, frame(0, 0), data, end])
    yield name + "acTL twice", png([head, actl(2), actl(2), *need, frame(0), data, frame(1), more, end])
    yield name + "acTL of 0", png([head, actl(0), *need, data, end])
    yield name + "trns behind frames", png([head, actl(2), *need, frame(0), data, frame(1), more, trns, end])
    if not interlace and w > 4 and h > 4:
        small = zlib.compress(raw(depth, color, w - 3, h - 2, 0, rng))
        yield name + "smaller frame", png([head, *need, frame(0, w - 3, h - 2, 2, 1), (b"IDAT", small), end])


# Netpbm, QOI, TGA, ICO.


def files_pnm():
    rng = random.Random(11)
    w, h = 5, 4
    for kind, most in itertools.product("123456", (1, 2, 7, 100, 254, 255, 256, 1000, 65534, 65535, 65536, 0, -1)):
        n = w * h * (3 if kind in "36" else 1)
        head = f"P{kind}\n{w} {h}\n" + ("" if kind in "14" else f"{most}\n")
        if kind == "1":
            body = " ".join(rng.choice("01") for _ in range(n)).encode()
        elif kind in "23":
            body = " ".join(str(rng.randint(0, max(most, 0))) for _ in range(n)).encode() + b"\n"
        elif kind == "4":
            body = rng.randbytes((w + 7) // 8 * h)
        else:
            body = rng.randbytes(n * (2 if most > 255 else 1))
        data = head.encode() + body
        yield f"P{kind} {most}", data
        yield f"P{kind} {most} short", data[:-2]
        yield f"P{kind} {most} long", data + b"\n1 2 x"
        yield f"P{kind} {most} comments", data.replace(b"\n", b" # a comment\n", 1).replace(b" ", b"\n#other\n\t ", 1)
        yield f"P{kind} {most} comment in", data.replace(f"{w} ".encode(), f"#c\r{w}#d\n ".encode(), 1)
    for text in ("P3 2 1 255 1 2 3 4 5 6", "P3 2 1 255 1 2 3 4 5", "P3 2 1 255 1 2 3 4 5 256", "P3 2 1 255 1 2 3 4 5 -1", "P3 2 1 255 1 2 3 4 5 +6", "P3 2 1 255 1 2 3 4 5 1_0", "P3 2 1 255 1 2 3 4 5 6 x", "P3 2 1 255 1 2#3\n 3 4 5 6", "P3 2 1 255 1 2 3 4 5 00000000006", "P3 2 1 255 1 2 3 4 5 0000000006",
                 "P1 4 1 0101", "P1 4 1 01 01", "P1 4 1 010", "P1 4 1 01012", "P1 4 1 0102", "P1 4 1 01#1\n01", "P1 4 1 010101", "P2 0 1 255 ", "P2 1 -1 255 1", "P2 1 1 255", "P2 1 1", "P2", "P6#c\n1 1 255 abc", "P2 1_0 1 9 1 2 3 4 5 6 7 8 9 0", "P5 1 1 00000000255 a", "P7\nWIDTH 1\n", "P5\n1 1\n255\n", "P5  \n 1\t1\v255\fa", "P2 1 1 1e2 1", "Px 1 1 255 a", "P0 1 1 255 a"):
        yield text, text.encode()
    for scale in ("-1.0", "1.0", "-3.5e0", "0", "nan", "inf", "x", "-1e-3"):
        order = "<" if scale.startswith("-") else ">"
        values = [-1.5, 0.0, 0.4, 0.9, 1.0, 100.7, 254.99, 255.0, 300.0, 1e9, float("nan"), float("inf"), -0.0, 12.5, 128.0, 1e-9, 77.7, 200.2, 3.3, 9.9]
        yield f"Pf {scale}", f"Pf\n5 4\n{scale}\n".encode() + struct.pack(order + "20f", *values)
    yield "Pf short", b"Pf\n5 4\n-1\n" + b"\0" * 79
    yield "PF", b"PF\n1 1\n-1\n" + b"\0" * 12


def files_qoi():
    rng = random.Random(13)
    for channels, n in itertools.product((3, 4, 0, 5), range(60)):
        w, h = rng.randint(1, 20), rng.randint(1, 12)
        body = b""
        while len(body) < w * h:
            op = rng.choice(("rgb", "rgba", "index", "diff", "luma", "run"))
            body += {"rgb": b"\xfe" + rng.randbytes(3), "rgba": b"\xff" + rng.randbytes(4), "index": bytes([rng.randrange(64)]), "diff": bytes([64 | rng.randrange(64)]), "luma": bytes([128 | rng.randrange(64)]) + rng.randbytes(1), "run": bytes([192 | rng.randrange(62)])}[op]
        if n % 5 == 0:
            body = body[: rng.randrange(len(body))]
        yield f"{channels} {n}", b"qoif" + struct.pack(">LLBB", w, h, channels, n % 2) + body
    yield "head", b"qoif\0\0"
    yield "head alone", b"qoif" + struct.pack(">LLBB", 3, 3, 3, 0)


def files_tga():
    rng = random.Random(17)
    for kind, depth, mapped, flags in itertools.product((1, 2, 3, 9, 10, 11, 0, 4), (1, 8, 15, 16, 24, 32), (0, 1), (0, 0x10, 0x20, 0x30, 8)):
        w, h = rng.randint(1, 14), rng.randint(1, 9)
        for mapdepth in (16, 24, 32, 15) if mapped else (0,):
            start, size = rng.choice(((0, 256), (0, 16), (3, 20), (200, 60), (0, 0)))
            name = f"{kind} {depth} {mapped} {flags:x} {mapdepth} {start}+{size} {w}x{h}"
            ident = rng.randbytes(rng.choice((0, 0, 5)))
            head = struct.pack("<BBBHHBHHHHBB", len(ident), mapped, kind, start if mapped else 0, size if mapped else 0, mapdepth, 0, 0, w, h, depth, flags) + ident
            if mapped:
                head += rng.randbytes(size * (mapdepth // 8))
            per = max(depth // 8, 1)
            if kind & 8:
                body = b""
                left = w * h
                x = 0
                while left > 0:
                    if rng.random() < 0.5:
                        n = rng.randint(1, min(128, w - x))
                        body += bytes([128 | n - 1]) + rng.randbytes(per)
                    else:
                        n = rng.randint(1, min(128, left))
                        body += bytes([n - 1]) + rng.randbytes(per * n)
                    left -= n
                    x = (x + n) % w
            else:
                body = rng.randbytes((w * depth + 7) // 8 * h)
            yield name, head + body
            yield name + " footer", head + body + b"\0" * 26
            yield name + " short", (head + body)[:-1]
            ext = struct.pack("<H", 495) + b"\0" * 492 + bytes([rng.choice((0, 3))])
            yield name + " extended", head + body + ext + struct.pack("<LL", len(head + body), 0) + b"TRUEVISION-XFILE.\0"
            if kind & 8:
                yield name + " overrun", head + bytes([255]) + rng.randbytes(600)


def files_ico():
    rng = random.Random(19)
    for bits, size, mode in itertools.product((1, 4, 8, 24, 32), (1, 5, 16, 33), ("dib", "png")):
        im = picture(size, size, bits)
        if mode == "png":
            alpha = Image.fromarray(np.random.default_rng(size).integers(0, 256, (size, size), dtype=np.uint8))
            rgba = im.copy()
            rgba.putalpha(alpha)
            made = {1: im.convert("1"), 4: im.quantize(9), 8: im.convert("L"), 24: im, 32: rgba}[bits]
            body = saved(made, "PNG")
        else:
            stride, mask = (size * bits + 31) // 32 * 4, (size + 31) // 32 * 4
            colors = 1 << bits if bits <= 8 else 0
            body = struct.pack("<LLLHHLLLLLL", 40, size, 2 * size, 1, bits, 0, 0, 0, 0, 0, 0) + rng.randbytes(4 * colors) + rng.randbytes(stride * size)
            body += rng.randbytes(mask * size)
        entry = lambda side, b, n, at, colors=0: struct.pack("<BBBBHHLL", side % 256, side % 256, colors, 0, 1, b, n, at)
        name = f"{mode} {bits} {size} "
        yield name + "one", b"\0\0\1\0\1\0" + entry(size, bits, len(body), 22) + body
        yield name + "wrong depth", b"\0\0\1\0\1\0" + entry(size, 32 if bits != 32 else 24, len(body), 22) + body
        yield name + "wrong size", b"\0\0\1\0\1\0" + entry(size + 1, bits, len(body), 22) + body
        yield name + "short", (b"\0\0\1\0\1\0" + entry(size, bits, len(body), 22) + body)[:-3]
        yield name + "cut", (b"\0\0\1\0\1\0" + entry(size, bits, len(body), 22) + body)[:40]
        other = saved(picture(3, 3, 9), "PNG")
        for a, b in ((0, 8), (8, 0), (32, 4), (4, 32)):
            yield name + f"two of {a} and {b} bits", b"\0\0\1\0\2\0" + entry(size, a, len(body), 38, 16) + entry(3, b, len(other), 38 + len(body)) + body + other
            same = saved(picture(size, size, 77), "PNG")
            yield name + f"same of {a} and {b} bits", b"\0\0\1\0\2\0" + entry(size, a, len(body), 38, 16) + entry(size, b, len(same), 38 + len(body)) + body + same
    yield "none", b"\0\0\1\0\0\0"
    yield "cut directory", b"\0\0\1\0\1\0\0\0"
    yield "beyond", b"\0\0\1\0\1\0" + struct.pack("<BBBBHHLL", 4, 4, 0, 0, 1, 32, 100, 9999)


def main() -> None:
    if PIL.__version__ != "13.0.0":
        sys.exit(f"Pillow is {PIL.__version__}, the reference is 13.0.0")
    out = sys.stdout.buffer
    for name, data in globals()["files_" + sys.argv[1]]():
        frame = 0
        if "#" in name and sys.argv[1] == "gif":
            frame = int(name.split("#")[1])
        try:
            im = Image.open(io.BytesIO(data))
            if frame:
                im.seek(frame)
                im = im.convert("RGB")
            else:
                im = ImageOps.exif_transpose(im).convert("RGB")
            size, px = im.size, im.tobytes()
        except Exception:  # any will do: the file is refused
            size, px = (0, 0), b""
        name = name.replace("|", "/").replace("\n", "\\n").replace("\r", "\\r")
        out.write(f"{name}|{len(data)} {size[0]} {size[1]}\n".encode("utf-8", "backslashreplace") + data + px)
    out.flush()


main()
