"""From the fields of a row, as files and other trainers write them, to a Sample: texts, options, golds in one form."""
