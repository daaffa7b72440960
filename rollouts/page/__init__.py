"""The web page that shows judged rollouts: index, search, server, export."""
