"""The two ways in which Helicon stops: the input is wrong, or the work failed."""


class HeliconError(Exception):
    """Base of the errors that the command line prints as one line, without a traceback."""


class InputError(HeliconError):
    """Wrong input or arguments (exit code 2).

    The message is one line that names the file, line or record, what is wrong, and what to do.
    """


class WorkError(HeliconError):
    """The input was right but the work failed (exit code 1): a NaN loss, a full disk."""
