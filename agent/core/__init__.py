"""The decisions of the agent: pure, without I/O, clock or chance."""
