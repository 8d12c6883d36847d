"""Speed, measured beside what it should be compared with, in one run. See `python -m benchmarks --help`."""
