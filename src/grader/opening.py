"""Opens what strangers wrote: no link is followed, no pipe is waited for, nothing large is read."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Refused(Exception):
    """Why a file is not opened, as a grader would say it."""


@dataclass(frozen=True)
class Place:
    """A file or folder below a folder of ours. Every component is opened without following links.

    `root` may be an open descriptor: then it is the folder that it was when it was opened, whatever its name means now.
    """

    root: Path | int
    path: str  # relative, with slashes; "" for the root itself

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.path).suffix.lower()

    def inside(self, name: str) -> "Place":
        return Place(self.root, f"{self.path}/{name}" if self.path else name)

    def _folder(self, parts: tuple[str, ...]) -> int:
        """A descriptor of the folder that `parts` lead to. Raises OSError where one is a link, missing or no folder."""
        folder = os.dup(self.root) if isinstance(self.root, int) else os.open(self.root, _FOLDER)
        for part in parts:
            try:
                inner = os.open(part, _FOLDER, dir_fd=folder)
            finally:
                os.close(folder)
            folder = inner
        return folder

    def open(self, largest: int) -> BinaryIO:
        """The regular file, of at most `largest` bytes, for reading. Raises Refused."""
        *parts, name = PurePosixPath(self.path).parts
        try:
            folder = self._folder(tuple(parts))
            try:
                # First of all: to open a device can have effects of its own.
                _require_file(os.stat(name, dir_fd=folder, follow_symlinks=False), self.name, largest)
                file = os.open(name, _FILE, dir_fd=folder)
            finally:
                os.close(folder)
        except FileNotFoundError:
            raise Refused(f"{self.name} was not written") from None
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            raise Refused(f"{self.name} cannot be read ({getattr(error, 'strerror', error)})") from None
        try:
            _require_file(os.fstat(file), self.name, largest)
            return os.fdopen(file, "rb")
        except BaseException:
            os.close(file)
            raise

    def read(self, largest: int) -> bytes:
        """All bytes of the regular file; at most `largest`. Raises Refused."""
        with self.open(largest) as file:
            try:
                return file.read(largest + 1)[:largest]  # it may grow while it is read
            except OSError as error:
                raise Refused(f"{self.name} cannot be read ({error.strerror})") from None

    def names(self, most: int) -> list[str]:
        """What the folder holds; no more than `most` + 1 names. Raises Refused where it is a link or cannot be read."""
        try:
            folder = self._folder(PurePosixPath(self.path).parts)
        except OSError as error:
            raise Refused(f"{self.name} was replaced, or cannot be read ({error.strerror})") from None
        try:
            with os.scandir(folder) as entries:
                return [entry.name for entry, _ in zip(entries, range(most + 1), strict=False)]
        except OSError as error:
            raise Refused(f"{self.name} cannot be read ({error.strerror})") from None
        finally:
            os.close(folder)


def _require_file(status: os.stat_result, name: str, largest: int) -> None:
    if not stat.S_ISREG(status.st_mode):  # a link may point anywhere, a pipe blocks
        raise Refused(f"{name} is not a regular file")
    if status.st_size > largest:
        raise Refused(f"{name} has {status.st_size} bytes")


def place_in(root: Path, path: Path) -> Place:
    """`path`, whose links have been resolved, below `root`. Raises Refused where it leads out of it."""
    try:
        return Place(root, path.relative_to(root).as_posix())
    except ValueError:
        raise Refused(f"{path.name} lies outside of the repository") from None
