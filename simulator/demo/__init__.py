"""The demonstration: a whole rollout on this machine, one good release and one bad, with real processes."""
