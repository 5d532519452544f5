"""Tests of the core of the agent."""
