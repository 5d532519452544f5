"""Configurations of external brokers, as files: what a broker must enforce so that Tidegate can rely on it."""
