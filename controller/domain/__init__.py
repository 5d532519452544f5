"""The rules: pipelines, runs, stages, targets. Pure: time enters as `at`, ids enter in events."""
