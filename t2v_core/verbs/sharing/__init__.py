"""Making of a trained model what others can use: a folder with a card, and the hub."""
