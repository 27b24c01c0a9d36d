"""Commands of two words."""

import importlib

import pytest

from avbench.cli import main
from avbench.commands import data, profiling


@pytest.mark.parametrize(("group", "module"), [("data", data), ("profile", profiling)])
def test_a_group_alone_shows_its_commands(group, module, capsys):
    assert main([group]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n    {name}" in shown for name in module.COMMANDS)


def test_an_unknown_command_of_a_group_is_answered_with_the_closest(capsys):
    assert main(["data", "docter"]) == 2
    assert "there is no command of avbench data called 'docter': did you mean doctor?" in capsys.readouterr().err


@pytest.mark.parametrize("module", [data, profiling])
def test_every_command_of_a_group_has_a_module_with_help(module, capsys):
    for name, _ in module.COMMANDS.values():
        with pytest.raises(SystemExit, match="0"):
            importlib.import_module(f"avbench.commands.{name}").main(["--help"])
        assert "examples:" in capsys.readouterr().out
