"""Golden vectors for agents in any language."""
