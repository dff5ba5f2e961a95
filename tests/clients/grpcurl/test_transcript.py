"""The checker of our documents, checked: it must not pass what it should catch."""

import pytest

import transcript
from transcript import matches, steps

DOCUMENT = """\
# Title

```sh
$ never run
```

```console
$ echo one
one
$ printf '%s\\n' \\
    two
two

$ for i in 3; do
>   echo $i
> done
3
```
"""


def test_only_console_blocks_are_run_and_commands_may_span_lines() -> None:
    found = [(step.line, step.command, step.shown) for step in steps(DOCUMENT)]
    assert found == [
        (8, "echo one", ["one"]),
        (10, "printf '%s\\n' \\\n    two", ["two", ""]),
        (14, "for i in 3; do\n  echo $i\ndone", ["3"]),
    ]


def test_a_block_that_begins_with_output_is_an_error() -> None:
    with pytest.raises(ValueError, match="line 2"):
        list(steps("```console\nno command\n```\n"))


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ('  "permit": "abc",', '  "permit":  "xyz",'),
        ('  "retryAfter": "29.9s"', '  "retryAfter": "29.871s"'),
        ('  "eventTime": "2026-01-01T00:00:00Z"', '  "eventTime": "2026-11-23T14:00:00.123456Z"'),
        ("a\n...\nd", "a\nb\nc\nd"),
        ("...", "anything"),
        ("a\n...", "a"),
    ],
)
def test_what_differs_from_run_to_run_is_not_compared(shown: str, printed: str) -> None:
    assert matches(shown.splitlines(), printed.splitlines())


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ('  "state": "STATE_CLOSED"', '  "state": "STATE_OPEN"'),
        ('  "openDuration": "30s"', '  "openDuration": "31s"'),
        ('  "permit": "abc"', '  "permit": ""'),
        ("a", "a\nb"),
        ("a\nb", "a"),
        ("a\n...\nd", "a\nb\nc"),
        ("", "a"),
    ],
)
def test_any_other_difference_is_caught(shown: str, printed: str) -> None:
    assert not matches(shown.splitlines(), printed.splitlines())


def test_commands_share_a_shell_and_a_failing_one_is_noticed(tmp_path) -> None:
    with transcript.Shell(tmp_path) as shell:
        assert shell.run("PERMIT=abc") == ([], 0)
        assert shell.run("echo $PERMIT; echo error >&2") == (["abc", "error"], 0)
        assert shell.run("false") == ([], 1)
        assert shell.run("cat") == ([], 0), "a command that reads finds nothing to read"
