"""The store in plain Python, beside the one in SQL."""
