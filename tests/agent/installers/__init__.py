"""Tests of the installers."""
