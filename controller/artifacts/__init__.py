"""Where the bytes of releases lie."""
