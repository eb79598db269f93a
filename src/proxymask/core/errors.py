"""The one exception that people are meant to read."""


class ProxymaskError(Exception):
    """A problem the user can mend: one line that says what is wrong and what to do.

    The command line prints the message without a traceback and exits with status 2.
    """
