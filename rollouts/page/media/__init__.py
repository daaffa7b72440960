"""What the page shows of volumes, videos and medical pictures: how they were read, masks, all slices of a source."""
