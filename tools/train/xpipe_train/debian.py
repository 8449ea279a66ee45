"""Material out of Debian packages."""
import subprocess
from pathlib import Path


def unpacked(package: str, deb: Path) -> Path:
    """The contents of a Debian package, got by its ordinary client."""
    out = deb / package
    if not out.exists():
        if not list(deb.glob(f"{package}_*.deb")):
            subprocess.run(["apt-get", "download", "-q", package], cwd=deb, check=True)
        part = deb / (package + ".part")
        subprocess.run(["dpkg", "-x", str(next(deb.glob(f"{package}_*.deb"))), str(part)], check=True)
        part.rename(out)
    return out
