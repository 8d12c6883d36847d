"""oneturn: Code Mode for Python."""
