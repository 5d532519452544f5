"""How releases become active: the port, and the built-in installers."""
