"""What a model receives of an example, by kind: images, texts, and how either is served."""
