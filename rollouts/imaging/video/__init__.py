"""Video files: their frames in the order and at the times they are shown, upright, with square pixels."""
