"""Drives a reader of Python: drive.py PROGRAM DISTRIBUTION. readers_test.go has the protocol."""

import importlib.metadata
import runpy
import sys

reader = runpy.run_path(sys.argv[1])
print("ready", importlib.metadata.version(sys.argv[2]), flush=True)
for line in sys.stdin:
    try:
        print("ok", reader["verify"](line.strip())["sub"], flush=True)
    except Exception as refusal:
        print("refused", type(refusal).__name__, " ".join(str(refusal).split()), flush=True)
