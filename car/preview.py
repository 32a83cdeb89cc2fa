"""What a run would do, said without the nets and without writing anything: --dry-run.

JPEGs are read by their headers alone, which is fast. Damage further on shows only when they are decoded, and
so do earlier savings.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from car import cli, folder, jobs, jpeg, rows, saying
from car.arrays import Floats, Pixels
from car.correct import Corrected, Corrector, Net, PlaneFound
from car.errors import BadImage
from car.find import Picture
from car.jobs import Job
from car.journal import Journal
from car.saying import Outcome
from car.weights import Bank


def corrector_of(bank: Bank, **options: Any) -> Corrector:
    """A Corrector with the weights' names but without nets: it chooses, and cannot compute."""
    return Corrector(
        {factor: Net(_not_there, one.gains, one.coarseness) for factor, one in bank.items()}, **options
    )


def _not_there(tiles: Pixels, contrast: float) -> Floats:
    raise NotImplementedError


def existing(results: Path) -> Path:
    """The results folder, or the nearest folder above it that is there already."""
    return next(place for place in (results.absolute(), *results.absolute().parents) if place.exists())


def describe_all(
    job: Job, corrector: Corrector, chosen: Sequence[Picture], unreadable: Mapping[str, str]
) -> Outcome:
    """Say of each picture what would come of it, and how many there are of each kind at the end.

    unreadable: of find.Found, bad from the start. Raises UserError where the run itself would.
    """
    earlier = rows.done_in(job.results, job.figures)
    journal = folder.open_journal(job, corrector, writing=False)
    skipped = jobs.done_already(job, journal, chosen, earlier) if job.skip_existing else set()
    outcome = Outcome(
        len(chosen) + len(unreadable), len(skipped), begun=len(unreadable), bad=list(unreadable)
    )
    for name, why in unreadable.items():
        cli.say(f"left out: {name}: {why}")
    for picture in chosen:
        result = job.result(picture)
        if picture in skipped:
            cli.say(f"{picture.name}: is there already: {result}")
            continue
        outcome.begun += 1
        try:
            row = _row_of(job, journal, corrector, picture)
        except BadImage as reason:
            outcome.bad.append(picture.name)
            cli.say(f"left out: {reason}")
            continue
        outcome.add(row)
        into = f"{result} and {job.sheet(picture)}" if job.compare else f"{result}"
        cli.say(f"{picture.name} -> {into}: {rows.describe(row)}")
    cli.say(saying.counts("would correct", job, outcome))
    cli.say("nothing was written, and no JPEG decoded: damage behind the headers shows when it is")
    return outcome


def _row_of(job: Job, journal: Journal, corrector: Corrector, picture: Picture) -> rows.Row:
    """The row that a picture would get, as far as its header tells. Raises BadImage."""
    read = folder.load(job, journal, corrector, picture, header_only=True).picture
    planes = tuple(
        PlaneFound(
            None if plane.table is None else jpeg.coarseness(plane.table, component),
            corrector.choose(plane, component),
            math.nan,
            plane.table,
        )
        for component, plane in enumerate(read.planes)
    )
    pixels = read.pixels.swapaxes(0, 1) if read.about.orientation >= 5 else read.pixels
    white = max(read.white, 2**corrector.bits - 1)
    corrected = Corrected(pixels, pixels, read.about, planes, read.alpha, white, read.earlier)
    changed = corrector.strength > 0 and not all(plane.choice.unchanged for plane in planes)
    copied = folder.is_copied(job, corrected, changed)
    row = folder.what_came(job, picture, corrected, changed, copied).row
    return row._replace(status="to be corrected") if changed and not copied else row
