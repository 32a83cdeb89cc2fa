"""The pages of patches, of a training and of a set of records; which patches are worth being looked at."""

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from car import cli, figures, page, split
from car.arrays import Doubles, Floats, Pixels
from car.files import whole_file

if TYPE_CHECKING:  # they load TensorFlow
    from car.records import RecordSet
    from car.training_run import Row

TRAINING = page.Kind("Training", "patches", "patches", "losses.csv")
RECORDS = page.Kind("Records", "patches", "patches")
DATA = "data.js"
DRAWN = r"patches_[0-9a-f]{16}\.png"  # all patches of a page, in the folder of its data
MOST_ERROR, MADE_WORSE, MOST_CHANGE, TYPICAL = "most error left", "made worse", "most change", "typical"
OF_A_KIND = 12  # patches at the most
FLAT = 2.0  # grey levels: under this standard deviation nothing can be seen on a patch
SHOWN_SIDE = 128  # pixels: of larger patches the middle is drawn

Batches = Iterable[tuple[Any, Any]]  # of (jpg, bmp): arrays of whole grey levels [N, side, side, 1]


# ---- which patches -------------------------------------------------------------------------


class Measured(NamedTuple):
    """What tells of each patch of a set whether it is worth being looked at."""

    mse: Doubles  # between JPG and BMP, squared grey levels
    contrast: Doubles  # standard deviation of the BMP, grey levels


def measure(batches: Batches) -> Measured:
    """Measure every patch of a set."""
    found = []
    for jpg, bmp in batches:
        error = np.square(jpg.astype(np.float32) - bmp).mean(axis=(1, 2, 3), dtype=np.float64)
        found.append(np.stack([error, bmp.std(axis=(1, 2, 3), dtype=np.float64)]))
    return Measured(*np.concatenate(found, axis=1))


def largest(values: Doubles, count: int, without: Sequence[int] = ()) -> list[int]:
    """The places of the largest values above 0, the largest first; without some places."""
    left = values.copy()
    left[list(without)] = 0
    order = np.argsort(-left, kind="stable")[:count]
    return [int(place) for place in order if left[place] > 0]


def typical(contrast: Doubles, count: int, without: Sequence[int] = ()) -> list[int]:
    """Places in order, from all over a set: the more is on a patch, the likelier it is among them.

    contrast: as measured. Flat patches are taken only where all are flat.
    """
    weights = np.where(contrast < FLAT, 0.0, contrast) if (contrast >= FLAT).any() else np.ones(len(contrast))
    weights[list(without)] = 0
    places: list[int] = []
    while len(places) < count and weights.any():
        ends, wanted = weights.cumsum(), count - len(places)
        middles = (np.arange(wanted) + 0.5) / wanted * ends[-1]
        new = np.unique(np.searchsorted(ends, middles))  # of few patches some are met twice
        weights[new] = 0
        places += new.tolist()
    return sorted(places)


def pick(batches: Batches, places: Sequence[int]) -> tuple[Pixels, Pixels]:
    """The patches (jpg, bmp), uint8 [N, side, side] each, at these places of a set, in this order."""
    found, first = {}, 0
    for jpg, bmp in batches:
        for place in places:
            if first <= place < first + len(jpg):
                found[place] = [some[place - first, ..., 0].astype(np.uint8) for some in (jpg, bmp)]
        first += len(jpg)
    jpg, bmp = (np.stack([found[place][which] for place in places]) for which in (0, 1))
    return jpg, bmp


def located(records: "RecordSet", place: int) -> tuple[str, int]:
    """The name of the file in which the record of a place is, and its number there, from 1."""
    for file in records.files:
        if place < file.count:
            return file.path.name, place + 1
        place -= file.count
    raise IndexError(place)


# ---- what a page shows of them -------------------------------------------------------------


class Patch(NamedTuple):
    """A patch as a row of the data. MSEs in squared grey levels, PSNRs in dB; after: None of records."""

    image: str  # its name, empty where it is not known
    kind: str
    file: str
    record: int  # in the file, from 1
    contrast: float  # standard deviation of the BMP, grey levels
    mse_before: float
    psnr_before: float
    mse_after: float | None = None
    psnr_after: float | None = None


def describe(
    records: "RecordSet",
    written: split.Split | None,
    chosen: Mapping[str, Sequence[int]],
    contrast: Doubles,
    *errors: Doubles,
) -> list[Patch]:
    """The patches chosen, {kind: places in the set}, in this order.

    written: what split.json says of the set. contrast, errors: of each patch chosen, the errors of the JPG
    and, where there is one, of what was corrected.
    """
    kinds = [kind for kind, places in chosen.items() for _ in places]
    places = [place for places in chosen.values() for place in places]
    described = []
    for row, (image, kind, place) in enumerate(
        zip(split.images_of(written, places), kinds, places, strict=True)
    ):
        mses = [float(some[row]) for some in errors]
        measured = [round(value, 4) for mse in mses for value in (mse, figures.psnr(mse))]
        described.append(
            Patch(image, kind, *located(records, place), round(float(contrast[row]), 2), *measured)
        )
    return described


def write(
    shown: Path, about: Mapping[str, Any], patches: Sequence[Patch], panels: Mapping[str, Pixels]
) -> None:
    """Write the data of a page into its folder. panels: {what it is: patches, uint8 [N, side, side]}.

    The picture of the patches is named by what is in it: data and picture belong together at any moment.
    """
    side = min(SHOWN_SIDE, next(iter(panels.values())).shape[1])
    drawn = _side_by_side([_middle(some, side) for some in panels.values()])
    name = f"patches_{hashlib.sha256(drawn).hexdigest()[:16]}.png"
    with whole_file(shown / name) as file:
        file.write(drawn)
    kinds = list(dict.fromkeys(patch.kind for patch in patches))
    known = {"version": cli.VERSION, "kinds": kinds, "columns": Patch._fields, "histograms": [], "tables": []}
    picture = {"source": f"{page.FOLDER}/{name}", "words": list(panels), "side": side}
    page.write_data(shown / DATA, {**known, **about, "drawn": picture}, patches)
    for path in shown.iterdir():
        if path.name != name and re.fullmatch(DRAWN, path.name):
            path.unlink(missing_ok=True)


def _middle(patches: Pixels, side: int) -> Pixels:
    first = (patches.shape[1] - side) // 2
    return patches[:, first : first + side, first : first + side]


def _side_by_side(panels: Sequence[Pixels]) -> bytes:
    """Panels [N, side, side] as a PNG: a row for each patch, a column for each panel."""
    rows, file = np.concatenate(panels, axis=2), io.BytesIO()
    Image.fromarray(rows.reshape(-1, rows.shape[2])).save(file, "PNG")
    return file.getvalue()


# ---- records -------------------------------------------------------------------------------


def write_records(
    folder: Path, source: Path, records: "RecordSet", written: split.Split | None, read: Callable[[], Batches]
) -> Path:
    """Write the page of a set of records into a folder. Returns the page.

    source: where the records are. written: what split.json says of them. read: reads all of them.
    """
    shown = page.begin(folder, RECORDS, DATA)
    measured = measure(read())
    most = largest(measured.mse, OF_A_KIND)
    chosen = {MOST_CHANGE: most, TYPICAL: typical(measured.contrast, 2 * OF_A_KIND, most)}
    places = [*most, *chosen[TYPICAL]]
    jpg, bmp = pick(read(), places)
    patches = describe(records, written, chosen, measured.contrast[places], measured.mse[places])
    about = {
        "lead": f"{records.total:,} records of {records.side} \u00d7 {records.side} pixels in ",
        "folder": str(source),
        "facts": _facts_of_records(records, written, measured),
        "tables": [_table_of_files(records)],
    }
    write(shown, about, patches, {"JPG": jpg, "BMP": bmp})
    return folder / page.NAME


def _facts_of_records(
    records: "RecordSet", written: split.Split | None, measured: Measured
) -> list[tuple[str, list[tuple[str, str]]]]:
    """What is told of a set, under titles."""
    ranges = zip(*((*file.jpg_range, *file.bmp_range) for file in records.files), strict=True)
    low_jpg, high_jpg, low_bmp, high_bmp = (
        (min, max)[place % 2](levels) for place, levels in enumerate(ranges)
    )
    facts = [
        ("records", f"{records.total:,} in {_counted(len(records.files), 'file')}"),
        ("grey levels", f"JPG {low_jpg}..{high_jpg}, BMP {low_bmp}..{high_bmp}"),
        ("MSE of the JPG", f"{records.mse:.3f}, the loss to beat"),
        ("PSNR of the JPG", f"{figures.psnr(records.mse):.2f} dB"),
        ("flat", f"{np.count_nonzero(measured.contrast < FLAT):,} with nothing on them"),
        ("equal", f"{np.count_nonzero(measured.mse == 0):,} whose JPG is the BMP"),
    ]
    told = [("The set", facts)]
    if written:
        images = ", ".join(f"{name} {len(written['sets'][name]):,}" for name in split.SETS)
        made = [("set", str(written["set"])), ("images", images)]
        for name in ("quality", "before", "shrink", "patch_size", "stride", "seed"):
            if written.get(name) is not None:
                made.append((name.replace("_", " "), str(written[name]).strip("[]")))
        told.append(("By split.json", made))
    return told


def _table_of_files(records: "RecordSet") -> tuple[str, list[str], list[list[str]]]:
    """Title, head and rows."""
    rows = []
    for file in records.files:
        ranges = ("{}..{}".format(*levels) for levels in (file.jpg_range, file.bmp_range))
        errors = f"{file.mse:.3f}", f"{figures.psnr(file.mse):.2f}"
        rows.append([file.path.name, f"{file.count:,}", *ranges, *errors])
    return "Files", ["file", "records", "JPG", "BMP", "MSE", "PSNR, dB"], rows


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


# ---- a training ----------------------------------------------------------------------------


class Validated(NamedTuple):
    """The patches by which a training is validated."""

    records: "RecordSet"  # of which they are some
    written: split.Split | None  # what split.json says of that set
    numbers: Sequence[int]  # the place of each of them in the set
    read: Callable[[], Batches]  # reads them


class TrainingPage:
    """The page of a training while it runs: log/index.html."""

    def __init__(
        self,
        log: Path,
        settings: Mapping[str, object],
        steps: int,
        validated: Validated,
        correct: Callable[[Floats], Floats],
    ) -> None:
        """Write the page, still without data. Raises UserError where a file of the user's is in the way.

        settings: of the run. steps: to be done in all. correct: the net, of float32 [N, side, side, 1] in
        grey levels.
        """
        self._log, self._settings, self._steps = log, settings, steps
        self._validated, self._correct = validated, correct
        self._shown = page.begin(log, TRAINING, DATA)
        self._contrast = measure(validated.read()).contrast

    def write(self, rows: Sequence["Row"], errors: Doubles) -> None:
        """Write what is known at the last of the rows.

        errors: of that validation, of each patch, as training_step.make_validate gives them: those of the
        pixels whose receptive field is real are shown, by which the best weights are chosen.
        """
        after, before = errors[:, 2], errors[:, 3]
        most = largest(after, OF_A_KIND)
        worse = largest(after - before, OF_A_KIND, most)
        chosen = {MOST_ERROR: most, MADE_WORSE: worse}
        chosen[TYPICAL] = typical(self._contrast, OF_A_KIND, [*most, *worse])
        places = [place for some in chosen.values() for place in some]
        jpg, bmp = pick(self._validated.read(), places)
        corrected = self._correct(jpg[..., np.newaxis].astype(np.float32))[..., 0]
        panels = {"JPG": jpg, "corrected": np.rint(np.clip(corrected, 0, 255)).astype(np.uint8), "BMP": bmp}
        numbers = self._validated.numbers
        in_the_set = {kind: [numbers[place] for place in some] for kind, some in chosen.items()}
        of_each = self._contrast[places], before[places], after[places]
        patches = describe(self._validated.records, self._validated.written, in_the_set, *of_each)
        write(self._shown, self._about(rows, before, after), patches, panels)

    def _about(self, rows: Sequence["Row"], before: Doubles, after: Doubles) -> dict[str, Any]:
        """What is told of the training as a whole. before, after: the error of each patch."""
        step, best = rows[-1].step, min(rows, key=lambda row: row.inner_loss)
        worse = np.count_nonzero(after > before)
        now = [
            ("step", f"{step:,} of {self._steps:,}"),
            ("best loss", f"{best.inner_loss:.3f} at step {best.step:,}; the JPG's {best.inner_jpg_mse:.3f}"),
            ("last loss", f"{rows[-1].inner_loss:.3f}"),
            ("made worse", f"{worse:,} of {len(after):,} validation patches"),
        ]
        measurable = (before > 0) & (after > 0)
        gains = 10 * np.log10(before[measurable] / after[measurable])
        run = [(name.replace("_", " "), _word(value)) for name, value in self._settings.items()]
        return {
            "lead": "A training in ",
            "folder": str(self._log),
            "unfinished": _unfinished(step, self._steps),
            "losses": {
                "columns": rows[-1]._fields,
                "rows": [[row.step, *map(_short, row[1:])] for row in rows],
            },
            "facts": [("The net", now), ("Options and records", run)],
            "histograms": [("Gain of PSNR of validation patches, dB", [_short(gain) for gain in gains])],
        }


def _unfinished(step: int, steps: int) -> str:
    """What is said of a training that is not at its end."""
    if step >= steps:
        return ""
    at = f"When this was written the training was at step {step:,} of {steps:,}"
    return f"{at}. Load the page again to see more."


def _word(value: object) -> str:
    """A setting for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.5g}" if isinstance(value, float) else "none" if value is None else str(value)


def _short(value: float) -> float:
    """A number by its first five digits."""
    return float(f"{value:.5g}")
