"""What ``avbench new-method`` writes, with ``$name``, ``$stem`` and ``$Name`` to be filled in."""
