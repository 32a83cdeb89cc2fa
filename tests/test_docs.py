"""README.md, docs/ and the other pages: links, commands, Python, pictures, and what they tell other programs."""

import re
import runpy
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from conftest import ROOT

from car import cli, rows, stop
from car.errors import Stopped, UserError

PAGES = [
    *(
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "cluster/README.md", "samples/README.md")
    ),
    *sorted((ROOT / "docs").glob("*.md")),
]
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(r"`(?:python )?((?:car|tests|benchmarks|pretrained|samples|docs|cluster)/[\w./]+\.\w+)")
# Of clusters, which the tests have none of; and what mutation testing installs for itself.
NOT_RUN = {
    "sbatch",
    "srun",
    "squeue",
    "kubectl",
    "docker",
    "ray",
    "export",
    "cd",
    ".",
    "mutmut",
    "tensorboard",
}
TOOLS = {"ruff", "mypy", "lint-imports"}  # test_code.py runs them


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks_of(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(name), re.MULTILINE | re.DOTALL)


def commands_of(block: str) -> Iterator[list[str]]:
    """The commands of a block for the shell, each as words, without settings of variables before it."""
    for line in block.replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word in ("&&", "|", ";"):
                if words:
                    yield words
                words = []
            elif words or not re.fullmatch(r"[A-Z_]+=.*", word):
                words.append(word)


COMMANDS = [
    pytest.param(words, id=f"{name}: {shlex.join(words)}"[:90])
    for name in NAMES
    for block in [*blocks_of(name, "sh"), *re.findall(r"`(python [^`\n]+)`", text_of(name))]
    for words in commands_of(block)
]


def section(name: str, heading: str) -> str:
    """What stands under a heading, up to the next one."""
    return re.split(r"^#+ ", text_of(name).split(f"\n## {heading}\n")[1], flags=re.MULTILINE)[0]


def first_cells(table: str) -> list[str]:
    """All that stands in backticks in the first column of a table."""
    return [
        name
        for line in re.findall(r"^\| (.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(.*?)`", line)
    ]


def anchors_of(path: Path) -> set[str]:
    """The anchors that a page has on GitHub: of each heading its words, joined by hyphens."""
    outside = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", outside, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# ---- the pages -----------------------------------------------------------------------------


def test_the_readme_is_one_screen() -> None:
    assert len(text_of("README.md").split()) < 900


@pytest.mark.parametrize("name", NAMES)
def test_links_and_names_of_files_lead_somewhere(name: str) -> None:
    page = ROOT / name
    links = [link for link in LINK.findall(text_of(name)) if "://" not in link]
    for link in links:
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link
    for file in FILE.findall(text_of(name)):
        assert (ROOT / file).exists(), file


def test_the_readme_leads_to_every_page() -> None:
    waiting, reached = [ROOT / "README.md"], set()
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            links = [link.partition("#")[0] for link in LINK.findall(page.read_text(encoding="utf-8"))]
            found = [
                (page.parent / link).resolve() for link in links if link.endswith(".md") and "://" not in link
            ]
            waiting += [path for path in found if path.exists()]
    assert set(PAGES) - reached == set()


def test_the_pictures_that_are_shown_are_small() -> None:
    for name in NAMES:
        for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text_of(name)):
            assert ((ROOT / name).parent / link).stat().st_size < (
                150_000 if name == "README.md" else 350_000
            ), link


def test_each_module_has_its_line() -> None:
    told = first_cells(section("docs/how-it-works.md", "Where it is in the code"))
    modules = {path.stem for path in (ROOT / "car").glob("*.py")} - {"__init__"}
    scripts = {path.name for path in ROOT.glob("*.py")}
    assert {*modules, *scripts} - set(told) == set(), "a new module gets its line there"
    assert set(told) - {*modules, *scripts} == {"car/", "cluster/"} and len(told) == len(set(told))


# ---- commands ------------------------------------------------------------------------------


class Parsed(Exception):
    """The arguments were good."""


def check_taken(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the script that words name (python SCRIPT ...) parse its own arguments, and no more."""
    script = ROOT / words[1]
    parse = type(cli.parser("")).parse_args

    def parse_only(self: Any, args: Any = None, namespace: Any = None) -> NoReturn:
        parse(self, args, namespace)
        raise Parsed

    with monkeypatch.context() as patch:
        patch.setattr("argparse.ArgumentParser.parse_args", parse_only)
        patch.setattr(sys, "argv", words[1:])
        patch.setattr(sys, "path", [str(script.parent), *sys.path])
        main = runpy.run_path(str(script))["main"]
        with pytest.raises(Parsed):
            getattr(main, "__wrapped__", main)()


@pytest.mark.parametrize("words", COMMANDS)
def test_each_command_is_one_that_the_script_takes(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a script says to wrong arguments ends it with 2. They are run by test_walks.py, test_benchmarks.py."""
    if words[0] in NOT_RUN | TOOLS:
        return
    assert words[0] == "python", "say in this test what is to be done with such a command"
    if words[1] == "-m":
        assert words[2] in ("pip", "pytest", "venv")
        files = [word for word in words[3:] if re.fullmatch(r"[\w-]+(/[\w.-]+)+|[\w-]+\.txt|tests|\.", word)]
        assert all((ROOT / file).exists() for file in files)
        return
    check_taken(words, monkeypatch)


# ---- formats -------------------------------------------------------------------------------


def test_the_columns_are_those_of_figures_csv() -> None:
    assert tuple(first_cells(section("docs/format.md", "`figures.csv`"))) == rows.COLUMNS


def test_the_exit_statuses_are_those_of_the_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    told = re.findall(r"^\| (\d+) \|", section("docs/format.md", "Exit statuses"), re.MULTILINE)
    monkeypatch.setattr(cli, "start", lambda: None)

    def status(fault: Exception | None) -> int:
        @cli.script
        def main(argv: Any = None) -> int:
            if fault:
                raise fault
            return 0

        return main([])

    with pytest.raises(SystemExit) as wrong:
        cli.parser("").parse_args(["--no-such-option"])
    signalled = []
    for number in (signal.SIGINT, signal.SIGTERM):
        monkeypatch.setattr(stop, "_asked", number)
        signalled.append(status(Stopped("stopped")))
    assert list(map(int, told)) == [status(None), status(UserError("a fault")), wrong.value.code, *signalled]
