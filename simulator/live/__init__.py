"""Live mode: thousands of devices in one process over a real endpoint, each running the real agent's core."""
