"""The program `docstore`, or `python -m docstore`: the command line, and what ends it outside of any command."""

from __future__ import annotations

import os
from contextlib import suppress

_STORE, _INTERRUPTED = 5, 130  # as in `cli_output.ExitCode`, whose import may be what is interrupted


def main() -> None:
    """Runs one command, and leaves with its exit code."""
    try:
        from docstore.cli import app

        try:
            app()
        except OSError as error:  # commands catch all of theirs: what remains is help, or completion's file, unwritten
            what = "The help cannot be written to standard output" if error.filename is None else error.filename
            _leave(f"{what}: {error.strerror}.", _STORE)
    except KeyboardInterrupt:
        _leave("Interrupted.", _INTERRUPTED)


def _leave(message: str, code: int) -> None:
    with suppress(OSError):
        os.write(2, f"error: {message}\n".encode(errors="replace"))
    os._exit(code)  # else standard output is flushed once more, which would fail again, and loudly


if __name__ == "__main__":
    main()
