"""One file per method: ``methods/jsa.py`` is ``--method jsa``."""
