"""Questions and translations that a language model writes, asked through the judge's gateway and checked against what
was given."""
