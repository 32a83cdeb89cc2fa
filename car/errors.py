"""What can go wrong, in words for people."""

import re


class UserError(Exception):
    """Something that the user can mend; its text says what, where and what to do. Exit status 1."""


class BadImage(Exception):
    """One image that cannot be used; its text is the reason. The others are not touched by it."""


class Stopped(Exception):
    """A signal ended the work early; its text says how to go on. Exit status 128 + the signal."""


def reason_of(error: Exception) -> str:
    """What a fault says, in one line; one of TensorFlow's without the names of its operations."""
    said = str(getattr(error, "message", None) or str(error) or repr(error))
    return re.sub(r"^(\{\{.*?\}\} ?)+|\s*\[(Op:|\[).*$", "", said.splitlines()[0])


def printable(text: str) -> str:
    """A line as any terminal can show it: line ends, control codes and bytes that are no text escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def some_of(names: list[str]) -> str:
    """The number of names and the first few of them."""
    return f"{len(names)} ({printable(', '.join(names[:5]))}{', ...' if names[5:] else ''})"
