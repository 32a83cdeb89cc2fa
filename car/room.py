"""How much memory the pictures may take that are read, corrected and saved at one time."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

from car import cli, images
from car.errors import BadImage
from car.find import Picture

# While one picture goes through the nets, the next is read and the last one saved: of small pictures a
# matter of course, of large ones three times the memory. Larger ones than half of this go alone.
PIXELS_AT_A_TIME = 2**25
# What a thread frees glibc keeps for that thread. Reading, the nets and saving would each keep as much as a
# large picture takes, so before each stage it is given back to the system. Pixels; it takes milliseconds.
LARGE = 2**22
_trim = cli.c_function("malloc_trim")
# That a picture takes at the most from its reading to its saving, of 16 bits; of 8 bits it is 20. And the
# same where it is saved as WebP, or a sheet is made of it.
BYTES_A_PIXEL, MOST_BYTES_A_PIXEL = 28, 40
CGROUP = Path("/sys/fs/cgroup")  # where Linux shows a container its own limit


class Room:
    """Room for pictures, in pixels. One that is larger than all of it gets it where it is alone."""

    def __init__(self, pixels: int = PIXELS_AT_A_TIME) -> None:
        self._pixels, self._taken = pixels, dict[Picture, int]()
        self._changed = threading.Condition()

    def take(self, picture: Picture, pixels: int) -> None:
        """Take room for a picture; wait until enough was given back."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._taken or sum(self._taken.values()) + pixels <= self._pixels
            )
            self._taken[picture] = pixels

    @contextlib.contextmanager
    def stage(self, picture: Picture) -> Iterator[None]:
        """A stage on the way of a picture that took room: where it fails, the room is given back.

        A MemoryError becomes BadImage.
        """
        if self._taken[picture] >= LARGE and _trim:
            _trim(0)
        try:
            yield
        except MemoryError as error:
            self.give_back(picture)
            raise BadImage(f"{picture.name}: {images.NO_MEMORY}") from error
        except BaseException:
            self.give_back(picture)
            raise

    def give_back(self, picture: Picture) -> None:
        """Give back what a picture took."""
        with self._changed:
            del self._taken[picture]
            self._changed.notify()


def check_memory(picture: Picture, pixels: int, costly: bool) -> None:
    """Raise BadImage for a picture of so many pixels that the free memory does not hold.

    costly: it is saved as WebP, or a sheet is made of it.
    """
    needed, free = pixels * (MOST_BYTES_A_PIXEL if costly else BYTES_A_PIXEL), free_memory()
    if needed > free:
        sizes = f"{needed / 1e9:.1f} GB of memory to correct, and {max(0, free) / 1e9:.1f} GB are free"
        raise BadImage(f"{picture.name}: has {pixels / 1e6:.0f} megapixels, which take {sizes}")


def free_memory() -> int:
    """Bytes that this process can still get, of the machine and of a container that it may run in."""
    free = int(psutil.virtual_memory().available)
    # OSError, ValueError: this is no container, or one without a limit ("max").
    with contextlib.suppress(OSError, ValueError):
        limit, used = (int((CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        # The pages of files that were read count as used, and go where memory is wanted.
        about = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        free = min(free, limit - used + int(about["inactive_file"]))
    return free
