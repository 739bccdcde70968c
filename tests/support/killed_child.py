"""A verb in a process of its own, in small shards and with a pause after each."""

import json
import sys
import time
from pathlib import Path

import torch

from helicon.inference.embed import embed
from helicon.inference.jobs import keyed, stretches
from helicon.inference.jobs.parts import Parts
from helicon.inference.predict import predict
from helicon.inference.tracks.track import track
from helicon.inference.variants import job
from helicon.inference.variants.variants import variants

VERBS = {"embed": embed, "predict": predict, "track": track, "variants": variants}


def small_shards(letters: int) -> None:
    """Cut every job in many shards."""
    keyed.letters_each = lambda _: letters
    stretches.SHARD = letters
    job.RECORDS = 5


def main(verb: str, letters: int, pause: float, options: dict[str, object]) -> None:
    """Run a verb."""
    write = Parts.write

    def slow(self: Parts, number: int, table: object) -> None:
        write(self, number, table)
        time.sleep(pause)

    torch.set_num_threads(1)
    small_shards(letters)
    Parts.write = slow  # type: ignore[method-assign]
    paths = {name: Path(options.pop(name)) for name in ("data", "out")}
    first = {"track": "genome", "variants": "vcf"}.get(verb, "data")
    VERBS[verb](**{first: paths["data"]}, out=paths["out"], **options)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
