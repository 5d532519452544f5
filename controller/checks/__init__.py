"""Asking what is outside of the fleet: pages over HTTP, and Prometheus."""
