"""pytest plugin: one TAP line a test, in the file that CLIENTS_TAP names.

run.sh compares the results of two runs by the tests' names, whatever the language of the client; TAP is what
all their test runners have in common. A test counts as failed when any of its phases (setup, call, teardown) failed.
"""

import os

_outcome = {}


def _line(text):
    with open(os.environ["CLIENTS_TAP"], "a", encoding="utf-8") as out:
        out.write(text + "\n")


def pytest_runtest_logreport(report):
    name = report.nodeid
    if report.failed:
        _outcome[name] = "failed"
    elif report.skipped:
        _outcome.setdefault(name, "skipped")
    if report.when != "teardown":
        return
    outcome = _outcome.pop(name, "passed")
    if outcome == "failed":
        _line(f"not ok - {name}")
    elif outcome == "skipped":
        _line(f"ok - {name} # SKIP")
    else:
        _line(f"ok - {name}")
