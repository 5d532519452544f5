"""The HTTP API: a thin, typed shell over the use cases of `controller.app`."""
