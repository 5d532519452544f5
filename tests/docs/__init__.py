"""The documentation, kept true: tables that are made from code, examples that are read by it."""
