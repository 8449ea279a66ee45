"""Keeps mapped files from staying in memory: a checkpoint is read through a mapping, and so is a
graph's data, and each page that was touched counts until it is given back. So do libraries: importing
torch touches 0.3 GB of them, most of it CUDA's, which is not used.

The kernel has given a page back when `drop` returns, and reads it again (from its cache of files)
when it is touched next, so what is computed does not change. Pages that were written to (a merged
adapter) are copies of the file's, and stay.
"""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Iterable, Iterator

import numpy as np
import torch

STEP = 32 << 20
"""So many bytes may gather before pages are given back."""

DONTNEED = 4
"""MADV_DONTNEED of Linux."""

PRESENT, OF_FILE = 1 << 63, 1 << 61
"""Bits of a page in /proc/self/pagemap: it is in memory; it is the file's own and no copy."""


OWN_MAPPING, M_MMAP_THRESHOLD = 1 << 20, -3
"""So large blocks of the heap get a mapping of their own; glibc's name of that for mallopt."""


def return_blocks() -> None:
    """Let what is freed leave the process at once. glibc else keeps blocks up to the largest ever freed in its
    heap, where tensors of other sizes leave holes: a batch of three of CLAP's sounds then takes 0.2 GB for
    0.06. Does nothing where there is no glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, OWN_MAPPING)


def resident() -> int:
    """Bytes of mapped files in memory; 0 where the system does not say."""
    try:
        fields = Path("/proc/self/statm").read_text().split()
    except OSError:
        return 0
    return int(fields[2]) * os.sysconf("SC_PAGE_SIZE")


def drop(files: Iterable[Path]) -> None:
    """Give back the pages of the mappings of files. Does nothing where there is no Linux."""
    names = {os.path.realpath(f) for f in files}
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
        pages = open("/proc/self/pagemap", "rb")
    except OSError:
        return
    libc, size = ctypes.CDLL(None), os.sysconf("SC_PAGE_SIZE")
    with pages:
        for line in lines:
            fields = line.split(maxsplit=5)
            if len(fields) < 6 or fields[5] not in names:
                continue
            start, end = (int(x, 16) for x in fields[0].split("-"))
            pages.seek(start // size * 8)
            entries = np.frombuffer(pages.read((end - start) // size * 8), np.uint64)
            own = (entries & np.uint64(PRESENT | OF_FILE)) == np.uint64(PRESENT | OF_FILE)
            edges = np.flatnonzero(np.diff(np.concatenate([[False], own, [False]])))
            for first, last in edges.reshape(-1, 2).tolist():
                libc.madvise(ctypes.c_void_p(start + first * size), ctypes.c_size_t((last - first) * size), DONTNEED)


def libraries() -> set[str]:
    """The shared libraries that are mapped; empty where the system does not say."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return set()
    return {fields[5] for line in lines if len(fields := line.split(maxsplit=5)) == 6 and ".so" in fields[5]}


class Dropper:
    """Gives pages of files back whenever STEP bytes more than before are in memory."""

    def __init__(self, files: Iterable[Path]):
        self.files, self.floor = [Path(f) for f in files], resident()

    def __call__(self, *_args) -> None:
        if resident() - self.floor > STEP:
            drop(self.files)
            self.floor = resident()


_streamed: list[Dropper] = []


def release() -> None:
    """Give the pages of a streamed model back, where enough have gathered: for what reads weights
    without running modules."""
    for dropper in _streamed:
        dropper()


def stream(model: torch.nn.Module, files: Iterable[Path]) -> None:
    """Give the weights' pages back while a model whose weights are mapped from files runs: after
    each module that has weights of its own; and those of libraries once. Does nothing for small files."""
    if sum(f.stat().st_size for f in files) <= STEP:
        return
    drop([*files, *libraries()])
    dropper = Dropper(files)
    _streamed[:] = [dropper]
    for module in model.modules():
        if any(True for _ in module.parameters(recurse=False)):
            module.register_forward_hook(dropper)


@contextmanager
def watched(files: Iterable[Path]) -> Iterator[None]:
    """While entered, pages of files, where they are large, are given back by a thread: for what runs
    outside of Python."""
    files = [f for f in files if Path(f).exists()]
    if sum(Path(f).stat().st_size for f in files) <= STEP:
        yield
        return
    dropper, ended = Dropper(files), threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            dropper()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        drop(dropper.files)
