"""`data=vqa_rad`: VQA-RAD with its images."""
