"""The configuration: schemas with every setting and its help, the words of each group, and how objects are built."""
