"""One training on several hosts: who leads it, how its hosts find each other, and what happens when one is lost."""
