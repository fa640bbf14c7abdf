"""Packs this Python and the memory app as the first file system of a kernel of our own.

An initramfs is a cpio archive of the "newc" kind (Linux: Documentation/driver-api/early-userspace/buffer-format.rst).
Paths in it are those of this machine, so that the virtual environment's interpreter finds its library.
"""

import os
import re
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

ROOT = Path(__file__).resolve().parents[3]
LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "site-packages"}
FOLDERS = ("/proc", "/sys", "/tmp", "/dev/shm")
DEVICES = {"/dev/console": (5, 1), "/dev/null": (1, 3), "/dev/urandom": (1, 9)}


def write_initramfs(target: Path, *programs: Path) -> None:
    """Everything that `programs`, Python files of this repository, need in order to use the memory app."""
    files = [*_library(), *_psutil(), Path(sys.executable), Path(sys.prefix) / "pyvenv.cfg"]
    files += [*(ROOT / "memory").rglob("*.py"), *programs]
    with target.open("wb") as out:
        archive = _Archive(out)
        for file in [*files, *_shared_libraries(files)]:
            archive.put(file)
        archive.put_system()


def _library() -> Iterator[Path]:
    for folder, below, names in os.walk(sysconfig.get_path("stdlib")):
        below[:] = [name for name in below if name not in LEFT_OUT and not name.startswith("config-")]
        yield from (Path(folder, name) for name in names if name.endswith((".py", ".so", ".pyc")))


def _psutil() -> Iterator[Path]:
    folder = Path(sysconfig.get_path("platlib"), "psutil")
    return (file for file in folder.iterdir() if file.suffix in {".py", ".so"})


def _shared_libraries(files: Iterable[Path]) -> set[Path]:
    binaries = [str(file) for file in files if file.suffix == ".so" or file == Path(sys.executable)]
    listing = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False).stdout
    return {Path(word) for word in re.findall(r"^\s.*?(/\S+) \(", listing, re.MULTILINE)}


class _Archive:
    """Entries in the order in which they are put, each path once, the folders above it first."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._known: set[Path] = {Path("/")}

    def put(self, path: Path) -> None:
        """A file, or a symbolic link and what it leads to; also where a folder above is a link."""
        path = path.parent.resolve() / path.name if self._put_folders(path) else path
        if path in self._known:
            return
        self._put_folders(path)
        if path.is_symlink():
            self._entry(path, stat.S_IFLNK | 0o777, os.readlink(path).encode())
            self.put(path.parent / os.readlink(path))
        else:
            self._entry(path, stat.S_IFREG | 0o755, path.read_bytes())

    def put_system(self) -> None:
        """What the kernel and Python expect of any system, and the archive's end."""
        for name in FOLDERS:
            self._put_folders(Path(name, "x"))
        for name, device in DEVICES.items():
            self._entry(Path(name), stat.S_IFCHR | 0o666, device=device)
        self._entry(Path("/TRAILER!!!"), 0)

    def _put_folders(self, path: Path) -> bool:
        """Returns whether one of them is a symbolic link; below it nothing is put."""
        for folder in reversed(path.parents):
            if folder.is_symlink():
                if folder not in self._known:
                    self._entry(folder, stat.S_IFLNK | 0o777, os.readlink(folder).encode())
                return True
            if folder not in self._known:
                self._entry(folder, stat.S_IFDIR | 0o755)
        return False

    def _entry(self, path: Path, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        self._known.add(path)
        name = str(path).lstrip("/").encode() + b"\0"
        numbers = (len(self._known), mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name), 0)
        self._write(b"070701" + b"".join(b"%08x" % number for number in numbers) + name)
        self._write(content)

    def _write(self, part: bytes) -> None:
        self._out.write(part + b"\0" * (-len(part) % 4))
