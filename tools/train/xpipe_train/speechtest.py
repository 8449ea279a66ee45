"""Speech with known words, to test on. It is never trained on and never committed.

    asterisk-core-sounds-en, -en-wav (Debian)   prompts of a telephone exchange, one studio voice,
        8 kHz; CC-BY-SA-3.0
    pocketsphinx 5.1.1 (PyPI, its sdist)        five sentences of Austen, 16 kHz; public domain

Prompts are joined to windows of up to LONGEST seconds, GAP seconds of silence between them, in the
order of their names' hashes: neighbours by name say nearly the same.
"""
import gzip
import hashlib
import re
import subprocess
import sys
import tarfile
import wave
from dataclasses import dataclass
from pathlib import Path

from .debian import unpacked

LONGEST, GAP = 28.0, 0.7
FEWEST = 3
"""Words of a prompt; shorter ones are fragments whose ends nobody can tell."""

SPHINX = "pocketsphinx==5.1.1"
NOTES = re.compile(r"[\[\]<>()*#@]")
"""Marks of what is no speech, or is read out as a word that the text does not spell."""


@dataclass
class Window:
    file: str  # a wav of one channel, 16 bits
    text: str


def prompts(deb: Path) -> list[tuple[Path, str]]:
    """The exchange's prompts that are speech, and their texts."""
    texts = unpacked("asterisk-core-sounds-en", deb) / "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
    sounds = {p.relative_to(folder).with_suffix("").as_posix(): p
              for folder in unpacked("asterisk-core-sounds-en-wav", deb).glob("usr/share/asterisk/sounds/*")
              for p in folder.rglob("*.wav")}
    out = []
    for line in gzip.decompress(texts.read_bytes()).decode("utf-8", "replace").splitlines():
        name, colon, text = line.partition(":")
        if colon and name in sounds and not NOTES.search(text) and len(text.split()) >= FEWEST:
            out.append((sounds[name], text.replace("...", " ").strip()))
    return sorted(out, key=lambda p: hashlib.sha256(p[0].stem.encode()).digest())


def sentences(work: Path) -> list[tuple[Path, str]]:
    """Austen's sentences."""
    out = work / "pocketsphinx"
    if not out.exists():
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "pocketsphinx",
                        "-d", str(work), SPHINX], check=True)
        with tarfile.open(next(work.glob("pocketsphinx-*.tar.gz"))) as tar:
            tar.extractall(work / "pocketsphinx.part", filter="data")
        (work / "pocketsphinx.part").rename(out)
    folder = next(out.glob("*/test/data/librivox"))
    lines = re.findall(r"<s> (.*) </s> \((.*)\)", (folder / "transcription").read_text())
    return [(folder / f"{name}.wav", text) for text, name in lines]


def read(path: Path) -> tuple[bytes, int]:
    """Samples of 16 bits of a sound with one channel, and their rate."""
    with wave.open(str(path)) as f:
        if (f.getnchannels(), f.getsampwidth()) != (1, 2):
            raise ValueError(f"{path}: not one channel of 16 bits")
        return f.readframes(f.getnframes()), f.getframerate()


def joined(clips: list[tuple[Path, str]], folder: Path, name: str) -> list[Window]:
    """Windows of clips one after another; a clip that is too long for one is left out."""
    groups: list[list[tuple[bytes, str]]] = []
    room = rate = 0
    for path, text in clips:
        sound, rate = read(path)
        seconds = len(sound) / 2 / rate
        if seconds > LONGEST:
            continue
        if room < seconds:
            groups.append([])
            room = LONGEST
        groups[-1].append((sound, text))
        room -= seconds + GAP
    out = []
    for i, group in enumerate(groups):
        file = folder / f"{name}-{i:03}.wav"
        with wave.open(str(file), "wb") as f:
            f.setnchannels(1)
            f.setsampwidth(2)
            f.setframerate(rate)
            f.writeframes(bytes(2 * int(GAP * rate)).join(sound for sound, _ in group))
        out.append(Window(str(file), " ".join(text for _, text in group)))
    return out


def fetch(work: Path) -> list[Window]:
    """All windows, as wav under work/speech."""
    folder, deb = work / "speech", work / "deb"
    folder.mkdir(parents=True, exist_ok=True)
    deb.mkdir(parents=True, exist_ok=True)
    return joined(prompts(deb), folder, "prompts") + joined(sentences(work), folder, "austen")
