"""The embedded data as a hospital keeps them: files of patients, a recipe that makes questions of them, and a command
that writes both."""
