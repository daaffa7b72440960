"""`data=phantoms`: drawn images and questions about them, made as they are needed."""
