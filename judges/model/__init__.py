"""One judge that is a language model: what it is asked, how its reply is read, what is remembered."""
