"""Progress in a log and on a terminal."""

import io

from rich.console import Console

import helicon.machine.progress as progress


def test_a_log_gets_plain_lines_now_and_then(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with progress.Progress("run", 1000) as bar:
        for step in range(1, 101):
            clock[0] += 1.0
            bar.numbers(1.25, 1_234_567)
            bar.step(step)
        bar.validation({"loss": 1.3, "accuracy": 0.4})
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "run 11/1,000  loss 1.2500  1.23 M bases/s  16:29 left"
    assert lines[-1] == "run 100/1,000  validation loss 1.3000  accuracy 0.4000"
    assert 9 <= len(lines) <= 11


def test_other_processes_are_silent(capsys):
    with progress.Progress("run", 10, shown=False) as bar:
        bar.step(5)
        bar.validation({"loss": 1.0})
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(monkeypatch):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr(progress, "Console", lambda stderr: console)
    with progress.Progress("run", 10, done=4) as bar:
        bar.numbers(1.25, 45_600)
        bar.step(6)
        bar.validation({"loss": 1.3})
    shown = screen.getvalue()
    assert "6/10" in shown and "loss 1.2500" in shown and "45.6 k bases/s" in shown
    assert "step 6: validation loss 1.3000" in shown


def test_hours_are_shown():
    assert progress._clock(3725) == "1:02:05" and progress._clock(65) == "1:05"
    assert progress._amount(12) == "12"
