"""Whole rollouts in virtual time: the real controller and the real agents in a world that breaks on purpose."""
