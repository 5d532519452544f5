"""Tests of `controller.store`."""
