"""The exception for problems that the user can solve."""


class ProxymaskError(Exception):
    """A problem that the user can solve: one line that names the problem and what to do.

    The command line prints the message without a traceback and exits with status 2.
    """
