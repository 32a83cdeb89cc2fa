"""Cut images into pairs of JPG and BMP patches and write them as TFRecords: the validation set.

    python load_val_data.py WORKDIR data tfrecords/val

The same script as load_train_data.py, with the same options, for the 20 % of the images that
are kept from training. Both work out the same split from the names; give both the same --seed
and --group-by. With --all the whole folder becomes the validation set:

    python load_val_data.py . validation_photographs tfrecords/val --all --quality 10 20 30 40
"""

import sys
from collections.abc import Sequence

import load_train_data
from car import cli


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Write the validation set."""
    return load_train_data.load("val", __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
