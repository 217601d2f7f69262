"""What opens over a screen, and goes again: questions, choices, help, a folder, the settings of a training."""
