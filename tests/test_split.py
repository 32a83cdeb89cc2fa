"""car/split.py: the split by names alone, and its file."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from car import split
from car.errors import UserError

RULE = split.SLICES_OF_A_SERIES


# ---- groups --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, rule, group",
    [
        ("head_slice_012", RULE, "head|"),
        ("head_slice_012_kernel", RULE, "head|_kernel"),
        ("a_slice_1_slice_2", RULE, "a_slice_1|"),
        ("head_slice_", RULE, "head_slice_"),  # no number: no match
        ("photo", RULE, "photo"),
        ("photo_01", r"^[a-z]+", "photo"),  # what the rule matches, where it has no brackets
        ("01_photo", r"[a-z]+", "photo"),  # anywhere in the name
        ("b7", r"(a)?b(\d)", "|7"),  # a bracket that took no part
        ("x", ".*", "x"),
    ],
)
def test_the_group_of_a_name(name: str, rule: str, group: str) -> None:
    assert split.group_of(name, rule) == group


def test_the_order_of_a_seed_stays_for_ever() -> None:
    """As `printf '0 apple' | sha256sum` orders them: data sets written years ago must be split alike."""
    fruit = ["apple", "banana", "cherry", "date", "elder", "fig"]
    orders = {0: "date fig apple elder cherry banana", 7: "apple elder date fig banana cherry"}
    for seed, order in orders.items():
        assert split.seeded_order(fruit, seed) == split.seeded_order(fruit[::-1], seed) == order.split()
    assert split.seeded_order(["b\udcff", "a"], 5) == ["a", "b\udcff"]  # bytes that are no text
    assert split.seeded_order(["b\udcff", "b\udcfe"], 5) == split.seeded_order(["b\udcfe", "b\udcff"], 5)


# ---- the split -----------------------------------------------------------------------------


def test_ten_images_by_their_order() -> None:
    """The order of the seed 0 is g0 g6 g5 g3 g7 g2 g9 g4 g1 g8 (sha256sum): 1 test, 2 val, 7 train."""
    names = [f"g{n}" for n in range(10)]
    wanted = {"train": ["g1", "g2", "g3", "g4", "g7", "g8", "g9"], "val": ["g5", "g6"], "test": ["g0"]}
    assert split.split_names(names, 0, ".*") == wanted
    assert split.split_names([*names[::-1], *names[:0]], 0, ".*") == wanted
    assert list(split.split_names(names, 0, ".*")) == ["train", "val", "test"]


def plain_split(names: list[str], seed: int, rule: str) -> dict[str, list[str]]:
    """The same rule in other words: each set takes groups while that brings it closer to its share."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(split.group_of(name, rule), []).append(name)
    order = split.seeded_order(groups, seed)
    test: list[str] = []
    val: list[str] = []
    if len(order) > 2:
        test, order = taken(groups, order, 0.1 * len(names), 2)
    val, order = taken(groups, order, 0.2 * len(names), 1)
    train = [name for group in order for name in groups[group]]
    return {"train": sorted(train), "val": sorted(val), "test": sorted(test)}


def taken(
    groups: dict[str, list[str]], order: list[str], share: float, must_stay: int
) -> tuple[list[str], list[str]]:
    counts = [sum(len(groups[group]) for group in order[:n]) for n in range(len(order) + 1)]
    number = 1
    while len(order) - number > must_stay and abs(counts[number + 1] - share) < abs(counts[number] - share):
        number += 1
    return [name for group in order[:number] for name in groups[group]], order[number:]


def test_groups_are_whole_and_no_set_is_empty() -> None:
    rng = random.Random(0)
    for case in range(300):
        sizes = [rng.randint(1, rng.choice([1, 4, 40])) for _ in range(rng.randint(2, 12))]
        names = [f"s{s:02d}_slice_{n:03d}" for s, size in enumerate(sizes) for n in range(size)]
        rng.shuffle(names)
        sets = split.split_names(names, case, RULE)
        assert sets == plain_split(names, case, RULE)
        assert sorted(name for which in sets.values() for name in which) == sorted(names)
        series = [{name[:3] for name in sets[which]} for which in ("train", "val", "test")]
        assert sum(map(len, series)) == len(sizes)
        assert series[0] and series[1] and bool(series[2]) == (len(sizes) > 2)


def test_a_first_group_larger_than_all_shares_leaves_the_next_sets_theirs() -> None:
    """Groups of 40, 1 and 1, in every order of theirs: one each, though 1 of 42 is far from 10 %."""
    names = [*(f"a_slice_{n}" for n in range(40)), "b_slice_0", "c_slice_0"]
    largest = set()
    for seed in range(40):
        sets = split.split_names(names, seed, RULE)
        assert [len({name[0] for name in sets[which]}) for which in split.SETS] == [1, 1, 1]
        largest.add(max(sets, key=lambda which: len(sets[which])))
    assert largest == {"train", "val", "test"}


def test_two_groups_are_train_and_val() -> None:
    names = ["a_slice_1", "a_slice_2", "b_slice_1"]
    for seed in range(8):
        sets = split.split_names(names, seed, RULE)
        assert sets["test"] == [] and sorted([sets["train"], sets["val"]]) == [names[:2], names[2:]]


def test_a_share_met_as_closely_with_and_without_the_next_group_is_left() -> None:
    """15 images by themselves: 1 and 2 are as close to the 1.5 of test; 1 it is, and 3 of val."""
    sets = split.split_names([f"g{n}" for n in range(15)], 4, ".*")
    assert [len(sets[which]) for which in split.SETS] == [11, 3, 1]


@pytest.mark.parametrize(
    "names, rule", [(["a_slice_1", "a_slice_2"], RULE), (["alone"], ".*"), ([], ".*"), (["a", "b"], "x*")]
)
def test_one_group_cannot_be_split(names: list[str], rule: str) -> None:
    with pytest.raises(UserError) as refused:
        split.split_names(names, 0, rule)
    said = str(refused.value)
    group = split.group_of(names[0], rule) if names else ""
    assert said.startswith(f"all {len(names)} images form one group ({group!r}) by the rule {rule!r}")
    assert "--group-by ('.*' makes each image its own group)" in said and "--all" in said


# ---- split.json ----------------------------------------------------------------------------


def content() -> dict[str, Any]:
    """What a loader writes."""
    return {
        "group_by": RULE,
        "set": "val",
        "sets": {"train": ["a_slice_1"], "val": ["b_slice_1", "c"], "test": []},
        "folders": ["/data"],
        "digests": {"b_slice_1": "11", "c": "22"},
        "files": {"0.tfrecords": 12},
        "sums": {"0.tfrecords": "ab"},
        "coarseness": [0.5, 2.5],
        "patches": {"b_slice_1": 4, "c": 8},
    }


def test_what_was_written_is_read(tmp_path: Path) -> None:
    assert split.read(tmp_path) is None
    named = {**content(), "folders": ["/dätä", "byte \udcff"]}
    split.write(tmp_path, named)
    assert [path.name for path in tmp_path.iterdir()] == ["split.json"]
    assert json.loads((tmp_path / "split.json").read_text()) == named == split.read(tmp_path)
    without_sums = content()
    del without_sums["sums"], without_sums["coarseness"], without_sums["patches"]  # as older loaders wrote it
    split.write(tmp_path, without_sums)
    assert split.read(tmp_path) == without_sums
    assert (tmp_path / "split.json").read_text().startswith('{\n "group_by": ')  # for people, too


def changed(*path: Any, value: Any) -> str:
    """The JSON of content() with one place changed."""
    whole: Any = content()
    place = whole
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(whole)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "nonsense",
        "null",
        "[" * 100_000,
        *(
            json.dumps({k: v for k, v in content().items() if k != key})
            for key in content()
            if key not in ("sums", "coarseness", "patches")
        ),
        changed("group_by", value="("),
        changed("group_by", value=7),
        changed("set", value="other"),
        changed("set", value=0),
        changed("sets", "train", value=[1]),
        changed("sets", "test", value=None),
        changed("sets", value={"train": [], "val": []}),
        changed("folders", value=[None]),
        changed("digests", "c", value=3),
        changed("digests", value=["22"]),
        changed("sums", "0.tfrecords", value=1.5),
        changed("sums", value=7),
        changed("files", value={}),
        changed("files", value=[12]),
        changed("files", "0.tfrecords", value=0),
        changed("files", "0.tfrecords", value=-1),
        changed("files", "0.tfrecords", value="12"),
        changed("files", "0.tfrecords", value=12.0),
        changed("files", "0.tfrecords", value=True),
        changed("patches", "c", value=7),
        changed("patches", "c", value=0),
        changed("patches", value={"b_slice_1": 12, "c": 0}),
        changed("patches", "c", value=8.0),
        changed("patches", value=[4, 8]),
        changed("coarseness", value=None),
        changed("coarseness", value=2.5),
        changed("coarseness", value=[2.5]),
        changed("coarseness", value=[0.5, 1.0, 2.5]),
        changed("coarseness", value=[2.5, 0.5]),
        changed("coarseness", value=[0.0, 2.5]),
        changed("coarseness", value=[0.5, float("inf")]),
        changed("coarseness", value=[0.5, float("nan")]),
        changed("coarseness", value=[1, 2]),
        changed("coarseness", value=["0.5", "2.5"]),
    ],
    ids=range(45),
)
def test_a_damaged_split_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(UserError) as refused:
        split.read(tmp_path)
    said = str(refused.value)
    assert said.startswith(f"{tmp_path / 'split.json'} is damaged (") and "run the loader again" in said


def test_the_reason_of_the_damage_is_told(tmp_path: Path) -> None:
    for text, reason in (
        (changed("set", value="other"), "ValueError('a text is missing')"),
        (changed("files", value={}), "ValueError('a count is missing')"),
        (
            changed("coarseness", value=[2.5, 0.5]),
            "ValueError('the coarseness is not two numbers above 0 in order')",
        ),
        (changed("group_by", value="("), "missing ), unterminated subpattern"),
    ):
        (tmp_path / "split.json").write_text(text)
        with pytest.raises(UserError, match=re.escape(reason)):
            split.read(tmp_path)


def test_the_image_of_a_record_is_told_by_the_counts() -> None:
    assert split.images_of(content(), [0, 3, 4, 11]) == ["b_slice_1", "b_slice_1", "c", "c"]
    without = {key: value for key, value in content().items() if key != "patches"}
    assert split.images_of(without, [0, 11]) == split.images_of(None, [0, 11]) == ["", ""]


def test_how_coarse_the_jpgs_of_a_set_are() -> None:
    assert split.coarseness_of(content()) == (0.5, 2.5)
    assert split.coarseness_of({**content(), "coarseness": [5.0, 5.0]}) == (5.0, 5.0)
    assert (
        split.coarseness_of({key: value for key, value in content().items() if key != "coarseness"}) is None
    )


def test_one_record_is_enough(tmp_path: Path) -> None:
    one = {**content(), "files": {"0.tfrecords": 1}, "patches": {"c": 1}}
    (tmp_path / "split.json").write_text(json.dumps(one))
    assert split.read(tmp_path) == one


# ---- two sets ------------------------------------------------------------------------------


def of(
    which: str, names: list[str], digests: dict[str, str], folders: list[str], rule: str = RULE
) -> split.Split:
    """A split.json of a set of these names; the other sets hold what is not to be looked at."""
    others = {name: ["a_slice_9", "both_slice_1", "x"] for name in split.SETS if name != which}
    return {
        "group_by": rule,
        "set": which,
        "sets": {**others, which: names},
        "folders": folders,
        "digests": digests,
    }


def shared(train: split.Split, val: split.Split) -> str:
    with pytest.raises(UserError) as refused:
        split.check_disjoint(train, val)
    return str(refused.value)


def test_sets_that_share_nothing() -> None:
    train = of("train", ["a_slice_1", "a_slice_2"], {"a_slice_1": "1", "a_slice_2": "2"}, ["/data"])
    split.check_disjoint(train, of("val", ["b_slice_1"], {"b_slice_1": "3"}, ["/data", "/more"]))
    split.check_disjoint(train, of("val", [], {}, ["/data"]))


def test_the_same_pixels_under_another_name_are_told() -> None:
    train = of("train", ["a_slice_1", "p"], {"a_slice_1": "1", "p": "2"}, ["/data"])
    val = of("val", ["q", "b", "r"], {"q": "2", "b": "3", "r": "1"}, ["/elsewhere"])
    said = shared(train, val)
    assert "share 2 images or groups (first: p = q)" in said and "--seed and --group-by" in said


def test_a_group_on_both_sides_is_told_where_the_folders_are_the_same() -> None:
    train = of("train", ["a_slice_1", "both_slice_1"], {}, ["/one", "/data"])
    val = of("val", ["c_slice_1", "both_slice_2", "both_slice_3"], {}, ["/data", "/two"], rule=".*")
    assert "share 2 images or groups (first: both_slice_2)" in shared(train, val)
    split.check_disjoint(train, {**val, "folders": ["/three"]})  # names of another folder mean nothing
    split.check_disjoint({**train, "group_by": ".*"}, val)  # the training set's rule counts
