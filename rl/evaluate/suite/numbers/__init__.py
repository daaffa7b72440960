"""What stored rows say: answers, their numbers with intervals, and the record of each benchmark."""
