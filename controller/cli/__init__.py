"""The operators' command line, `tidegate`: noun, then verb. Data on standard output, messages on standard error."""


def main() -> None:
    """Run the command line."""
    from controller.cli.app import build

    build()()
