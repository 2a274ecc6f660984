"""Errors of our own, where Python and scikit-learn have none that fits."""


class ConvergenceError(RuntimeError):
    """Training diverged: its loss has no lower bound, or its steps were too long.

    What was fitted until then is kept, so that it can be looked at.
    """
