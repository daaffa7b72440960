"""Data sets: one folder a source, one door (`load`), the records they give (`sets`), the rules of the RL set
(`curate`)."""
