"""`python -m rl.curate RECIPE.yaml --out data.jsonl`: captions, labels, masks and clips become questions by exact rules
(Fleming-VL, Sec 3.3), written as `data=jsonl`."""
