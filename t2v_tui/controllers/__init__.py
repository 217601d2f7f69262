"""What the app is made of: one object for each thing that it looks after, each with the app it speaks through."""
