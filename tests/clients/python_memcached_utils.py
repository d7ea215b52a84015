"""What python-memcached's own tests import from a file that its source package leaves out."""

import contextlib
import io
import sys


@contextlib.contextmanager
def captured_stderr():
    """Gives what is written to standard error inside the block, as a file."""
    before, sys.stderr = sys.stderr, io.StringIO()
    try:
        yield sys.stderr
    finally:
        sys.stderr = before
