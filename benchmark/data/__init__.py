"""Splits, decoding, loading and the embedded demo world."""
