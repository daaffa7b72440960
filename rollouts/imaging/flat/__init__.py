"""Everyday picture files (PNG, JPEG, TIFF, GIF, ..): one picture, the pages of a volume, the frames of a clip."""
