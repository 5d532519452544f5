"""Ask a broker, from outside, whether Tidegate can rely on it: ``tidegate broker-check``."""
