"""What a command reports in words instead of a traceback."""


class Failed(RuntimeError):
    """A command could not finish its work; the message says what happened and what to do next."""
