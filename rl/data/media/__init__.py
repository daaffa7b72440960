"""Volumes, videos, masks and pictures in medical formats of a row: what is asked of them, read by processes of their
own."""
