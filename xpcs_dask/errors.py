"""What can go wrong, what to do next, and which exit code it has.

Every error names the file or number, the limit and the knob, and survives pickling (``args`` equals the signature),
because it may be raised in a worker process and read in another.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "ConfigError",
    "FileRejected",
    "MismatchError",
    "NoUsableInputError",
    "OutputExistsError",
    "SchedulerError",
    "StrictError",
    "UnknownParameterError",
    "XpcsError",
]


class XpcsError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command line ends with."""

    exit_code = 1


class ConfigError(XpcsError, ValueError):
    """A setting makes no sense, alone or together with another."""

    exit_code = 2


class UnknownParameterError(ConfigError):
    """A bound or a fixed value names a parameter that the model does not have."""

    def __init__(self, name: str, model: str, known: Sequence[str]) -> None:
        super().__init__(name, model, tuple(known))
        self.name, self.model, self.known = name, model, tuple(known)

    def __str__(self) -> str:
        return f"model '{self.model}' has no parameter '{self.name}'; it has {', '.join(self.known)}"


class FileRejected(XpcsError, ValueError):
    """One input file cannot be used; the others of the same call can."""

    exit_code = 3

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class NoUsableInputError(XpcsError, ValueError):
    """Nothing is left to work on: no file, no curve or no delay; `rejected` says why files could not be used."""

    exit_code = 3

    def __init__(self, message: str = "", rejected: Sequence[FileRejected] = ()) -> None:
        super().__init__(message, tuple(rejected))
        self.message, self.rejected = message, tuple(rejected)

    def __str__(self) -> str:
        return self.message


class MismatchError(XpcsError, ValueError):
    """Files of one series do not share a q-map or a delay grid."""

    exit_code = 3

    def __init__(self, what: str, first: str, others: Sequence[str]) -> None:
        super().__init__(what, first, tuple(others))
        self.what, self.first, self.others = what, first, tuple(others)

    def __str__(self) -> str:
        shown = ", ".join(self.others[:5]) + (f" and {len(self.others) - 5} more" if len(self.others) > 5 else "")
        return (
            f"{self.what} of {shown} differs from that of {self.first}; "
            'open them apart or pass on_mismatch="split" for one group each'
        )


class StrictError(XpcsError):
    """The work is done, but something was rejected or failed and ``--strict`` was given."""

    exit_code = 5


class OutputExistsError(XpcsError, FileExistsError):
    """The output is already there, made from other settings or inputs, or (not `replaceable`) by something else."""

    exit_code = 6

    def __init__(self, path: str, difference: str, replaceable: bool = True) -> None:
        super().__init__(path, difference, replaceable)
        self.path, self.difference, self.replaceable = path, difference, replaceable

    def __str__(self) -> str:
        way_out = " or pass --overwrite" if self.replaceable else ""
        return f"{self.path} exists and was made with {self.difference}; choose another output{way_out}"


class SchedulerError(XpcsError, ConnectionError):
    """The scheduler cannot be reached or has lost its workers."""

    exit_code = 7
