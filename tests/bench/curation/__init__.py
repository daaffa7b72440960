"""Curation of three label sets with natural frequencies, measured."""
