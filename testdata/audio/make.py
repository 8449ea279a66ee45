"""Make the sounds of this folder and golden.npz, what the references make of them.

Files are written by libsndfile (soundfile) and FFmpeg (av) from a synthetic sound; golden.npz has, for
each, libsndfile's samples, averaged over channels, and soxr's at 16,000 a second (quality HQ), and the
log-mel features of WhisperFeatureExtractor in NumPy.
"""

import argparse
import pathlib
import struct

import av
import numpy as np
import soundfile
import soxr
from transformers import WhisperFeatureExtractor

SECONDS = 0.25


def sound(rate):
    """A voice-like sound: harmonics that glide, under a beat, with a little noise. [samples] float32.

    It begins softly: soxr's very first samples of a sound that begins at once are 1 % off."""
    t = np.arange(int(SECONDS * rate)) / rate
    pitch = 2 * np.pi * np.cumsum(120 + 60 * np.sin(2 * np.pi * 2.5 * t)) / rate
    parts = [np.sin(k * pitch) / k for k in range(1, 40) if k * 180 < 0.45 * rate]
    noise = np.random.default_rng(21).standard_normal(len(t)) * 0.004
    beat = 0.6 + 0.4 * np.sin(2 * np.pi * 7 * t)
    return (np.minimum(1, t / 0.03) * (0.25 * beat * sum(parts) + noise)).clip(-1, 1).astype(np.float32)


def channels(x, count):
    return x if count == 1 else np.stack([np.roll(x, 5 * c) * (1 - 0.3 * c) for c in range(count)], 1)


# name, rate, channels, libsndfile's format and subtype
FILES = [
    ("u8.wav", 16000, 1, "WAV", "PCM_U8"), ("16.wav", 16000, 1, "WAV", "PCM_16"),
    ("24.wav", 44100, 2, "WAV", "PCM_24"), ("32.wav", 22050, 1, "WAV", "PCM_32"),
    ("float.wav", 48000, 1, "WAV", "FLOAT"), ("double.wav", 11025, 2, "WAV", "DOUBLE"),
    ("mulaw.wav", 8000, 1, "WAV", "ULAW"), ("alaw.wav", 8000, 1, "WAV", "ALAW"),
    ("extensible.wav", 16000, 3, "WAVEX", "PCM_24"), ("rf64.wav", 16000, 1, "RF64", "PCM_16"),
    ("bigendian.wav", 16000, 1, "WAV", "PCM_16"), ("odd.wav", 12345, 1, "WAV", "PCM_16"),
    ("16.flac", 44100, 2, "FLAC", "PCM_16"), ("24.flac", 96000, 1, "FLAC", "PCM_24"),
    ("vorbis.ogg", 44100, 2, "OGG", "VORBIS"), ("opus.opus", 48000, 2, "OGG", "OPUS"),
    ("mono.mp3", 16000, 1, "MP3", "MPEG_LAYER_III"), ("stereo.mp3", 44100, 2, "MP3", "MPEG_LAYER_III"),
]


def voice(path, x):
    """Write Opus as a telephone does: mono, its speech mode."""
    with av.open(str(path), "w", format="ogg") as out:
        stream = out.add_stream("libopus", rate=48000, layout="mono")
        stream.bit_rate, stream.options = 16000, {"application": "voip"}
        frame = av.AudioFrame.from_ndarray(x.reshape(1, -1), format="flt", layout="mono")
        frame.rate = 48000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)


WRITTEN = 1796082464
"""The time, in seconds of Unix, that files of floats say their peak was found at."""

STREAMS = {"vorbis.ogg": 1259181972, "opus.opus": 2130427876, "voice.opus": 3420717188}
"""The numbers of Ogg's streams, which are drawn when a file is written."""


def settle(path):
    """Make a file the same each time it is written, but for its sound."""
    data = bytearray(path.read_bytes())
    if path.suffix == ".wav" and (at := data.find(b"PEAK", 0, 200)) > 0:
        struct.pack_into("<I", data, at + 12, WRITTEN)
    at = 0
    while path.name in STREAMS and at < len(data):  # the pages of RFC 3533
        struct.pack_into("<I", data, at + 14, STREAMS[path.name])
        struct.pack_into("<I", data, at + 22, 0)
        segments = data[at + 26]
        size = 27 + segments + sum(data[at + 27:at + 27 + segments])
        struct.pack_into("<I", data, at + 22, checksum(data[at:at + size]))
        at += size
    path.write_bytes(data)


def checksum(page):
    """Ogg's of a page: CRC-32 of the polynomial 0x04c11db7, from 0 on, the highest bit first."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)
            crc &= 0xFFFFFFFF
    return crc


def heard(path):
    """Decode a file: its samples, averaged over channels, and their rate."""
    if path.name == "voice.opus":  # libsndfile refuses one as short
        with av.open(str(path)) as file:
            frames = [f.to_ndarray() for f in file.decode(audio=0)]
        return np.concatenate(frames, -1).reshape(-1), 48000
    x, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return x.mean(1), rate


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    out = parser.parse_args().out
    golden = {}
    for name, rate, count, form, subtype in FILES:
        path = out / name
        endian = "BIG" if name == "bigendian.wav" else None
        if subtype == "OPUS" and path.exists():
            continue  # its encoder gives other bytes on other processors
        soundfile.write(path, channels(sound(rate), count), rate, format=form, subtype=subtype, endian=endian)
        settle(path)
    voice(out / "voice.opus", sound(48000))
    settle(out / "voice.opus")
    for path in sorted(out.glob("*.*")):
        if path.suffix in (".py", ".txt", ".npz"):
            continue
        mono, rate = heard(path)
        golden[path.name] = mono
        golden["16k/" + path.name] = soxr.resample(mono, rate, 16000, "HQ") if rate != 16000 else mono
    for mels in (80, 128):
        extractor = WhisperFeatureExtractor(feature_size=mels)
        x = golden["16k/16.wav"]
        padded = np.pad(x, (0, extractor.n_samples - len(x)))
        mel = extractor._np_extract_fbank_features(padded[None], "cpu")[0]
        golden[f"mel/{mels}"] = np.ascontiguousarray(mel[:, :28])
        golden[f"mel/{mels}/last"] = np.ascontiguousarray(mel[:, -2:])
        golden[f"mel/{mels}/bare"] = np.ascontiguousarray(extractor._np_extract_fbank_features(x[None], "cpu")[0])
    short = WhisperFeatureExtractor(feature_size=8, chunk_length=1, hop_length=250)  # of testdata/layouts/whisper-transformersjs
    padded = np.pad(golden["16k/16.wav"], (0, short.n_samples - len(golden["16k/16.wav"])))
    golden["mel/8/second"] = short._np_extract_fbank_features(padded[None], "cpu")[0]
    np.savez_compressed(out / "golden.npz", **{k: v.astype(np.float32) for k, v in golden.items()})


main()
