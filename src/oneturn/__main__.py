"""`python -m oneturn`, for where the `oneturn` script is not on the path."""

from .cli import main

main()
