"""Listens to large archives of audio and writes down, in Parquet, what is heard where."""

__version__ = "0.1.0"
