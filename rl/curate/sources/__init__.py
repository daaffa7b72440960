"""From a table or a folder of somebody to items: media, labels, captions and masks that belong together."""
