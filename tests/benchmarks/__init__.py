"""Benchmarks: each prints what it measured beside a bound measured in the same run."""
