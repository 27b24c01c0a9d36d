"""What every method keeps to, one function per demand; :mod:`avbench.testing` lists and runs them.

Each takes a registered class, builds it small (:func:`avbench.contract.noise.build_slim`), shows it batches of noise,
and raises :class:`avbench.contract.asking.ContractError` where the demand is not met. It returns the reason where the
demand does not apply, else None.
"""
