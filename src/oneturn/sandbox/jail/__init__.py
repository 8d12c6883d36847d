"""The host's side of the OS jail: what it is made of, how guests are started in it, and what shows that it holds."""
