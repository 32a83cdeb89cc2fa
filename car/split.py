"""The split into train, val and test: by image, never by patch, from the names alone.

Both loaders compute it from the same names, seed and rule, so that they agree with
no state shared. It is kept beside the records as split.json, with the options, the counts,
and how coarse the JPGs are.
"""

import bisect
import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from car.errors import UserError
from car.files import whole_file

Split = dict[str, Any]  # what split.json holds

SPLIT_FILE = "split.json"
SETS = ("train", "val", "test")
SHARE_BY_SET = {"val": 0.2, "test": 0.1}  # train takes the rest
# Slices of one series are near copies of each other and must not sit on both sides.
SLICES_OF_A_SERIES = r"^(.*)_slice_\d+(.*)$"


def group_of(name: str, rule: str) -> str:
    """The group of an image name: what the rule matches in it (its parts in brackets, where it has any)."""
    match = re.search(rule, name)
    if match is None:
        return name
    return "|".join(match.groups(default="")) if match.re.groups else match.group()


def seeded_order(names: Iterable[str], seed: int) -> list[str]:
    """Names in an order that depends on nothing but them and the seed (no library's generator)."""

    def digest(name: str) -> bytes:
        return hashlib.sha256(f"{seed} {name}".encode(errors="surrogateescape")).digest()

    return sorted(names, key=digest)


def split_names(names: Sequence[str], seed: int, rule: str) -> dict[str, list[str]]:
    """Split image names 70 % train, 20 % val, 10 % test, groups kept whole.

    Returns {set: sorted names}. Raises UserError where all names form one group.
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(group_of(name, rule), []).append(name)
    if len(groups) < 2:
        raise UserError(
            f"all {len(names)} images form one group ({next(iter(groups), '')!r}) by the rule "
            f"{rule!r}, so that none is left for another set; give a finer rule with --group-by "
            f"('.*' makes each image its own group), or --all where the data is already split"
        )
    waiting = seeded_order(groups, seed)
    sets: dict[str, list[str]] = {}
    for name, part in (("test", SHARE_BY_SET["test"]), ("val", SHARE_BY_SET["val"])):
        sets[name] = []
        # The first group always (but for test where there are two: train and val come first), then further
        # ones as long as they bring the count closer.
        share, for_the_next = part * len(names), len(sets) == 1
        while len(waiting) > 1 + for_the_next:
            size = len(groups[waiting[0]])
            if sets[name] and abs(len(sets[name]) + size - share) >= abs(len(sets[name]) - share):
                break
            sets[name] += groups[waiting.pop(0)]
    sets["train"] = [name for group in waiting for name in groups[group]]
    return {name: sorted(sets[name]) for name in SETS}


def write(folder: Path, content: Split) -> None:
    """Write split.json (a dict) into a folder."""
    with whole_file(folder / SPLIT_FILE, "w") as file:
        json.dump(content, file, indent=1)


def read(folder: Path) -> Split | None:
    """Read a folder's split.json. Returns None where there is none; raises UserError if damaged."""
    path = folder / SPLIT_FILE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
        re.compile(content["group_by"])
        names = [name for which in SETS for name in content["sets"][which]]
        texts = [content["set"], *names, *content["folders"], *content["digests"].values()]
        counts, sums = content["files"], content.get("sums", {})
        if not all(isinstance(text, str) for text in (*texts, *sums.values())) or content["set"] not in SETS:
            raise ValueError("a text is missing")
        if not counts or not all(type(count) is int and count > 0 for count in counts.values()):
            raise ValueError("a count is missing")
        coarseness_of(content)
        patches = content.get("patches", {})  # older loaders wrote none
        if not all(type(count) is int and count > 0 for count in patches.values()):
            raise ValueError("a count of patches is missing")
        if patches and sum(patches.values()) != sum(counts.values()):
            raise ValueError("the patches of the images are not as many as the records")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, re.error) as error:
        raise UserError(f"{path} is damaged ({error!r}); run the loader again") from error
    return content


def coarseness_of(content: Split) -> tuple[float, float] | None:
    """The finest and the coarsest of a set's JPGs (jpeg.coarseness), by what split.json holds.

    None where that is not known: older loaders wrote none. Raises ValueError, TypeError where it cannot be.
    """
    if "coarseness" not in content:
        return None
    finest, coarsest = content["coarseness"]
    if not type(finest) is type(coarsest) is float or not 0 < finest <= coarsest < math.inf:
        raise ValueError("the coarseness is not two numbers above 0 in order")
    return finest, coarsest


def images_of(content: Split | None, places: Sequence[int]) -> list[str]:
    """The image that each of some records is from, by its place in the set; "" where that is not known."""
    counts = (content or {}).get("patches", {})
    names, ends = [*counts, ""], list(itertools.accumulate(counts.values()))
    return [names[bisect.bisect_right(ends, place)] for place in places]


def trained_on(log: Split | None, other: Split) -> set[str]:
    """The names that a log's net was trained on, of the folders of another split; none where not known."""
    if log is None or not set(log["folders"]) & set(other["folders"]):
        return set()
    return set(log["sets"][log["set"]])


def check_disjoint(train: Split, val: Split) -> None:
    """Raise UserError where two split.json contents share an image, or a group of one folder.

    The same image is known by its pixels (a copy under another name counts), a group by its name.
    """
    train_names, val_names = train["sets"][train["set"]], val["sets"][val["set"]]
    pixels = {digest: name for name, digest in train["digests"].items()}
    shared = [f"{pixels[d]} = {name}" for name, d in val["digests"].items() if d in pixels]
    if not shared and set(train["folders"]) & set(val["folders"]):
        train_groups = {group_of(name, train["group_by"]) for name in train_names}
        shared = [name for name in val_names if group_of(name, train["group_by"]) in train_groups]
    if shared:
        raise UserError(
            f"the training and validation records share {len(shared)} images or groups "
            f"(first: {shared[0]}); write both sets again with the same --seed and --group-by"
        )
