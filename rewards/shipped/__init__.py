"""The rewards that come with the project, one file a family."""
