"""What training does beside its steps: one behaviour a file, and `order.py`, the list of them."""
