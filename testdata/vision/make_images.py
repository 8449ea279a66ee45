"""Writes images/: small pictures of every kind of file that vision reads.

    build/venv/bin/python3 testdata/vision/make_images.py

and then golden.py for what Pillow makes of them. Pillow 13.0.0 encodes what it
can; kinds that it cannot write are put together byte by byte in encoders.py.
Everything is drawn from fixed seeds, so a second run writes the same files.
"""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

import encoders

OUT = Path(__file__).parent / "images"


def scene(w: int, h: int, seed: int = 1) -> Image.Image:
    """A gradient with shapes, edges of strong colours and some grain."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w]
    px = np.stack([x * 255 / w, y * 255 / h, (x + y) * 255 / (w + h)], -1)
    px += rng.normal(0, 6, px.shape)
    im = Image.fromarray(px.clip(0, 255).astype(np.uint8))
    d = ImageDraw.Draw(im)
    d.ellipse([w // 8, h // 8, w // 2, h // 2], fill=(230, 20, 30))
    d.rectangle([w // 2, h // 3, w - w // 8, h - h // 6], fill=(10, 60, 220), outline=(255, 255, 0))
    d.line([0, h - 1, w - 1, 0], fill=(0, 255, 60), width=2)
    return im


def alpha(w: int, h: int) -> Image.Image:
    y, x = np.mgrid[:h, :w]
    return Image.fromarray(((x * 9 + y * 5) % 256).astype(np.uint8))


def exif(orientation: int) -> Image.Exif:
    e = Image.Exif()
    e[0x0112] = orientation
    return e


def save(name: str, im: Image.Image, **kw) -> None:
    im.save(OUT / name, **kw)


def write(name: str, data: bytes) -> None:
    (OUT / name).write_bytes(data)


def jpegs() -> None:
    im = scene(75, 53)
    save("444.jpg", im, quality=90, subsampling=0)
    save("422.jpg", im, quality=85, subsampling=1)
    save("420.jpg", im, quality=85, subsampling=2)
    save("420-even.jpg", scene(64, 48), quality=75)
    save("420-low-quality.jpg", im, quality=8)
    save("444-best.jpg", im, quality=100, subsampling=0)
    save("grey.jpg", im.convert("L"), quality=85)
    save("cmyk.jpg", im.convert("CMYK"), quality=90)
    save("rgb.jpg", im, quality=90, keep_rgb=True)
    save("optimized.jpg", im, quality=80, optimize=True)
    save("progressive.jpg", im, quality=85, progressive=True)
    save("progressive-444.jpg", im, quality=85, progressive=True, subsampling=0)
    save("progressive-grey.jpg", im.convert("L"), quality=85, progressive=True)
    save("progressive-cmyk.jpg", im.convert("CMYK"), quality=85, progressive=True)
    save("restart.jpg", im, quality=85, restart_marker_blocks=3)
    save("restart-rows.jpg", im, quality=85, progressive=True, restart_marker_rows=1)
    save("1x1.jpg", scene(1, 1))
    save("3x2.jpg", scene(3, 2), quality=95)
    save("17x1.jpg", scene(17, 1))
    for o in range(1, 9):
        save(f"orientation-{o}.jpg", scene(40, 24), quality=80, exif=exif(o))
    save("orientation-9.jpg", scene(40, 24), quality=80, exif=exif(9))
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    save("orientation-xmp.jpg", scene(40, 24), quality=80, xmp=xmp)
    write("440.jpg", encoders.jpeg(im, [(1, 2), (1, 1), (1, 1)]))
    write("411.jpg", encoders.jpeg(im, [(4, 1), (1, 1), (1, 1)]))
    write("410.jpg", encoders.jpeg(im, [(4, 2), (1, 1), (1, 1)]))
    write("422-mixed.jpg", encoders.jpeg(im, [(2, 2), (2, 1), (1, 2)]))
    write("luma-subsampled.jpg", encoders.jpeg(im, [(1, 1), (2, 2), (2, 2)]))
    write("scans.jpg", encoders.jpeg(im, [(2, 2), (1, 1), (1, 1)], interleaved=False))
    write("ycck.jpg", encoders.jpeg(im, [(1, 1)] * 4, adobe=2))
    write("ycck-420.jpg", encoders.jpeg(im, [(2, 2), (1, 1), (1, 1), (2, 2)], adobe=2))
    write("cmyk-plain.jpg", encoders.jpeg(im, [(1, 1)] * 4))
    write("rgb-420.jpg", encoders.jpeg(im, [(2, 2), (1, 1), (1, 1)], adobe=0))
    write("grey-2x2.jpg", encoders.jpeg(im, [(2, 2)]))


def pngs() -> None:
    im, a = scene(45, 31), alpha(45, 31)
    grey = im.convert("L")
    rgba = im.copy()
    rgba.putalpha(a)
    save("rgb.png", im)
    save("rgba.png", rgba)
    save("grey.png", grey)
    save("grey-alpha.png", Image.merge("LA", [grey, a]))
    save("bilevel.png", grey.convert("1"))
    palette = im.quantize(64)
    save("palette.png", palette)
    for bits in (1, 2, 4):
        save(f"palette-{bits}bit.png", im.quantize(1 << bits), bits=bits)
    save("palette-alpha.png", palette, transparency=bytes(range(0, 256, 4)))
    save("palette-one-clear.png", palette, transparency=5)
    save("grey-clear.png", grey, transparency=grey.getpixel((3, 3)))
    save("rgb-clear.png", im, transparency=im.getpixel((3, 3)))
    y, x = np.mgrid[:31, :45]
    wide = ((x * 1451 + y * 977) % 65536).astype(np.uint16)
    save("grey-16bit.png", Image.fromarray(wide))
    rgb16 = np.stack([wide, wide[::-1], wide[:, ::-1]], -1)
    rgba16 = np.concatenate([rgb16, wide[..., None] ^ 0x5555], -1)
    g = np.asarray(grey)
    for bits in (2, 4):
        write(f"grey-{bits}bit.png", encoders.png(g >> (8 - bits), bits, 0))
    write("grey-16bit-clear.png", encoders.png(wide, 16, 0, extra=[(b"tRNS", struct.pack(">H", int(wide[3, 3])))]))
    write("grey-alpha-16bit.png", encoders.png(np.stack([wide, wide ^ 0x3333], -1), 16, 4))
    write("rgb-16bit.png", encoders.png(rgb16, 16, 2))
    write("rgb-16bit-clear.png", encoders.png(rgb16, 16, 2, extra=[(b"tRNS", struct.pack(">3H", *map(int, rgb16[3, 3])))]))
    write("rgba-16bit.png", encoders.png(rgba16, 16, 6))
    write("interlaced.png", encoders.png(np.asarray(im), 8, 2, interlaced=True))
    write("interlaced-16bit.png", encoders.png(rgba16, 16, 6, interlaced=True))
    plte = [(b"PLTE", bytes(palette.getpalette()[: 64 * 3]))]
    write("interlaced-palette.png", encoders.png(np.asarray(palette), 8, 3, interlaced=True, extra=plte))
    write("interlaced-bilevel.png", encoders.png(g >> 7, 1, 0, interlaced=True))
    save("orientation.png", scene(40, 24), exif=exif(6))
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<rdf tiff:Orientation="8"/>')
    save("orientation-xmp.png", scene(40, 24), pnginfo=info)
    info = PngImagePlugin.PngInfo()
    raw = exif(3).tobytes()
    info.add_text("Raw profile type exif", f"\nexif\n{len(raw):8}\n{raw.hex()}\n", zip=True)
    save("orientation-raw.png", scene(40, 24), pnginfo=info)
    save("1x1.png", scene(1, 1))
    save("animated.png", scene(45, 31), save_all=True, append_images=steps(45, 31, 5), duration=50)
    save("animated-rgba.png", rgba, save_all=True, append_images=clear_steps(45, 31, 5), blend=1, disposal=[0, 1, 2, 0, 1, 2], duration=50)


def steps(w: int, h: int, n: int) -> list[Image.Image]:
    """Frames in which a square walks over the scene."""
    frames = []
    for i in range(n):
        im = scene(w, h)
        ImageDraw.Draw(im).rectangle([4 + 5 * i, 6, 11 + 5 * i, 15], fill=(40 * i, 255 - 40 * i, 90))
        frames.append(im)
    return frames


def clear_steps(w: int, h: int, n: int) -> list[Image.Image]:
    frames = []
    for i, im in enumerate(steps(w, h, n)):
        mask = Image.new("L", (w, h), 0)
        ImageDraw.Draw(mask).ellipse([3 * i, 2 * i, 20 + 3 * i, 16 + 2 * i], fill=90 + 33 * i)
        im.putalpha(mask)
        frames.append(im)
    return frames


def gifs() -> None:
    im = scene(45, 31)
    palette = im.quantize(64)
    save("palette.gif", palette)
    save("plain.gif", palette, interlace=0)
    save("clear.gif", palette, transparency=5)
    save("grey.gif", im.convert("L"))
    save("bilevel.gif", im.convert("1"))
    save("animated.gif", palette, save_all=True, append_images=steps(45, 31, 7), duration=40)
    clear = [f.quantize(32) for f in steps(45, 31, 6)]
    save("animated-disposal.gif", palette, save_all=True, append_images=clear, transparency=3, disposal=[1, 2, 3, 1, 2, 3, 0], duration=40, optimize=False)
    save("animated-clear.gif", clear_steps(45, 31, 5)[0], save_all=True, append_images=clear_steps(45, 31, 5)[1:], disposal=2, duration=40)
    px = np.asarray(palette)
    table = bytes(palette.getpalette()[: 64 * 3])
    write("offset.gif", encoders.gif((60, 40), [(7, 5, px, table, None)], table))
    write("offset-clear.gif", encoders.gif((60, 40), [(7, 5, px, table, 9)], table))
    write("no-palette.gif", encoders.gif((45, 31), [(0, 0, px, None, None)], None))
    write("over-the-edge.gif", encoders.gif((40, 25), [(3, 2, px, table, None)], None))


def webps() -> None:
    im, a = scene(75, 53), alpha(75, 53)
    rgba = im.copy()
    rgba.putalpha(a)
    save("lossy.webp", im, quality=80)
    save("lossy-low-quality.webp", im, quality=5)
    save("lossy-even.webp", scene(64, 48), quality=95)
    save("lossy-alpha.webp", rgba, quality=80)
    save("lossless.webp", im, lossless=True)
    save("lossless-alpha.webp", rgba, lossless=True)
    save("lossless-alpha-exact.webp", rgba, lossless=True, exact=True)
    save("lossless-palette.webp", im.quantize(16).convert("RGB"), lossless=True)
    save("lossless-bilevel.webp", im.convert("1").convert("RGB"), lossless=True)
    save("1x1.webp", scene(1, 1), quality=80)
    save("3x2.webp", scene(3, 2), quality=80)
    save("orientation.webp", scene(40, 24), quality=80, exif=exif(7))
    save("animated.webp", scene(45, 31), save_all=True, append_images=steps(45, 31, 5), quality=80, duration=40)
    save("animated-lossless.webp", rgba.resize((45, 31)), save_all=True, append_images=clear_steps(45, 31, 5), lossless=True, duration=40)
    save("animated-alpha.webp", clear_steps(45, 31, 1)[0], save_all=True, append_images=clear_steps(45, 31, 6)[1:], quality=70, allow_mixed=True, duration=40)


def bmps() -> None:
    im = scene(45, 31)
    grey = im.convert("L")
    save("rgb.bmp", im)
    save("palette.bmp", im.quantize(64))
    save("grey.bmp", grey)
    save("bilevel.bmp", grey.convert("1"))
    rgba = im.copy()
    rgba.putalpha(alpha(45, 31))
    save("rgba.bmp", rgba)
    px, small = np.asarray(im), np.asarray(im.quantize(16))
    table = im.quantize(16).getpalette()[:48]
    write("top-down.bmp", encoders.bmp(px, top_down=True))
    write("32bit.bmp", encoders.bmp(px, bits=32))
    write("555.bmp", encoders.bmp(px, bits=16))
    write("565.bmp", encoders.bmp(px, bits=16, masks=(0xF800, 0x7E0, 0x1F)))
    write("bitfields.bmp", encoders.bmp(px, bits=32, masks=(0xFF000000, 0xFF0000, 0xFF00)))
    write("4bit.bmp", encoders.bmp(small, bits=4, palette=table))
    write("2color.bmp", encoders.bmp(small & 1, bits=1, palette=table[:6]))
    write("rle8.bmp", encoders.bmp(small, bits=8, palette=table, rle=True))
    write("rle4.bmp", encoders.bmp(small, bits=4, palette=table, rle=True))
    write("os2.bmp", encoders.bmp(px, core=True))
    write("os2-palette.bmp", encoders.bmp(small, bits=8, palette=table + [0] * 720, core=True))


def tiffs() -> None:
    im, a = scene(45, 31), alpha(45, 31)
    grey = im.convert("L")
    rgba = im.copy()
    rgba.putalpha(a)
    save("rgb.tif", im)
    save("lzw.tif", im, compression="tiff_lzw")
    save("lzw-predictor.tif", im, compression="tiff_lzw", tiffinfo={317: 2})
    save("deflate.tif", im, compression="tiff_adobe_deflate")
    save("packbits.tif", im, compression="packbits")
    save("grey.tif", grey, compression="tiff_lzw")
    save("grey-alpha.tif", Image.merge("LA", [grey, a]))
    save("rgba.tif", rgba, compression="tiff_lzw")
    save("palette.tif", im.quantize(64), compression="packbits")
    save("bilevel.tif", grey.convert("1"))
    save("group3.tif", grey.convert("1"), compression="group3")
    save("group4.tif", grey.convert("1"), compression="group4")
    save("cmyk.tif", im.convert("CMYK"), compression="tiff_lzw")
    save("strips.tif", im, compression="tiff_lzw", tiffinfo={278: 7})
    y, x = np.mgrid[:31, :45]
    wide = ((x * 1451 + y * 977) % 65536).astype(np.uint16)
    save("grey-16bit.tif", Image.fromarray(wide))
    save("orientation.tif", scene(40, 24), compression="tiff_lzw", tiffinfo={274: 6})
    px = np.asarray(im)
    write("big-endian.tif", encoders.tiff(px, order=">"))
    save("jpeg.tif", im, compression="jpeg", quality=85)
    save("jpeg-grey.tif", grey, compression="jpeg", quality=85)
    write("cmyk-16bit.tif", encoders.tiff(np.stack([wide, wide[::-1], wide[:, ::-1], wide // 3], -1), photometric=5))
    write("planar.tif", encoders.tiff(px, planar=True))
    write("tiled.tif", encoders.tiff(px, tile=16))
    write("rgb-16bit.tif", encoders.tiff(np.stack([wide, wide[::-1], wide[:, ::-1]], -1)))
    write("premultiplied.tif", encoders.tiff(premultiplied(px, np.asarray(a)), extra=1))
    write("extra.tif", encoders.tiff(np.dstack([px, np.asarray(a)]), extra=0))
    write("white-is-zero.tif", encoders.tiff(np.asarray(grey)[..., None], photometric=0))


def premultiplied(px: np.ndarray, a: np.ndarray) -> np.ndarray:
    a = a[..., None].astype(np.uint32)
    return np.concatenate([px * a // 255, a], -1).astype(np.uint8)


def others() -> None:
    """The formats of a few lines, and files that end before all is there."""
    im = scene(37, 23)
    rgba = im.copy()
    rgba.putalpha(alpha(37, 23))
    grey, palette = im.convert("L"), im.quantize(60)
    save("rgb.ppm", im)
    save("grey.pgm", grey)
    save("bilevel.pbm", im.convert("1"))
    save("grey.pfm", grey.convert("F"))
    write("grey-16bit.pgm", b"P5 # a comment\n37 23\n65535\n" + (np.asarray(grey).astype(">u2") * 3).tobytes())
    write("grey-1000.pgm", b"P5\n37 23\n1000\n" + (np.asarray(grey).astype(">u2") * 3).tobytes())
    write("plain.pbm", b"P1\n37 23\n" + "".join("10"[int(v > 127)] for v in np.asarray(grey).flat).encode())
    write("plain.pgm", b"P2\n37 23\n255\n" + " ".join(map(str, np.asarray(grey).flat)).encode())
    write("plain.ppm", b"P3\n37 23 # colours\n255\n" + "\n".join(map(str, np.asarray(im).flat)).encode())
    save("rgb.qoi", im)
    save("rgba.qoi", rgba)
    save("rgb.tga", im)
    save("rgba.tga", rgba)
    save("palette.tga", palette)
    save("runs.tga", palette, compression="tga_rle")
    save("runs-rgba.tga", rgba, compression="tga_rle")
    save("top-down.tga", grey, orientation=1)
    save("icon.ico", rgba, sizes=[(16, 16), (24, 14)])
    save("icon-bitmap.ico", scene(32, 32), sizes=[(16, 16), (32, 32)], bitmap_format="bmp")
    save("rgb.dib", im)
    progressive = io.BytesIO()
    im.save(progressive, "JPEG", quality=70, progressive=True)
    data = progressive.getvalue()
    starts = [i for i in range(len(data) - 1) if data[i : i + 2] == b"\xff\xda"]
    for n in (1, 3, 5):  # the tables of the next scan may stand there unused
        write(f"scans-{n}.jpg", data[: starts[n]] + b"\xff\xd9")
    px = np.asarray(palette)
    table = bytes(palette.getpalette()[: 16 * 3])
    write("short-palette.gif", encoders.gif((37, 23), [(0, 0, px, table, None)], None))


def models() -> None:
    """Pictures for the processors' goldens: of other shapes, and larger."""
    save("wide.png", scene(400, 90, 5).quantize(128))
    save("tall.png", scene(61, 330, 6).quantize(128))


def main() -> None:
    OUT.mkdir(exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    for make in (jpegs, pngs, gifs, webps, bmps, tiffs, others, models):
        make()
    files = list(OUT.iterdir())
    print(len(files), "files,", sum(f.stat().st_size for f in files), "bytes")


main()
