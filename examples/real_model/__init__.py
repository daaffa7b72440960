"""A real pretrained model learns on this machine: SmolLM2-135M-Instruct on PubMedQA."""
