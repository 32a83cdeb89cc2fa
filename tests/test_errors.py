"""car/errors.py: a fault in one line."""

import pytest

from car.errors import printable, reason_of, some_of


class Fault(Exception):
    """As TensorFlow's: what it says is in `message`, and str() tells more."""

    def __init__(self, message: str | None) -> None:
        super().__init__("what str() says")
        self.message = message


@pytest.mark.parametrize(
    "error, said",
    [
        (ValueError("no such thing\nand more of it"), "no such thing"),
        (EOFError(), "EOFError()"),  # zipfile's own has no text
        (KeyError("name"), "'name'"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (Fault("a message"), "a message"),
        (Fault(None), "what str() says"),
        (Fault("{{function_node f_1}} {{node read}} corrupted record at 12 [Op:Next] name: "), "corrupted record at 12"),
        (Fault("{{node a}}no space between"), "no space between"),
        (Fault("out of memory\t [[{{node conv}}]] and hints"), "out of memory"),
        (Fault("index [3] of {{4}} is gone"), "index [3] of {{4}} is gone"),
    ],
)  # fmt: skip
def test_the_reason_is_one_line_without_names_of_operations(error: Exception, said: str) -> None:
    assert reason_of(error) == said


def test_a_line_that_any_terminal_shows() -> None:
    assert printable("plain, ä and 你 stay") == "plain, ä and 你 stay"
    assert printable("a\nb\r\x1b[31m") == r"a\nb\r\x1b[31m"
    assert printable("byte \udcff") == r"byte \udcff"
    assert printable("") == ""


def test_the_first_five_names_are_told() -> None:
    assert some_of(["a"]) == "1 (a)"
    assert some_of(["a", "b", "c", "d", "e"]) == "5 (a, b, c, d, e)"
    assert some_of(["a", "b", "c", "d", "e", "f"]) == "6 (a, b, c, d, e, ...)"
    assert some_of(["a", "b\n", "c", "d", "e", "f", "g"]) == r"7 (a, b\n, c, d, e, ...)"
