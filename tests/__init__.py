"""Tests: they mirror the four packages; see CONTRIBUTING.md."""
