"""Figures of papers, from stored results."""
