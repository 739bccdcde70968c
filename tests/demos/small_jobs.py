"""What the tests of the main jobs share: a size that takes seconds."""

from helicon.demos import main_job


def make_small(patch):
    patch.setattr(main_job, "FRACTIONS", (0.96, 0.02, 0.02))
    patch.setattr(main_job, "FEWEST_STEPS", 3)
