"""Planted bugs: proof that the simulation finds what it is there to find."""
