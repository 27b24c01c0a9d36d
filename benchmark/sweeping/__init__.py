"""Sweeps: tables in which each row is a training of its own, at work on one machine or many."""
