"""What the tests of the jobs share: a size that takes seconds, and commands that must be taken."""

import shlex

from helicon.cli.application import application
from helicon.demos import main_job


def make_small(patch):
    patch.setattr(main_job, "FRACTIONS", (0.96, 0.02, 0.02))
    patch.setattr(main_job, "FEWEST_STEPS", 3)


def assert_goes_on(job, run):
    """A job that is run again by `run(out)` ends with the model and the measures that it had."""
    before = (job.model / "model.safetensors").read_bytes()
    again = run(job.out)
    assert (again.model / "model.safetensors").read_bytes() == before
    assert again.results.arms == job.results.arms


def assert_taken(commands):
    """The command line takes each of these commands, and each says where its output goes."""
    for command in commands:
        _, *words = shlex.split(command)
        app = application(words)
        function, bound, *_ = app.parse_args(words, exit_on_error=False, print_error=False)
        assert function.__name__ == words[0]
        assert bound.arguments["out"]
