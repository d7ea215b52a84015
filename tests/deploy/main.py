"""Runs the tests of this folder and prints what came of each, then how many passed, failed and were skipped."""

import importlib
import sys
import time
import traceback

import harness

for name in ("chart_tests", "spool_tests", "refusal_tests", "manifest_tests", "example_tests", "page_tests"):
    importlib.import_module(name)


def main(wanted):
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for name, function in harness.tests:
        if wanted and not any(part in name for part in wanted):
            continue
        began = time.monotonic()
        result, said = "passed", ""
        try:
            function()
        except harness.Skip as why:
            result, said = "skipped", f": {why}"
        except Exception:
            result, said = "failed", "\n" + traceback.format_exc()
        counts[result] += 1
        print(f"{result} {name} ({time.monotonic() - began:.1f} s){said}", flush=True)
    print(", ".join(f"{number} {result}" for result, number in counts.items()))
    return 1 if counts["failed"] or not counts["passed"] else 0


sys.exit(main(sys.argv[1:]))
