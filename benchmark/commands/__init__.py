"""The subcommands of ``avbench``, one module each, imported when asked for."""
