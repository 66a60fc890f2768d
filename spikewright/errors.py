"""The one exception that reaches a user: what is wrong, where, and what to do about it."""

__all__ = ["SpikewrightError"]


class SpikewrightError(Exception):
    """Bad input or a missing tool.

    The message is one line that names what is wrong, where it is, and what to do; the command line
    prints it as it stands and exits with status 1.
    """
