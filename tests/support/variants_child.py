"""`variants` in a process of its own, slowly, so that it can be killed."""

import sys
import time
from pathlib import Path

from helicon.inference.variants import job as variant_job
from helicon.inference.variants.variants import variants

variant_job.RECORDS = 5
at_once = variant_job.VariantsJob.worker


def slowly(job, network):
    work = at_once(job, network)

    def wait(payload):
        time.sleep(0.1)
        return work(payload)

    return wait


if __name__ == "__main__":
    model, vcf, reference, out, seconds = sys.argv[1:]
    if float(seconds):
        variant_job.VariantsJob.worker = slowly
    done = variants(model, Path(vcf), reference=Path(reference), out=Path(out)).done
    print(done.resumed)
