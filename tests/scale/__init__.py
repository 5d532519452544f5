"""Runs at their largest: 40 stages over a fleet, played by one process, and what its database had to do for them."""
