"""Tests of `controller.domain`."""
