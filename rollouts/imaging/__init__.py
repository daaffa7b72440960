"""Medical files of any kind become ordered, upright 8-bit RGB frames, and what was done to them is kept beside them."""
