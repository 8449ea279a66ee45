"""The xpipe program as the last reader of a bundle: what it cannot open was no export."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np
from PIL import Image

from .graph import ExportError

TIMEOUT = 1800
"""Seconds for the one picture or sound; a bundle of tens of gigabytes is read within them."""

QUESTION = "what is this?"


def find() -> Path | None:
    """The program: what XPIPE names, or xpipe on the path, or build/xpipe of this checkout. Raises
    ExportError where XPIPE names nothing."""
    if named := os.environ.get("XPIPE"):
        found = shutil.which(named)
        if found is None:
            raise ExportError(f"XPIPE names {named}, which is no program")
        return Path(found)
    if found := shutil.which("xpipe"):
        return Path(found)
    built = Path(__file__).resolve().parents[3] / "build" / "xpipe"
    return built if os.access(built, os.X_OK) else None


def try_out(program: Path, folder: Path) -> str:
    """Let the program answer about a test picture, or write down a test sound, with the bundle in
    folder; what it says. Raises ExportError where it does not."""
    with tempfile.TemporaryDirectory(prefix="xpipe-export-") as place:
        picture = Path(place) / "picture.png"
        _picture().save(picture)
        command = [str(program), *_verb(folder, picture), "--model", str(folder), "--engine", "go", "--json"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        except subprocess.TimeoutExpired as e:
            raise ExportError(f"{program} took more than {TIMEOUT} s for a test picture") from e
        except OSError as e:
            raise ExportError(f"{program} cannot be run: {e.strerror}") from e
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = " ".join((done.stderr or done.stdout).split()) or "nothing"
        raise ExportError(f"{program} {command[1]} fails on the bundle with status {done.returncode}: {said}")
    answer = json.loads(lines[0])
    return next((str(answer[k]) for k in ("caption", "answer", "probability", "text") if k in answer), lines[0][:80])


def _verb(folder: Path, picture: Path) -> list[str]:
    """The verb for what a bundle can do, and its arguments."""
    meta = json.loads((folder / "xpipe.json").read_text())
    if meta["family"] in ("whisper", "clap"):
        sound = picture.with_name("sound.wav")
        _sound(sound)
        return ["transcribe", str(sound)] if meta["family"] == "whisper" else ["match", str(sound), "a falling tone"]
    tasks, short = meta["tasks"], ["--max-new-tokens", "4"]
    if "visual_feat_dim" in meta and "region_encoder" not in meta["graphs"]:
        regions = picture.with_name("regions.npz")
        boxes = np.array([[0, 0, 64, 48], [8, 8, 32, 40]], np.float32)
        np.savez(regions, features=np.ones((2, meta["visual_feat_dim"]), np.float32), boxes=boxes,
                 image_w=64, image_h=48)
        return ["ask", str(picture), QUESTION, "--regions", str(regions)]
    if "caption" in tasks:
        return ["caption", str(picture), *short]
    if "answer" in tasks:
        return ["ask", str(picture), QUESTION, *short]
    if "match" in tasks:
        return ["match", str(picture), "a photo of a cat"]
    return ["embed", str(picture)]


def _sound(file: Path) -> None:
    """A second of a falling tone."""
    t = np.arange(16000) / 16000
    with wave.open(str(file), "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(16000)
        f.writeframes((8000 * np.sin(2 * np.pi * (500 * t - 150 * t * t))).astype("<i2").tobytes())


def _picture() -> Image.Image:
    y, x = np.mgrid[0:48, 0:64]
    pixels = np.stack([4 * x, 5 * y, 255 - 2 * x - 2 * y], -1).astype(np.uint8)
    pixels[16:36, 12:30] = (220, 40, 30)
    return Image.fromarray(pixels)
