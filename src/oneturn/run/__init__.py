"""One run, from what is ordered to its outcome: both its threads, and its side of the record."""
