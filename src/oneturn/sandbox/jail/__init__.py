"""The host's side of the OS jail: what it is made of, how guests start in it, and what shows it holds."""
