"""The pools of wordings of each kind of question in English and Chinese, and the words both languages share."""
