"""What screens are made of. A widget shows what it is given and asks by messages; it knows no host and no file."""
