"""Picture files as they come: of any depth, turned, transparent, in several frames; they become upright 8-bit RGB."""
