"""What may help a training and can be left out: one file and one setting each. docs/recipes.md says what it brought."""
