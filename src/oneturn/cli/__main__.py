"""`python -m oneturn.cli`, for where the `oneturn` script is not on the path."""

from . import main

main()
