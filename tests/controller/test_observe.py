"""Tests of `controller.observe`: what log lines show to people."""

import pytest
import structlog

from controller.observe import set_up_logs


@pytest.mark.parametrize("text", ["\x1b[31m", "a\x1b]0;title\x07b", "\x9b31m", "one\x1b[2J two", "\u202eback"])
def test_no_line_for_people_carries_what_a_terminal_would_act_on(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = structlog.get_config()
    try:
        set_up_logs(as_json=False)
        structlog.get_logger().warning("report_out_of_place", kind=text, attempt=1, codes=(text,))
    finally:
        structlog.configure(**before)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()
    assert "attempt=1" in line
